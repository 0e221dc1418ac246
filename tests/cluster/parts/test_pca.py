"""PCA against scikit-learn: the exact ways, the randomized one, scores, chains, and inputs it must refuse."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import cluster, decomposition, metrics
from sklearn.datasets import load_digits

import actx_cluster.rows
from actx_cluster import spectrum
from actx_cluster.clustering.config import KMeansConfig
from actx_cluster.clustering.kmeans import KMeans
from actx_cluster.parts.config import PcaConfig
from actx_cluster.parts.pca import Pca
from actx_core import AnalysisError


def pca(data, **options):
    return Pca(PcaConfig(**options)).run([data], Path())


def assert_same(found, wanted, array, atol):
    few = wanted.n_components_
    np.testing.assert_allclose(found.arrays["components"][0], wanted.components_, atol=atol)
    np.testing.assert_allclose(found.arrays["scores"][0], wanted.transform(array), atol=atol * 10)
    table = found.tables["explained"]
    assert table["component"] == list(range(1, few + 1))
    np.testing.assert_allclose(table["variance"], wanted.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(table["ratio"], wanted.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(table["cumulative"], np.cumsum(table["ratio"]))


@pytest.mark.parametrize("whiten", [False, True])
def test_digits_equal_scikit_learns_full_decomposition(make_input, monkeypatch, whiten):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 64 * 100)
    array = load_digits().data
    data = make_input(array)
    found = pca(data, components=12, whiten=whiten)
    wanted = decomposition.PCA(12, svd_solver="full", whiten=whiten).fit(array)
    assert_same(found, wanted, array, atol=1e-8)
    assert data.array.largest == 100
    assert found.arrays["scores"][1] == ("row", "component")
    assert found.arrays["components"][1] == ("component", "channel")
    np.testing.assert_allclose(found.arrays["mean"][0], array.mean(axis=0))
    assert found.metrics["variance_explained"] == pytest.approx(
        wanted.explained_variance_ratio_.sum()
    )
    assert found.notes == []


@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (50, 50), (51, 50)])
@pytest.mark.parametrize("offset", [0, 1000])
def test_wide_and_tall_inputs_are_exact(make_input, shape, offset):
    generator = np.random.default_rng(0)
    array = (generator.normal(size=shape) * np.geomspace(5, 0.1, shape[1]) + offset).astype(
        "float32"
    )
    found = pca(make_input(array), components=5)
    exact = decomposition.PCA(5, svd_solver="full").fit(array.astype(float))
    assert_same(found, exact, array.astype(float), atol=2e-6)
    assert found.arrays["scores"][0].dtype == np.float32


def test_beyond_the_exact_size_the_randomized_solver_is_seeded_and_said(make_input, monkeypatch):
    monkeypatch.setattr(spectrum, "EXACT", 40)
    generator = np.random.default_rng(1)
    array = generator.normal(size=(300, 60)) * np.geomspace(10, 0.01, 60)
    found, again = (pca(make_input(array), components=4, seed=2) for _ in range(2))
    assert found.notes[0] == "components come from a randomized SVD: small ones are approximate"
    assert found.arrays["scores"][0].tobytes() == again.arrays["scores"][0].tobytes()
    exact = decomposition.PCA(4, svd_solver="full").fit(array)
    np.testing.assert_allclose(found.arrays["components"][0], exact.components_, atol=1e-3)


def test_few_long_rows_beyond_memory_are_randomized(make_input, monkeypatch):
    monkeypatch.setattr(spectrum, "MEMORY", 1000)
    monkeypatch.setattr(spectrum, "EXACT", 40)
    array = np.random.default_rng(2).normal(size=(20, 90)).astype("float32")
    found = pca(make_input(array), components=3)
    assert "randomized" in found.notes[0]


def test_the_largest_entry_of_a_component_is_positive(make_input):
    array = np.random.default_rng(3).normal(size=(100, 9))
    for flipped in (array, -array):
        components = pca(make_input(flipped), components=9).arrays["components"][0]
        largest = np.abs(components).argmax(axis=1)
        assert (components[range(9), largest] > 0).all()


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_components_that_do_not_exist_are_left_out(make_input, shape):
    generator = np.random.default_rng(4)
    array = generator.normal(size=(shape[0], 3)) @ generator.normal(size=(3, shape[1]))
    found = pca(make_input(array), components=10, whiten=True)
    assert found.arrays["scores"][0].shape == (shape[0], 3)
    assert found.notes == [
        "3 of the 10 components asked for exist: the rows span no more dimensions"
    ]
    np.testing.assert_allclose(found.arrays["scores"][0].var(axis=0, ddof=1), 1)
    assert found.metrics["variance_explained"] == pytest.approx(1)


def test_a_dominant_dimension_is_told(make_input):
    array = np.random.default_rng(5).normal(size=(100, 64))
    array[:, 9] *= 40
    assert (
        "1 of 64 dimensions holds 96% of the variance (dimension 9)"
        in pca(make_input(array)).notes[0]
    )


@pytest.mark.parametrize("values", [None, "few", "many"])
def test_the_scatter_is_coloured_by_a_short_label_column(make_input, values):
    array = np.random.default_rng(6).normal(size=(200, 5))
    labels = {
        "few": ["cat", "<dog>", "a_b"] * 66 + ["cat"] * 2,
        "many": [str(n) for n in range(200)],
    }
    columns = {"label": labels[values]} if values else {}
    found = pca(make_input(array, **columns), components=5)
    pixels = np.asarray(Image.open(BytesIO(found.figures["components"])).convert("RGBA")).astype(
        int
    )
    green = (np.abs(pixels[..., :3] - (0x00, 0x9E, 0x73)).max(axis=2) < 12) & (pixels[..., 3] > 150)
    assert (green.sum() > 500) == (values == "few")  # the third colour, for the third label
    assert found.figures == pca(make_input(array, **columns), components=5).figures


def test_labels_may_be_anything(make_input):
    array = np.random.default_rng(8).normal(size=(60, 5))
    labels = ["_hidden", r"$\nonsense$", "猫", "x" * 200, None, ""] * 10
    found = pca(make_input(array, label=labels), components=5)
    assert Image.open(BytesIO(found.figures["components"])).size == (1647, 756)


def test_single_numbers_have_one_component(make_input):
    array = np.random.default_rng(7).normal(size=50)
    found = pca(make_input(array, axes=("row",)))
    np.testing.assert_allclose(found.arrays["scores"][0][:, 0], array - array.mean())
    assert found.figures["components"].startswith(b"\x89PNG")


def test_scores_can_be_clustered(make_input):
    digits = load_digits()
    scores, axes = pca(make_input(digits.data), components=20).arrays["scores"]
    chained = make_input(scores, axes, name="pca/scores")
    found = KMeans(KMeansConfig(k=10, n_init=2, init="k-means++")).run([chained], Path())
    reduced = decomposition.PCA(20, svd_solver="full").fit_transform(digits.data)
    wanted = cluster.KMeans(10, n_init=2, random_state=0).fit(reduced)
    assert found.metrics["inertia_k10"] == pytest.approx(wanted.inertia_)
    labels = found.tables["assignments"]["cluster_k10"]
    assert metrics.adjusted_rand_score(labels, wanted.labels_) == 1
    assert found.arrays["centers_k10"][1] == ("cluster", "component")


def test_clusters_of_scores_do_not_warn_that_the_first_components_dominate(make_input):
    array = np.random.default_rng(9).normal(size=(100, 40)) * np.geomspace(50, 0.1, 40)
    scores, axes = pca(make_input(array), components=30).arrays["scores"]
    run = KMeans(KMeansConfig(k=3)).run
    assert "hold" in "".join(run([make_input(scores)], Path()).notes)
    assert run([make_input(scores, axes)], Path()).notes == []


def test_one_row_is_refused(make_input):
    with pytest.raises(AnalysisError, match="at least 2 rows, found 1"):
        pca(make_input(np.ones((1, 4))))


def test_bad_rows_are_refused_before_any_work(make_input):
    with pytest.raises(AnalysisError, match="rows are equal"):
        pca(make_input(np.ones((7, 4))))
    with pytest.raises(AnalysisError, match="sample 'img0001.png'"):
        pca(make_input(np.array([[1.0, 2], [np.nan, 0], [3, 4]])))
