"""k-means against scikit-learn: labels, centres, figures of merit, exemplars, and inputs it must refuse."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError
from sklearn import cluster, metrics

import actx_cluster.clustering.kmeans
import actx_cluster.rows
from actx_cluster.clustering.config import KMeansConfig
from actx_cluster.clustering.kmeans import KMeans
from actx_core import AnalysisError


def starts_of_scikit_learn(matrix, k, seeds):
    return min(
        cluster.KMeans(k, n_init=1, random_state=seed).fit(matrix).inertia_ for seed in range(seeds)
    )


def kmeans(data, tmp_path=Path(), **options):
    options.setdefault("stability", 0)
    return KMeans(KMeansConfig(**options)).run([data], tmp_path)


def test_it_finds_the_solution_of_scikit_learn_on_digits(make_input, digits):
    found = kmeans(
        make_input(digits.data), k=10, seed=3, n_init=2, init="k-means++", silhouette="exact"
    )
    wanted = cluster.KMeans(10, n_init=2, random_state=3).fit(digits.data)

    labels = np.array(found.tables["assignments"]["cluster_k10"])
    assert metrics.adjusted_rand_score(labels, wanted.labels_) == 1
    assert found.metrics["inertia_k10"] == pytest.approx(wanted.inertia_, rel=1e-9)
    silhouette = metrics.silhouette_score(digits.data, labels)
    assert found.metrics["silhouette_k10"] == pytest.approx(silhouette)

    centers, axes = found.arrays["centers_k10"]
    assert axes == ("cluster", "channel")
    means = np.stack([digits.data[labels == number].mean(axis=0) for number in range(10)])
    np.testing.assert_allclose(centers, means, atol=1e-9)


def test_from_the_same_centres_it_is_scikit_learns(digits):
    start = digits.data[:7]
    found = KMeans(KMeansConfig(k=7))._lloyd(digits.data, 7, start)
    wanted = cluster.KMeans(7, init=start, n_init=1).fit(digits.data)
    assert (found.labels_ == wanted.labels_).all()
    np.testing.assert_allclose(found.cluster_centers_, wanted.cluster_centers_, atol=1e-12)


@pytest.mark.parametrize("k", [10, 40])
def test_centres_of_leaders_are_as_good_a_start_as_five_draws(analyse, make_input, digits, k):
    found = analyse(KMeans, KMeansConfig, make_input(digits.data), k=k, silhouette=0)
    assert found.metrics[f"inertia_k{k}"] <= 1.005 * starts_of_scikit_learn(digits.data, k, 5)


@pytest.mark.parametrize("init", ["leaders", "k-means++", "random"])
@pytest.mark.parametrize("algorithm", ["lloyd", "minibatch", "bisecting"])
def test_every_algorithm_finds_separated_clusters(analyse, make_input, separated, algorithm, init):
    rows, truth = separated
    found = analyse(
        KMeans, KMeansConfig, make_input(rows), k=12, algorithm=algorithm, init=init, silhouette=0
    )
    labels = found.tables["assignments"]["cluster_k12"]
    least = 0.95 if init == "leaders" and algorithm != "bisecting" else 0.6
    assert metrics.adjusted_rand_score(truth, labels) > least
    assert found.arrays["centers_k12"][0].shape == (12, 24)


def test_the_result_is_the_same_for_shuffled_rows(analyse, make_input, digits):
    order = np.random.default_rng(3).permutation(1797)
    found, shuffled = (
        analyse(KMeans, KMeansConfig, make_input(rows), k=9, silhouette=100)
        for rows in (digits.data, digits.data[order])
    )
    labels = np.array(found.tables["assignments"]["cluster_k9"])
    assert (labels[order] == shuffled.tables["assignments"]["cluster_k9"]).all()
    assert found.metrics == pytest.approx(shuffled.metrics)


def test_minibatch_reads_blocks_and_comes_near_to_exact(analyse, make_input, digits, monkeypatch):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 64 * 100)
    monkeypatch.setattr(actx_cluster.clustering.kmeans, "DRAWN", 300)
    ordered = digits.data[np.argsort(digits.target, kind="stable")]  # one class after the other
    found = analyse(
        KMeans, KMeansConfig, make_input(ordered), k=10, algorithm="minibatch", silhouette=200
    )
    exact = analyse(KMeans, KMeansConfig, make_input(ordered), k=10, silhouette=0)
    assert found.metrics["inertia_k10"] < 1.05 * exact.metrics["inertia_k10"]
    few = analyse(
        KMeans, KMeansConfig, make_input(ordered[:103]), k=10, algorithm="minibatch", silhouette=0
    )  # the last block has fewer rows than k
    assert sum(few.tables["clusters"]["rows"]) == 103


def test_tables_agree_with_each_other(make_input, digits):
    found = kmeans(make_input(digits.data[:300].astype("float32")), k=[4, 7], exemplars=3)
    assignments = pa.table(found.tables["assignments"]).to_pydict()
    clusters, fits = found.tables["clusters"], found.tables["fits"]
    assert assignments["row"] == list(range(300))
    assert assignments["sample"][17] == "img0017.png"
    assert fits["k"] == [4, 7]
    total = 300 * digits.data[:300].var(axis=0).sum()
    for k, inertia, explained in zip(
        *(fits[c] for c in ("k", "inertia", "variance_explained")), strict=True
    ):
        labels = np.array(assignments[f"cluster_k{k}"])
        distances = np.array(assignments[f"distance_k{k}"])
        here = [row for row, value in enumerate(clusters["k"]) if value == k]
        sizes = [clusters["rows"][row] for row in here]
        assert sizes == np.bincount(labels).tolist() == sorted(sizes, reverse=True)
        assert sum(clusters["inertia"][row] for row in here) == pytest.approx(inertia)
        assert (distances**2).sum() == pytest.approx(inertia)
        assert explained == pytest.approx(1 - inertia / total, rel=1e-5)
        for number, size in enumerate(sizes):
            rows = found.groups[f"k = {k}: cluster {number} ({size} rows)"]
            members = np.flatnonzero(labels == number)
            assert sorted(distances[rows]) == sorted(distances[members])[: len(rows)]
            assert set(rows) <= set(members.tolist())
            assert len(rows) == min(3, size)


def test_several_k_in_one_call_equal_separate_calls(make_input, digits):
    data = make_input(digits.data[:400])
    together = kmeans(data, k=[3, 5], seed=1)
    for k in (3, 5):
        alone = kmeans(data, k=k, seed=1)
        column = f"cluster_k{k}"
        assert together.tables["assignments"][column] == alone.tables["assignments"][column]
        assert (
            together.arrays[f"centers_k{k}"][0].tobytes()
            == alone.arrays[f"centers_k{k}"][0].tobytes()
        )
        assert together.figures[f"clusters_k{k}"] == alone.figures[f"clusters_k{k}"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_may_not(make_input):
    data = make_input(np.random.default_rng(0).normal(size=(600, 8)).astype("float32"))
    first, again, other = (
        kmeans(data, k=12, init="random", n_init=1, seed=seed) for seed in (5, 5, 6)
    )
    assert first.tables == again.tables
    assert first.figures == again.figures
    assert first.groups == again.groups
    assert first.tables != other.tables


@pytest.mark.parametrize("preprocess", ["none", "center", "zscore", "l2"])
def test_preprocessing_changes_the_space_and_is_kept(make_input, preprocess):
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 4, 400)
    array = generator.normal(size=(4, 40))[truth] * 2 + generator.normal(size=(400, 40)) * 0.5
    array[:, 3] = generator.normal(scale=60, size=400)  # one dimension drowns the others
    found = kmeans(make_input(array + 1000), k=4, preprocess=preprocess)
    agreement = metrics.adjusted_rand_score(truth, found.tables["assignments"]["cluster_k4"])
    assert (agreement > 0.99) == (preprocess == "zscore")
    assert any("1 of 40 dimensions" in note for note in found.notes) == (preprocess != "zscore")
    kept = {"none": set(), "l2": set(), "center": {"mean"}, "zscore": {"mean", "scale"}}[preprocess]
    assert set(found.arrays) == {"centers_k4", "map"} | kept
    if preprocess == "zscore":
        labels = np.array(found.tables["assignments"]["cluster_k4"])
        centers, mean, scale = (found.arrays[name][0] for name in ("centers_k4", "mean", "scale"))
        rows = (array + 1000)[labels == 0].mean(axis=0)
        np.testing.assert_allclose(centers[0] * scale + mean, rows, rtol=1e-6)


def test_where_a_silhouette_is_not_defined_there_is_none(make_input):
    found = kmeans(make_input(np.arange(6.0).reshape(6, 1)), k=[1, 6])
    assert found.tables["fits"]["silhouette"] == [None, None]
    assert set(found.metrics) == {"inertia_k1", "inertia_k6", "map_variance"}
    assert found.tables["fits"]["variance_explained"] == pytest.approx([0, 1])
    assert "k = 6: cluster 0 (1 row)" in found.groups


def test_a_fit_that_was_cut_short_says_so(make_input, digits):
    found = kmeans(make_input(digits.data), k=10, max_iter=1)
    assert any("still moving after max_iter = 1" in note for note in found.notes)
    assert not any("still moving" in note for note in kmeans(make_input(digits.data), k=10).notes)


@pytest.mark.parametrize("k", [1, 3, 9, 45])
def test_figures_are_pngs_with_transparent_ground_and_colours(make_input, k):
    array = np.random.default_rng(4).normal(size=(120, 6))
    found = kmeans(make_input(array), k=k, n_init=1)
    image = Image.open(BytesIO(found.figures[f"clusters_k{k}"]))
    pixels = np.asarray(image.convert("RGBA"))
    assert image.size == (1080, 522)
    assert pixels[0, 0, 3] == 0
    opaque = pixels[pixels[..., 3] == 255][:, :3].astype(int)
    coloured = opaque[np.ptp(opaque, axis=1) > 60]
    assert len({tuple(colour // 16) for colour in coloured}) >= (min(k, 8) if k < 40 else 1)


def test_fewer_rows_than_k(make_input):
    with pytest.raises(AnalysisError, match="at least k = 9 rows, found 5"):
        kmeans(make_input(np.eye(5)), k=[2, 9])
    with pytest.raises(AnalysisError, match="at least k = 2 rows, found 0"):
        kmeans(make_input(np.empty((0, 4))), k=2)


def test_fewer_different_rows_than_k(make_input):
    array = np.repeat(np.eye(3), 10, axis=0)
    with pytest.raises(
        AnalysisError, match="expected 5 clusters, but the rows fall into 3"
    ) as caught:
        kmeans(make_input(array), k=5)
    assert caught.value.where == "photos/net/layer"
    assert kmeans(make_input(array), k=3).metrics["inertia_k3"] == pytest.approx(0)


def test_rows_made_equal_by_preprocessing_are_refused(make_input):
    with pytest.raises(AnalysisError, match='preprocess = "l2" makes all equal'):
        kmeans(make_input(np.arange(1.0, 9).reshape(8, 1)), k=2, preprocess="l2")


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({}, ("k",)),
        ({"k": 0}, ("k", 0)),
        ({"k": []}, ("k",)),
        ({"k": [4, 4]}, ("k",)),
        ({"k": [4, "x"]}, ("k", 1)),
        ({"k": 3, "preprocess": "whiten"}, ("preprocess",)),
        ({"k": 3, "preprocess": "pca:0"}, ("preprocess",)),
        ({"k": 3, "memory": "two"}, ("memory",)),
        ({"k": 3, "caps": {"min": 2}}, ("caps", "column")),
        ({"k": 3, "seed": -1}, ("seed",)),
        ({"k": 3, "clusters": 3}, ("clusters",)),
    ],
)
def test_bad_options_are_placed(options, at):
    with pytest.raises(ValidationError) as caught:
        KMeansConfig(**options)
    assert [problem["loc"] for problem in caught.value.errors()] == [at]


def test_the_schema_takes_one_k_or_several():
    kinds = KMeansConfig.model_json_schema()["properties"]["k"]["anyOf"]
    assert [kind["type"] for kind in kinds] == ["integer", "array"]
    assert KMeansConfig(k=3).k == (3,)
    assert KMeansConfig(k=[3, 2]).k == (3, 2)


@pytest.mark.parametrize(("scale", "size"), [(1e19, "large"), (1e-25, "small")])
def test_values_whose_squares_leave_the_range_are_refused(make_input, analyse, scale, size):
    array = (np.random.default_rng(0).normal(size=(60, 4)) * scale).astype("float32")
    with pytest.raises(AnalysisError, match=f"too {size} for sums of squares in float32"):
        analyse(KMeans, KMeansConfig, make_input(array), k=3)
    found = analyse(KMeans, KMeansConfig, make_input(array), k=3, preprocess="zscore")
    plain = analyse(KMeans, KMeansConfig, make_input(array / scale), k=3, preprocess="zscore")
    assert found.metrics["inertia_k3"] == pytest.approx(plain.metrics["inertia_k3"], rel=1e-5)
