"""Preprocessing: principal components and whitening against scikit-learn; what a result keeps of it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import actx_cluster.rows
from actx_cluster import spectrum
from actx_cluster.rows import Rows, row_keys
from actx_cluster.scaling import Scaler


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("offset", [0, 1000])
def test_components_are_those_of_scikit_learn(make_input, monkeypatch, whiten, offset):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 64 * 100)
    array = load_digits().data + offset
    data = make_input(array)
    rows = Rows(data)
    found = rows.matrix("whiten:7" if whiten else "pca:7", rows.moments())
    wanted = PCA(7, svd_solver="full", whiten=whiten).fit_transform(array)
    np.testing.assert_allclose(found, wanted, atol=1e-7)
    assert data.array.largest == 100


def test_components_that_do_not_exist_are_left_out(make_input):
    rng = np.random.default_rng(0)
    rows = Rows(make_input(rng.normal(size=(40, 2)) @ rng.normal(size=(2, 9))))
    assert rows.matrix("whiten:5", rows.moments()).std(axis=0, ddof=1) == pytest.approx([1, 1])


@pytest.mark.parametrize("preprocess", ["none", "center", "zscore", "l2", "pca:3", "whiten:3"])
def test_a_stored_scaler_does_the_same(make_input, preprocess):
    array = np.random.default_rng(1).normal(2, 5, size=(80, 6))
    rows = Rows(make_input(array))
    scaler = rows.scaler(preprocess, rows.moments())
    arrays = {name: kept for name, (kept, _) in scaler.arrays("channel").items()}
    again = Scaler.restore(arrays, preprocess)
    np.testing.assert_array_equal(again(array), rows.gathered(scaler))
    assert scaler.size(6) == again(array).shape[1]


def test_too_many_dimensions_for_a_covariance_are_done_without(make_input, monkeypatch):
    monkeypatch.setattr(spectrum, "EXACT", 5)
    array = np.random.default_rng(2).normal(size=(60, 9)) * [30, 9, 3, 1, 1, 1, 1, 1, 1]
    rows = Rows(make_input(array))
    found = rows.matrix("pca:2", rows.moments())
    np.testing.assert_allclose(abs(found), abs(PCA(2).fit_transform(array)), atol=1e-6)


def test_rows_can_be_narrowed(make_input, monkeypatch):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 3 * 4)  # 4 rows
    array = np.random.default_rng(3).normal(size=(30, 3))
    keep = np.array([0, 3, 4, 5, 6, 7, 19, 29])
    rows = Rows(make_input(array), keep)
    np.testing.assert_array_equal(rows.gathered(Scaler()), array[keep])
    places = [at for at, _ in rows.blocks()]
    assert [at.start for at in places] == [0, 2, 6, 7]
    assert rows.column("sample")[-1] == "img0029.png"
    assert rows.named([1]) == "sample 'img0003.png' (row 3)"


def test_keys_follow_the_content():
    rows = np.array([[0.0, 1.0], [2.0, 3.0], [-0.0, 1.0]])
    keys = row_keys(rows, 0)
    assert keys[0] == keys[2] != keys[1]
    assert (row_keys(rows[::-1].copy(), 0) == keys[::-1]).all()
    assert (row_keys(rows, 1) != keys).all()
