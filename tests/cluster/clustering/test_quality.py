"""Figures of merit against scikit-learn, on real rows and with noise; stability; samples and their error."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans

import actx_cluster.clustering.quality as module
from actx_cluster.clustering.partition import (
    Solution,
    calinski_harabasz,
    davies_bouldin,
    partition,
    spreads,
)
from actx_cluster.clustering.quality import silhouettes, stability
from actx_cluster.clustering.ward import cut, ward


@pytest.fixture(scope="module")
def labels(digits):
    return KMeans(12, n_init=1, random_state=0).fit_predict(digits.data)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1000])
def test_silhouettes_are_those_of_scikit_learn(
    make_space, digits, labels, monkeypatch, dtype, offset
):
    monkeypatch.setattr(module, "JUDGED", 500)
    space = make_space((digits.data + offset).astype(dtype))
    halves = labels % 2
    found, second = silhouettes(space, [labels, halves], None)
    expected = metrics.silhouette_samples(digits.data, labels)
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    assert second.mean == pytest.approx(metrics.silhouette_score(digits.data, halves), abs=1e-5)
    assert found.error == 0
    per_cluster = [expected[labels == number].mean() for number in range(12)]
    assert found.of_clusters(labels, 12) == pytest.approx(per_cluster, abs=1e-4)


def test_a_sample_of_silhouettes_is_exact_for_its_rows_and_has_an_error(make_space, digits, labels):
    space = make_space(digits.data)
    (found,) = silhouettes(space, [labels], 400)
    expected = metrics.silhouette_samples(digits.data, labels)
    np.testing.assert_allclose(found.values, expected[found.judged], atol=1e-9)
    assert len(found.values) == 400
    assert abs(found.mean - expected.mean()) < 3 * found.error
    assert 0.5 < found.error / (expected.std() / 20 * np.sqrt(1 - 400 / 1797)) < 2


def test_the_sample_is_the_same_for_shuffled_rows(make_space, digits, labels):
    order = np.random.default_rng(1).permutation(len(labels))
    (found,) = silhouettes(make_space(digits.data), [labels], 300)
    (shuffled,) = silhouettes(make_space(digits.data[order]), [labels[order]], 300)
    assert set(order[shuffled.judged]) == set(found.judged)
    assert shuffled.mean == pytest.approx(found.mean)


def test_rows_alone_and_rows_twice(make_space):
    rows = np.array([[0.0, 0], [0, 0], [5, 5], [9, 9], [9, 9.5]])
    labels = np.array([0, 0, 1, 2, 2])
    (found,) = silhouettes(make_space(rows), [labels], None)
    np.testing.assert_allclose(found.values, metrics.silhouette_samples(rows, labels))
    assert found.values[2] == 0


@pytest.mark.parametrize("labels", [[0] * 5, [0, 1, 2, 3, 4]])
def test_one_cluster_or_as_many_as_rows_have_no_silhouette(make_space, labels):
    (found,) = silhouettes(make_space(np.eye(5)), [np.array(labels)], None)
    assert (found.mean, found.error) == (None, None)


def test_noise_takes_no_part(make_space, digits, labels):
    noisy = np.where(np.arange(len(labels)) % 5 == 0, -1, labels)
    rest = noisy >= 0
    (found,) = silhouettes(make_space(digits.data), [noisy], None)
    expected = metrics.silhouette_score(digits.data[rest], labels[rest])
    assert found.mean == pytest.approx(expected)
    one = partition(make_space(digits.data), Solution(noisy))
    assert one.noise == (~rest).sum()
    assert np.isnan(one.distances[~rest]).all()
    assert calinski_harabasz(one) == pytest.approx(
        metrics.calinski_harabasz_score(digits.data[rest], labels[rest])
    )


def test_davies_bouldin_and_calinski_harabasz_are_those_of_scikit_learn(make_space, digits, labels):
    space = make_space(digits.data)
    off = np.stack([digits.data[labels == n].mean(axis=0) for n in range(12)]) + 0.1
    for centers in (None, off):  # whatever the method's own centres
        one = partition(space, Solution(labels, 12, centers))
        assert davies_bouldin(spreads(space, [one])[0], one.means) == pytest.approx(
            metrics.davies_bouldin_score(digits.data, labels)
        )
        assert calinski_harabasz(one) == pytest.approx(
            metrics.calinski_harabasz_score(digits.data, labels)
        )


def test_clusters_are_numbered_by_size_and_from_the_middle(make_space):
    rows = np.arange(7.0)[:, None] ** 2
    one = partition(make_space(rows), Solution(np.array([5, 9, 5, 2, 9, -1, 9])))
    assert one.labels.tolist() == [1, 0, 1, 2, 0, -1, 0]
    assert one.sizes.tolist() == [3, 2, 1]
    assert one.means[:, 0].tolist() == pytest.approx([(1 + 16 + 36) / 3, 2, 9])


def test_stability_is_one_for_clear_clusters_and_low_for_a_cloud(separated):
    def solve(matrix):
        tree = ward(matrix)
        return [cut(tree, 12), cut(tree, 30)]

    clear = stability(separated[0], solve, 2, 0)
    assert clear[0] == 1
    assert clear[1] < 0.95
    cloud = np.random.default_rng(0).normal(size=(600, 24))
    assert stability(cloud, solve, 2, 0)[0] < 0.7


def test_stability_is_that_of_its_definition(digits, monkeypatch):
    seen = []

    def solve(matrix):
        seen.append(len(matrix))
        return [cut(ward(matrix), 5)]

    first, again = (stability(digits.data[:500], solve, 3, 1) for _ in range(2))
    assert seen == [500, 490, 490, 490] * 2
    assert first == again


def test_every_repetition_leaves_rows_out(digits):
    seen = []

    def solve(matrix):
        seen.append(len(matrix))
        return [np.arange(len(matrix)) % 2]

    stability(digits.data[:100], solve, 70, seed=0)
    assert seen == [100] + [98] * 70
