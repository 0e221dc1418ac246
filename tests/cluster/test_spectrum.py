"""The spectrum in one pass: exact for hard data, randomized where it must be, in flat memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

import actx_cluster.rows
from actx_cluster import spectrum
from actx_cluster.parts.config import PcaConfig
from actx_cluster.parts.pca import Pca
from actx_cluster.parts.rowfile import RowFile
from actx_cluster.parts.top import Top
from actx_cluster.rows import Rows
from actx_core import AnalysisError, Input


@pytest.mark.parametrize("offset", [0, 100, 10_000])
@pytest.mark.parametrize("block", [40, 10_000])
def test_one_pass_over_float32_equals_two_in_float64(make_input, monkeypatch, offset, block):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 24 * block)
    random = np.random.default_rng(0)
    # sorted rows: the first block, from which the mean is guessed, is unlike the others
    array = np.sort(random.normal(size=(3000, 24)), axis=0) * np.geomspace(9, 0.5, 24)
    array = (array + random.normal(size=array.shape) + offset).astype("float32")
    found = spectrum.principal(Rows(make_input(array)), 6, 0)
    exact = PCA(6, svd_solver="full").fit(array.astype(float))
    np.testing.assert_allclose(found.energies / 2999, exact.explained_variance_, rtol=3e-5)
    np.testing.assert_allclose(
        np.abs(np.sum(found.directions * exact.components_, 1)), 1, atol=1e-6
    )
    np.testing.assert_allclose(found.mean, exact.mean_, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(found.squares / 3000, array.var(axis=0, dtype=float), rtol=1e-5)


def test_small_dimensions_beside_a_massive_one_keep_their_digits(make_input):
    random = np.random.default_rng(1)
    array = random.normal(size=(2000, 16)).astype("float32")
    array[:, 3] *= 1000
    found = spectrum.principal(Rows(make_input(array)), 16, 0)
    exact = PCA(16, svd_solver="full").fit(array.astype(float))
    np.testing.assert_allclose(found.energies / 1999, exact.explained_variance_, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e3, 1e5])
@pytest.mark.parametrize("turned", [False, True])
def test_components_far_below_the_first_are_neither_mixed_nor_lost(make_input, scale, turned):
    random = np.random.default_rng(5)
    massive = random.normal(size=16) if turned else np.eye(16)[3]
    array = random.normal(size=(1000, 16)) * np.linspace(2, 1, 16)
    array = (array + scale * np.outer(random.normal(size=1000), massive)).astype("float32")
    found = spectrum.principal(Rows(make_input(array)), 8, 0)
    exact = PCA(8, svd_solver="full").fit(array.astype(float))
    np.testing.assert_allclose(found.energies / 999, exact.explained_variance_, rtol=1e-5)
    assert np.abs(np.sum(found.directions * exact.components_, 1)).min() > 0.9999


@pytest.mark.parametrize("offset", [0, 100])
def test_rounding_is_no_component(make_input, offset):
    random = np.random.default_rng(6)
    array = (random.normal(size=(300, 3)) @ random.normal(size=(3, 12)) + offset).astype("float32")
    assert len(spectrum.principal(Rows(make_input(array)), 12, 0).energies) == 3
    repeated = np.repeat(random.normal(size=(3, 12)).astype("float32"), 30, axis=0)
    assert len(spectrum.principal(Rows(make_input(repeated)), 12, 0).energies) == 2


def test_the_randomized_way_needs_neither_matrix(make_input, monkeypatch):
    monkeypatch.setattr(spectrum, "EXACT", 10)
    monkeypatch.setattr(spectrum, "FEW", 10)
    random = np.random.default_rng(2)
    array = (random.normal(size=(400, 80)) * np.geomspace(10, 0.01, 80) + 3).astype("float32")
    one, two = (spectrum.principal(Rows(make_input(array)), 5, 7) for _ in range(2))
    exact = PCA(5, svd_solver="full").fit(array.astype(float))
    np.testing.assert_allclose(one.energies / 399, exact.explained_variance_, rtol=1e-4)
    assert one.directions.tobytes() == two.directions.tobytes()
    assert not one.exact


def test_rotated_rows_have_rotated_components(make_input):
    random = np.random.default_rng(3)
    array = random.normal(size=(500, 10)) * np.geomspace(5, 0.5, 10)
    turn = np.linalg.qr(random.normal(size=(10, 10)))[0]
    one, two = (spectrum.principal(Rows(make_input(a)), 4, 0) for a in (array, array @ turn))
    np.testing.assert_allclose(one.energies, two.energies)
    np.testing.assert_allclose(np.abs(np.sum(one.directions @ turn * two.directions, 1)), 1)


def test_values_too_large_or_too_small_to_square_are_refused(make_input):
    array = np.random.default_rng(4).normal(size=(50, 3)).astype("float32") * 1e30
    with pytest.raises(AnalysisError, match="too large for sums of squares in float32"):
        spectrum.principal(Rows(make_input(array)), 2, 0)
    with pytest.raises(AnalysisError, match="too small for sums of squares in float32"):
        spectrum.principal(Rows(make_input((array.astype(float) * 1e-60).astype("float32"))), 2, 0)


class Endless:
    """Many rows that repeat."""

    dtype = np.dtype("float32")

    def __init__(self, rows):
        self.shape = (rows, 16)
        self.some = np.random.default_rng(0).normal(size=(2**15, 16)).astype("float32")

    def __getitem__(self, rows):
        return self.some[: rows.stop - rows.start]


def test_memory_of_pca_is_flat_in_the_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 2**22)
    peaks = []
    for rows in (50_000, 500_000):
        data = Input("s/m/t", Endless(rows), ("row", "channel"), pa.table({}), "", list)
        tracemalloc.start()
        found = Pca(PcaConfig(components=10)).run([data], tmp_path)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        assert found.arrays["scores"][0].shape == (rows, 10)
    # the numbers of the rows, 8 bytes each, and of those in the figure are all that grows
    assert peaks[1] - peaks[0] < 450_000 * 8 * 3 / 2**20 + 1


def test_a_file_of_rows_is_numpys(tmp_path):
    array = np.arange(30, dtype="float32").reshape(10, 3)
    rows = RowFile(tmp_path / "deep" / "a.npy", 10, 3, np.dtype("float32"))
    for at in (slice(6, 10), slice(0, 6)):
        rows.write(at, array[at].T.copy().T)
    np.testing.assert_array_equal(np.load(rows.path), array)
    np.testing.assert_array_equal(rows.read(slice(2, 5)), array[2:5])
    found = rows.finish()
    assert not rows.path.exists()
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("most", [0, 3, 50])
def test_the_top_rows_are_those_of_a_sort(most):
    values = np.random.default_rng(5).integers(0, 9, (40, 4)).astype(float)
    top = Top(4, most)
    for start in range(0, 40, 7):
        at = slice(start, min(start + 7, 40))
        top.add(at, values[at])
    wanted = np.argsort(-values, axis=0, kind="stable")[:most].T.tolist()
    assert top.rows() == wanted
