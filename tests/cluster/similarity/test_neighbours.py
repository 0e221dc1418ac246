"""Neighbours against scikit-learn: exact in any tiling, duplicates, resuming, an index, and bad input."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from actx_cluster.similarity import neighbours as module
from actx_cluster.similarity import saved
from actx_cluster.similarity.config import NeighboursConfig
from actx_cluster.similarity.neighbours import Neighbours
from actx_core import AnalysisError, PluginError


def nearest(data, out, **options):
    return Neighbours(NeighboursConfig(**options)).run([data], out)


def rows(count=300, size=9):
    return np.random.default_rng(0).normal(size=(count, size)).astype("float32")


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("tiles", [(1024, 8192), (37, 50), (7, 3)])
def test_equals_scikit_learn(tap, tmp_path, monkeypatch, metric, tiles):
    monkeypatch.setattr(module, "QUERIES", tiles[0])
    monkeypatch.setattr(module, "COLUMNS", tiles[1])
    array = rows()
    found = nearest(tap(array), tmp_path, k=6, metric=metric)
    fitted = NearestNeighbors(n_neighbors=6, metric=metric).fit(array.astype(float))
    distances, numbers = fitted.kneighbors()
    np.testing.assert_array_equal(found.arrays["neighbours"][0], numbers)
    np.testing.assert_allclose(found.arrays["distances"][0], distances, atol=1e-5)


def test_real_activations_with_an_offset(tap, tmp_path):
    array = (load_digits().data[:250] + 500).astype("float32")
    found = nearest(tap(array), tmp_path, k=4, metric="euclidean").arrays["distances"][0]
    wanted, _ = NearestNeighbors(n_neighbors=4).fit(array.astype(float)).kneighbors()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


def test_equal_rows_find_each_other_and_never_themselves(tap, tmp_path):
    array = np.repeat(rows(10), 3, axis=0)
    found = nearest(tap(array), tmp_path, k=2, metric="euclidean")
    for row, near in enumerate(found.arrays["neighbours"][0]):
        assert sorted([row, *near]) == [row // 3 * 3 + k for k in range(3)]
    np.testing.assert_allclose(found.arrays["distances"][0], 0, atol=1e-6)


def test_table_and_previews_say_the_same(tap, tmp_path, monkeypatch):
    found = nearest(tap(rows(20)), tmp_path, k=3, shown=2, seed=5)
    table, near = found.tables["neighbours"], found.arrays["neighbours"][0]
    assert table["row"][:4] == [0, 0, 0, 1]
    assert table["rank"][:4] == [1, 2, 3, 1]
    assert table["neighbour"] == near.reshape(-1).tolist()
    assert table["neighbour_sample"][4] == f"img{near[1, 1]:04d}"
    assert len(found.groups) == 2
    for title, shown in found.groups.items():
        assert title == f"nearest to img{shown[0]:04d} (row {shown[0]})"
        assert shown[1:] == near[shown[0]].tolist()
    monkeypatch.setattr(module, "LISTED", 30)
    short = nearest(tap(rows(20)), tmp_path, k=3)
    assert len(short.tables["neighbours"]["row"]) == 30
    assert short.notes == ["the table lists the first 10 rows; the arrays hold all"]


def test_a_killed_search_goes_on(tap, tmp_path, monkeypatch):
    monkeypatch.setattr(saved, "SECONDS", 0.0)
    monkeypatch.setattr(module, "QUERIES", 40)
    monkeypatch.setattr(module, "HELD_BYTES", 0)
    whole = nearest(tap(rows()), tmp_path, k=5).arrays["neighbours"][0]
    real, calls = saved.Saved.save, []

    def dies(self, state):
        real(self, state)
        calls.append(int(state["done"]))
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(saved.Saved, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        nearest(tap(rows()), tmp_path, k=5)
    again = nearest(tap(rows()), tmp_path, k=5).arrays["neighbours"][0]
    np.testing.assert_array_equal(again, whole)
    assert calls == [40, 80, 120, 160, 200, 240, 280, 300]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_an_index_of_faiss_finds_nearly_all(tap, tmp_path, metric):
    pytest.importorskip("faiss", reason="faiss is not installed")
    array = np.repeat(rows(1500), 2, axis=0)
    found = nearest(tap(array), tmp_path, k=5, metric=metric, index="faiss")
    exact = nearest(tap(array), tmp_path, k=5, metric=metric, index="exact")
    near = found.arrays["neighbours"][0]
    assert near.shape == (3000, 5)
    assert not (near == np.arange(3000)[:, None]).any()
    hits = [len(np.intersect1d(a, b)) for a, b in zip(near, exact.arrays["neighbours"][0])]
    assert np.mean(hits) > 4.5
    np.testing.assert_allclose(
        found.arrays["distances"][0][:, 0], exact.arrays["distances"][0][:, 0], atol=1e-3
    )
    assert re.match(r"approximate, by faiss: (9\d|100)", found.notes[0])


def test_bad_input_is_told(tap, tmp_path):
    with pytest.raises(AnalysisError, match="more than 10 rows for 10 neighbours, found 10"):
        nearest(tap(rows(10)), tmp_path)
    array = rows(20)
    array[3] = 0
    with pytest.raises(AnalysisError, match="are zero.*'img0003'"):
        nearest(tap(array), tmp_path)
    if importlib.util.find_spec("faiss") is None:
        with pytest.raises(PluginError, match=r"not installed.*actx-cluster\[faiss\]"):
            nearest(tap(rows(20)), tmp_path, index="faiss")
