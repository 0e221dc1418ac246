"""Maps: PCA against scikit-learn; the other methods, where installed, keep neighbours and their seed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from actx_cluster.maps import map as module
from actx_cluster.maps.config import MapConfig
from actx_cluster.maps.map import Map
from actx_core import AnalysisError

DIGITS = load_digits()
LIBRARIES = {"pacmap": "pacmap", "umap": "umap", "tsne": "openTSNE"}


def lay_out(data, out, **options):
    return Map(MapConfig(**options)).run([data], out)


def test_pca_places_rows_as_scikit_learn_does(make_input, tmp_path):
    found = lay_out(make_input(DIGITS.data, label=DIGITS.target.tolist()), tmp_path)
    places, axes = found.arrays["map"]
    wanted = PCA(2, svd_solver="full").fit_transform(DIGITS.data)
    np.testing.assert_allclose(np.abs(places), np.abs(wanted), atol=1e-3)
    assert places.dtype == np.float32
    assert axes == ("row", "map")
    assert found.metrics["trustworthiness"] == pytest.approx(
        trustworthiness(DIGITS.data, places, n_neighbors=12)
    )


def test_trust_is_judged_on_a_sample_of_many_rows(make_input, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "JUDGED", 200)
    one, two = (lay_out(make_input(DIGITS.data), tmp_path) for _ in range(2))
    assert one.metrics == two.metrics
    assert 0.6 < one.metrics["trustworthiness"] < 1


def test_one_dimension_lies_on_a_line(make_input, tmp_path):
    array = np.random.default_rng(0).normal(size=10)
    found = lay_out(make_input(array, axes=("row",)), tmp_path)
    places = found.arrays["map"][0]
    np.testing.assert_allclose(places[:, 0], array - array.mean(), atol=1e-6)
    assert not places[:, 1].any()
    assert found.metrics == {}


@pytest.mark.parametrize("method", LIBRARIES)
def test_a_library_keeps_neighbours_and_its_seed(make_input, tmp_path, method):
    pytest.importorskip(LIBRARIES[method], reason="an extra: actx-cluster[maps]")
    array = DIGITS.data[:300]
    options = {"method": method, "neighbours": 8, "components": 20, "seed": 3}
    one, two = (lay_out(make_input(array), tmp_path, **options) for _ in range(2))
    places = one.arrays["map"][0]
    assert places.shape == (300, 2)
    assert places.dtype == np.float32
    np.testing.assert_array_equal(places, two.arrays["map"][0])
    plain = lay_out(make_input(array), tmp_path).metrics["trustworthiness"]
    assert one.metrics["trustworthiness"] > max(0.93, plain + 0.02)


def test_what_is_not_installed_is_named(make_input, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pacmap", None)
    with pytest.raises(AnalysisError, match="needs pacmap, which is not installed") as caught:
        lay_out(make_input(DIGITS.data[:100]), tmp_path, method="pacmap")
    assert caught.value.hint == "pip install actx-cluster[maps]"


def test_fewer_rows_than_neighbours_are_refused(make_input, tmp_path):
    data = make_input(DIGITS.data[:40])
    with pytest.raises(AnalysisError, match='method = "tsne" expects at least 92 rows, found 40'):
        lay_out(data, tmp_path, method="tsne")
    with pytest.raises(AnalysisError, match="at least 52 rows, found 40"):
        lay_out(data, tmp_path, method="umap", neighbours=50)
    with pytest.raises(AnalysisError, match="at least 2 rows, found 1"):
        lay_out(make_input(np.ones((1, 3))), tmp_path)
