"""Reading a tap: blocks, moments, preprocessing, and the inputs that cannot be analysed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler, normalize

import actx_cluster.rows
from actx_cluster.rows import Rows, dominant
from actx_core import AnalysisError


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 12 * 7)  # 7 rows of 12


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
@pytest.mark.parametrize("offset", [0, 1000])
def test_moments_equal_numpy_on_the_whole_array(make_input, small_blocks, dtype, offset):
    values = np.random.default_rng(0).integers(0, 200, (100, 12)) / (1 if dtype == "uint8" else 8)
    array = (values + (0 if dtype == "uint8" else offset)).astype(dtype)
    data = make_input(array)
    moments = Rows(data).moments()
    assert data.array.largest == 7
    np.testing.assert_allclose(moments.mean, array.mean(axis=0, dtype=float), rtol=1e-13)
    np.testing.assert_allclose(moments.variance, array.var(axis=0, dtype=float), rtol=1e-11)


def test_matrix_equals_scikit_learns_preprocessing(make_input, small_blocks):
    array = np.random.default_rng(1).normal(5, 3, (50, 12)).astype("float32")
    array[:, 4] = 2.5
    rows = Rows(make_input(array))
    moments = rows.moments()
    wanted = {
        "none": array,
        "center": array - array.mean(axis=0),
        "zscore": StandardScaler().fit_transform(array),
        "l2": normalize(array),
    }
    for preprocess, matrix in wanted.items():
        found = rows.matrix(preprocess, moments)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, matrix, atol=2e-6)


def test_single_numbers_are_vectors_of_one(make_input):
    rows = Rows(make_input(np.arange(5.0), axes=("row",)))
    assert (rows.size, rows.axis) == (1, "value")
    assert rows.matrix("none", rows.moments()).tolist() == [[0], [1], [2], [3], [4]]


def test_rows_of_several_axes_say_how_to_pool(make_input):
    data = make_input(np.zeros((4, 8, 5, 6)), ("row", "channel", "y", "x"))
    with pytest.raises(AnalysisError, match="channel 8 x y 5 x x 6") as caught:
        Rows(data)
    assert caught.value.where == "photos/net/layer"
    assert '{ type = "mean", over = ["y", "x"] }' in caught.value.hint
    assert '{ type = "flatten", over = ["channel", "y", "x"] }' in caught.value.hint


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_named(make_input, small_blocks, bad):
    array = np.random.default_rng(2).normal(size=(40, 12)).astype("float16")
    array[[3, 38], 5] = bad
    with pytest.raises(AnalysisError, match="2 of 40 rows") as caught:
        Rows(make_input(array)).moments()
    assert "sample 'img0003.png' (row 3), sample 'img0038.png' (row 38)" in caught.value.message


def test_many_bad_rows_are_counted_but_not_all_named(make_input):
    with pytest.raises(AnalysisError, match=r"row 4\) and 4 more"):
        Rows(make_input(np.full((9, 2), np.nan))).moments()


def test_equal_rows_are_refused(make_input, small_blocks):
    array = np.tile(np.linspace(0.1, 0.3, 12, dtype="float32"), (30, 1))
    with pytest.raises(AnalysisError, match="all 30 rows are equal"):
        Rows(make_input(array)).moments()


def test_rows_of_zeros_have_no_direction(make_input, small_blocks):
    array = np.random.default_rng(3).normal(size=(30, 12))
    array[17] = 0
    rows = Rows(make_input(array))
    with pytest.raises(AnalysisError, match=r"sample 'img0017.png' \(row 17\)"):
        rows.matrix("l2", rows.moments())


def test_rows_without_a_sample_column_are_named_by_number(make_input):
    data = make_input(np.ones((3, 2)))
    object.__setattr__(data, "rows", data.rows.drop_columns(["sample"]))
    assert Rows(data).named([2]) == "row 2"


def test_few_dimensions_with_most_of_the_variance_are_told():
    variance = np.ones(384)
    assert dominant(variance) == ""
    variance[[7, 300, 12]] = 36 * 20, 36 * 30, 36 * 10
    assert "2 of 384 dimensions hold 71% of the variance (dimension 300, 7)" in dominant(variance)
    assert dominant(np.array([5.0, 1.0, 1.0])) == ""  # of three, one always holds much


def test_complex_numbers_are_refused(make_input):
    with pytest.raises(AnalysisError, match="expected real numbers, found complex64"):
        Rows(make_input(np.ones((4, 2), "complex64")))
