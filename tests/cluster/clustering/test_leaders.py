"""Leaders: every fault of the older implementation is a test; Leaders→Ward against exact Ward."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import is_valid_linkage
from sklearn.metrics import adjusted_rand_score

from actx_cluster.clustering.config import LeadersConfig
from actx_cluster.clustering.leaders import LeadersWard
from actx_cluster.clustering.leading import lead, nearest
from actx_cluster.clustering.ward import cut, ward
from actx_cluster.rows import row_keys
from actx_core import AnalysisError


def order_of(matrix, seed=0):
    return np.argsort(row_keys(matrix, seed), kind="stable")


def led(matrix, **options):
    options.setdefault("most", 4000)
    return lead(matrix, order_of(matrix), **options)


def naive(matrix, order, tau):
    """Hartigan's leaders, one row after the other."""
    leaders = []
    for row in order:
        if all(np.linalg.norm(matrix[row] - matrix[one]) > tau for one in leaders):
            leaders.append(row)
    return leaders


@pytest.mark.parametrize("offset", [0, 1000])
def test_leaders_are_those_of_the_definition(digits, offset):
    matrix = digits.data[:900].astype(np.float64) + offset
    found = led(matrix, tau=30.0)
    assert found.numbers.tolist() == naive(matrix, order_of(matrix), 30.0)
    assert found.distances.max() <= 30
    every = np.linalg.norm(matrix[:, None] - matrix[found.numbers], axis=2)
    np.testing.assert_allclose(found.distances, every.min(axis=1), atol=1e-9)
    assert (found.weights == np.bincount(found.labels)).all()
    for number in (0, len(found.numbers) - 1):
        mine = matrix[found.labels == number]
        np.testing.assert_allclose(found.means[number], mine.mean(axis=0))


@pytest.mark.parametrize("most", [1, 2, 30, 700, 1796, 5000])
def test_there_are_at_most_as_many_as_asked_for(digits, most):
    found = led(digits.data, most=most)
    assert len(found.numbers) <= most
    assert found.weights.sum() == 1797
    assert (found.tau == 0) == (most >= 1797)
    if 30 <= most < 1797:
        assert len(found.numbers) > most / 3


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "rows",
    [
        np.ones((3000, 4)),
        np.eye(300),  # all equally far from each other
        np.repeat(np.arange(7.0)[:, None], 500, axis=0),
        np.arange(2000.0)[:, None],
        np.random.default_rng(0).normal(size=(50, 3)),
    ],
    ids=["equal", "simplex", "repeated", "line", "few"],
)
def test_it_ends_whatever_the_rows(rows):
    for options in ({"most": 20}, {"most": 1}, {"tau": 1e9}, {"tau": 1e-9}):
        found = led(rows, **options)
        assert found.weights.sum() == len(rows)


def test_equal_rows_are_one_leader():
    rows = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    found = led(np.repeat(rows, 25, axis=0))
    assert len(found.numbers) == 40
    assert set(found.weights) == {25}
    assert found.distances.max() == 0


def test_fewer_leaders_than_clusters_are_filled_up(separated):
    rows, truth = separated
    found = led(rows, tau=1e6, least=12)
    assert (len(found.numbers), found.added) == (12, 11)
    assert len(set(truth[found.numbers])) == 12  # one in each: farthest first
    assert len(led(np.repeat(np.eye(3), 9, axis=0), tau=5.0, least=10).numbers) == 3


@given(st.integers(0, 10**6), st.integers(2, 300), st.integers(1, 6), st.integers(1, 80))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_rows_does_not_matter(seed, n, d, most):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, d))
    order = rng.permutation(n)
    found, shuffled = led(matrix, most=most), led(matrix[order], most=most)
    assert order[shuffled.numbers].tolist() == found.numbers.tolist()
    assert (shuffled.labels == found.labels[order]).all()


def test_another_seed_takes_other_rows(digits):
    one, other = (lead(digits.data, order_of(digits.data, seed), most=50) for seed in (0, 1))
    assert set(one.numbers) != set(other.numbers)


def test_leaders_ward_is_near_exact_ward_and_finds_separated_clusters(separated, digits):
    rows, truth = separated
    found = led(rows, most=200)
    labels = cut(ward(found.means, found.weights), 12)[found.labels]
    assert adjusted_rand_score(truth, labels) > 0.99

    def spread(labels, matrix):
        return sum(
            ((matrix[labels == one] - matrix[labels == one].mean(axis=0)) ** 2).sum()
            for one in set(labels)
        )

    found = led(digits.data, most=900)
    labels = cut(ward(found.means, found.weights), 10)[found.labels]
    assert spread(labels, digits.data) < 1.03 * spread(cut(ward(digits.data), 10), digits.data)


def test_nearest_equals_all_distances():
    rng = np.random.default_rng(4)
    rows, centers = rng.normal(size=(500, 7)) + 100, rng.normal(size=(60, 7)) + 100
    labels, distances = nearest(rows, centers)
    every = np.linalg.norm(rows[:, None] - centers, axis=2)
    assert (labels == every.argmin(axis=1)).all()
    np.testing.assert_allclose(distances, every.min(axis=1))


def test_the_analyzer_tells_of_leaders_tree_and_clusters(make_input, analyse, separated):
    rows, truth = separated
    found = analyse(LeadersWard, LeadersConfig, make_input(rows), k=[4, 12], leaders=150)
    assignments = pa.table(found.tables["assignments"]).to_pydict()
    assert adjusted_rand_score(truth, assignments["cluster_k12"]) > 0.99
    leaders = found.tables["leaders"]
    assert sum(leaders["rows"]) == 1500
    assert [assignments["leader"][row] for row in leaders["row"]] == leaders["leader"]
    tree, axes = found.arrays["linkage"]
    assert axes == ("merge", "column")
    assert is_valid_linkage(tree)
    assert len(tree) == len(leaders["row"]) - 1 == found.metrics["leaders"] - 1
    assert {"dendrogram", "clusters_k4", "clusters_k12"} == set(found.figures)


def test_the_result_is_the_same_for_shuffled_rows(make_input, analyse, separated):
    rows = separated[0]
    order = np.random.default_rng(0).permutation(len(rows))
    found, shuffled = (
        analyse(LeadersWard, LeadersConfig, make_input(array), k=7, leaders=100, silhouette=200)
        for array in (rows, rows[order])
    )
    labels = np.array(found.tables["assignments"]["cluster_k7"])
    assert (labels[order] == shuffled.tables["assignments"]["cluster_k7"]).all()
    assert found.metrics == pytest.approx(shuffled.metrics)


def test_without_k_each_leader_has_a_cluster(make_input, analyse, digits):
    found = analyse(LeadersWard, LeadersConfig, make_input(digits.data[:400]), tau=35.0)
    assert set(found.metrics) == {"inertia", "silhouette", "map_variance", "leaders", "tau"}
    assert found.tables["fits"]["k"] == [found.metrics["leaders"]]
    assert "cluster" in found.tables["assignments"]
    assert "centers" in found.arrays


def test_a_radius_larger_than_the_data_is_said(make_input, analyse, separated):
    found = analyse(LeadersWard, LeadersConfig, make_input(separated[0]), tau=1e5, k=3)
    assert any("fewer leaders than k; 2 were added" in note for note in found.notes)
    with pytest.raises(AnalysisError, match="expected 5 clusters, but the rows fall into 3"):
        analyse(
            LeadersWard, LeadersConfig, make_input(np.repeat(np.eye(3), 9, axis=0)), tau=9.0, k=5
        )


def test_rows_that_differ_by_rounding_leave_no_leader_without_rows():
    rng = np.random.default_rng(0)
    words = (rng.normal(size=(14, 16)) + 3).astype(np.float32)[rng.integers(0, 14, 300)]
    found = led(words * rng.choice(np.float32([1, 1 + 2**-23]), words.shape))
    assert found.weights.min() > 0
    assert found.weights.sum() == 300
    assert np.isfinite(found.means).all()
    assert len(np.unique(found.labels)) == len(found.numbers) == len(found.weights)
