"""Exact Ward: the tree is scipy's, whatever the data; weights count as repeated rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import is_valid_linkage, linkage
from sklearn.cluster import AgglomerativeClustering
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from actx_cluster.clustering.search import DeviceSearch, Search
from actx_cluster.clustering.ward import cut, ward


def clouds(n=700, d=24, seed=0):
    rng = np.random.default_rng(seed)
    scale = np.arange(1, d + 1) ** -0.5
    centres = rng.normal(size=(40, d)) * scale
    rows = centres[rng.integers(0, 40, n)] + 0.5 * rng.normal(size=(n, d)) * scale
    return rows.astype(np.float32)


def assert_same_tree(found, expected, ks=(2, 5, 20, 100)):
    assert is_valid_linkage(found)
    assert (np.diff(found[:, 2]) >= 0).all()
    assert np.abs(found[:, 2] - expected[:, 2]).max() <= 1e-5 * expected[-1, 2]
    for k in (k for k in ks if k <= len(found)):
        assert adjusted_rand_score(cut(found, k), cut(expected, k)) == 1.0


@pytest.fixture(params=["numpy", "torch on cpu", "torch on cuda"])
def searched(request, monkeypatch):
    """Let numpy look for neighbours, or torch, in tiles smaller than the data."""
    if request.param == "numpy":
        return
    torch = pytest.importorskip("torch", reason="devices need torch")
    device = torch.device(request.param.split()[-1])
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    monkeypatch.setattr(DeviceSearch, "rows", 100)
    monkeypatch.setattr(DeviceSearch, "columns", 130)
    monkeypatch.setattr("actx_cluster.clustering.ward.search", lambda _: DeviceSearch(device))


@pytest.mark.parametrize(
    "rows",
    [
        clouds(),
        clouds().astype(np.float64) + 1000,
        clouds(d=1),
        clouds(n=2),
        load_digits().data[:800]
        + clouds(n=800, d=64) / 100,  # counts have ties: several right trees
        np.random.default_rng(1).random((300, 5)).astype(np.float16).astype(np.float32),
    ],
    ids=["clouds", "offset", "line", "two", "digits", "half"],
)
def test_the_tree_is_that_of_scipy(searched, rows):
    assert_same_tree(ward(rows), linkage(rows.astype(np.float64), "ward"))


def test_labels_are_those_of_scikit_learn():
    rows = clouds(500)
    for k in (3, 17, 80):
        theirs = AgglomerativeClustering(k).fit_predict(rows)
        assert adjusted_rand_score(cut(ward(rows), k), theirs) == 1.0


def test_tiles_smaller_than_the_data_change_nothing(monkeypatch):
    rows = clouds(300)
    expected = ward(rows)
    monkeypatch.setattr(Search, "rows", 7)
    monkeypatch.setattr(Search, "columns", 11)
    assert np.allclose(ward(rows)[:, 2], expected[:, 2], rtol=1e-5)


def test_repeated_rows_are_merged_first(searched):
    rows = clouds(60)
    tree = ward(np.repeat(rows, 10, axis=0))
    assert is_valid_linkage(tree)
    assert (tree[:540, 2] == 0).all()
    labels = cut(tree, 60)
    assert (labels.reshape(60, 10) == labels.reshape(60, 10)[:, :1]).all()


def test_a_weight_is_so_many_equal_rows(searched):
    rng = np.random.default_rng(0)
    rows, weights = clouds(80), rng.integers(1, 9, 80)
    weighted, repeated = ward(rows, weights), ward(np.repeat(rows, weights, axis=0))
    assert np.allclose(weighted[:, 2], repeated[-79:, 2], rtol=1e-4)
    assert weighted[-1, 3] == weights.sum()
    for k in (4, 12):
        assert adjusted_rand_score(cut(weighted, k), cut(repeated, k)[np.cumsum(weights) - 1]) == 1


@pytest.mark.timeout(20)
def test_rows_that_are_all_equal_end():
    tree = ward(np.ones((4000, 3), np.float32))
    assert is_valid_linkage(tree)
    assert tree[-1, 2] == 0


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_does_not_matter(seed, n, d):
    rng = np.random.default_rng(seed)
    rows, order = rng.normal(size=(n, d)), rng.permutation(n)
    tree, shuffled = ward(rows), ward(rows[order])
    assert np.allclose(tree[:, 2], shuffled[:, 2], rtol=1e-4)
    k = 1 + int(seed % n)
    assert adjusted_rand_score(cut(tree, k)[order], cut(shuffled, k)) == 1.0


def test_one_row_is_one_cluster():
    tree = ward(np.zeros((1, 3)))
    assert tree.shape == (0, 4)
    assert cut(tree, 1).tolist() == [0]
