"""NMF against scikit-learn's coordinate descent: starts, penalties, policies, resume, memory, bad input."""

from __future__ import annotations

import tracemalloc
from warnings import catch_warnings

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from scipy.optimize import linear_sum_assignment, nnls
from sklearn import decomposition
from sklearn.datasets import load_digits

import actx_cluster.rows
from actx_cluster.parts import factorize, hals
from actx_cluster.parts.config import NmfConfig
from actx_cluster.parts.nmf import Nmf
from actx_core import AnalysisError, Input

DIGITS = load_digits().data


def nmf(data, out, **options):
    return Nmf(NmfConfig(**{"refits": 0} | options)).run([data], out)


def product(found, k):
    return found.arrays[f"weights_k{k}"][0] @ found.arrays[f"parts_k{k}"][0]


def theirs(array, k, **options):
    with catch_warnings(action="ignore"):
        method = decomposition.NMF(k, solver="cd", **options)
        return method, method.fit_transform(array)


def nonnegative(rows=300, size=40, rank=6, seed=0, noise=0.05):
    random = np.random.default_rng(seed)
    weights, parts = random.random((rows, rank)) ** 3, random.random((rank, size)) ** 3
    return weights @ parts + noise * random.random((rows, size))


@pytest.fixture
def exact(monkeypatch):
    """scikit-learn starts from a randomized SVD; make it the exact one, so that both start alike."""

    def svd(array, k, random_state):
        left, values, right = np.linalg.svd(array, full_matrices=False)
        return left[:, :k], values[:k], right[:k]

    monkeypatch.setattr("sklearn.decomposition._nmf._randomized_svd", svd)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("init", ["nndsvd", "nndsvda"])
@pytest.mark.parametrize(
    "penalty", [{}, {"alpha_W": 0.01, "l1_ratio": 0.5}, {"alpha_W": 0.02, "alpha_H": 0.0}]
)
def test_equal_iterations_give_scikit_learns_factors(
    make_input, tmp_path, monkeypatch, init, penalty
):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 64 * 100)
    monkeypatch.setattr(hals, "CHUNK", 33)
    data = make_input(DIGITS)
    found = nmf(data, tmp_path, components=8, init=init, max_iter=15, tol=0, **penalty)
    svd = {"alpha_W": 0.0, "alpha_H": "same"} | penalty
    method, weights = theirs(DIGITS, 8, init=init, max_iter=15, tol=0, random_state=0, **svd)
    np.testing.assert_allclose(product(found, 8), weights @ method.components_, atol=1e-6)
    left = np.linalg.norm(DIGITS - weights @ method.components_) / np.linalg.norm(DIGITS)
    assert found.metrics["error_k8"] == pytest.approx(left, rel=1e-4)
    assert data.array.largest == 100


def test_the_cost_of_float32_is_that_of_scikit_learn(make_input, tmp_path):
    array = nonnegative(2000, 96, 20).astype("float32")
    found = nmf(make_input(array), tmp_path, components=20, max_iter=30, tol=0)
    method, _ = theirs(array, 20, init="nndsvda", max_iter=30, tol=0, random_state=0)
    wanted = method.reconstruction_err_ / np.linalg.norm(array)
    assert found.metrics["error_k20"] <= 1.01 * wanted
    assert found.arrays["weights_k20"][0].dtype == np.float32


def test_it_stops_where_scikit_learn_stops(make_input, tmp_path):
    array = nonnegative()
    found = nmf(make_input(array), tmp_path, components=4, tol=1e-3, init="nndsvd", max_iter=500)
    method, _ = theirs(array, 4, tol=1e-3, init="nndsvd", max_iter=500, random_state=0)
    assert found.tables["fits"]["iterations"] == [method.n_iter_]
    assert found.tables["fits"]["converged"] == [True]
    assert found.notes == []


@pytest.mark.parametrize("scale", [1e-14, 1e4])
@pytest.mark.parametrize("init", ["nndsvd", "nndsvda"])
def test_the_unit_of_the_values_does_not_end_a_fit_too_soon(make_input, tmp_path, init, scale):
    array = nonnegative(noise=0.01)
    one, other = (
        nmf(make_input(a), tmp_path / name, components=6, init=init, max_iter=100)
        for name, a in (("one", array), ("other", array * scale))
    )
    assert other.metrics["error_k6"] < 2 * one.metrics["error_k6"]


def test_values_out_of_the_range_of_squares_are_refused(make_input, tmp_path):
    for scale, size in ((1e30, "large"), (1e-30, "small")):
        array = (nonnegative() * scale).astype("float32")
        with pytest.raises(AnalysisError, match=f"too {size} for sums of squares in float32"):
            nmf(make_input(array), tmp_path, components=3)


def test_figures_of_merit_are_what_they_say(make_input, tmp_path):
    found = nmf(make_input(DIGITS), tmp_path, components=6, exemplars=5)
    weights, parts = (found.arrays[f"{name}_k6"][0] for name in ("weights", "parts"))
    left = ((DIGITS - weights @ parts) ** 2).sum()
    assert found.metrics["error_k6"] == pytest.approx(np.sqrt(left / (DIGITS**2).sum()))
    assert found.metrics["r2_k6"] == pytest.approx(
        1 - left / ((DIGITS - DIGITS.mean(0)) ** 2).sum()
    )
    np.testing.assert_allclose(np.linalg.norm(parts, axis=1), 1)
    assert (weights >= 0).all()
    assert (parts >= 0).all()
    energies = (weights**2).sum(axis=0)
    assert (np.diff(energies) <= 1e-6 * energies[0]).all()
    np.testing.assert_allclose(found.tables["parts"]["share"], energies / energies.sum())
    cosines = parts @ parts.T - 2 * np.eye(6)
    np.testing.assert_allclose(found.tables["parts"]["uniqueness"], 1 - cosines.max(axis=1))
    for number, (title, rows) in enumerate(found.groups.items()):
        assert title.startswith(f"part {number} (")
        assert rows == np.argsort(-weights[:, number], kind="stable")[:5].tolist()
    assert found.arrays["weights_k6"][1] == ("row", "component")
    assert found.arrays["parts_k6"][1] == ("component", "channel")
    assert all(figure.startswith(b"\x89PNG") for figure in found.figures.values())


def test_a_sweep_holds_what_single_fits_hold(make_input, tmp_path):
    array = nonnegative()
    several = nmf(make_input(array), tmp_path / "all", components=[6, 3], max_iter=60, refits=2)
    for k in (3, 6):
        one = nmf(make_input(array), tmp_path / f"{k}", components=k, max_iter=60, refits=2)
        assert several.metrics[f"error_k{k}"] == pytest.approx(one.metrics[f"error_k{k}"], rel=1e-9)
        np.testing.assert_allclose(product(several, k), product(one, k), atol=1e-9)
    assert set(several.figures) == {"sweep", "parts_k6", "parts_k3"}
    fits = several.tables["fits"]
    assert fits["k"] == [6, 3]
    assert fits["error"][0] < fits["error"][1]
    assert next(iter(several.groups)).startswith("k = 6: part 0")


def test_true_parts_are_found_stable_and_too_many_are_not(make_input, tmp_path):
    random = np.random.default_rng(3)
    parts = np.kron(np.eye(5), np.ones((1, 6))) + 0.01 * random.random((5, 30))
    weights = random.random((600, 5)) * (random.random((600, 5)) < 0.4)
    array = weights @ parts
    found = nmf(make_input(array), tmp_path, components=[5, 12], refits=4, max_iter=300)
    unit = parts / np.linalg.norm(parts, axis=1, keepdims=True)
    cosines = found.arrays["parts_k5"][0] @ unit.T
    assert cosines[linear_sum_assignment(-cosines)].min() > 0.99
    stable = dict(zip(found.tables["fits"]["k"], found.tables["fits"]["stability"], strict=True))
    assert stable[5] > 0.99 > 0.95 > stable[12]


@pytest.mark.usefixtures("exact")
def test_split_keeps_both_signs_and_relu_one(make_input, tmp_path):
    array = np.random.default_rng(0).normal(size=(200, 12)).astype("float32")
    found = nmf(
        make_input(array), tmp_path / "s", components=10, negative="split", max_iter=30, tol=0
    )
    both = np.concatenate([array.clip(0), (-array).clip(0)], axis=1)
    method, weights = theirs(both, 10, init="nndsvda", max_iter=30, tol=0, random_state=0)
    parts = np.concatenate(
        [found.arrays[f"{n}_k10"][0] for n in ("parts", "negative_parts")], axis=1
    )
    assert found.arrays["parts_k10"][0].shape == (10, 12)
    np.testing.assert_allclose(
        found.arrays["weights_k10"][0] @ parts, weights @ method.components_, atol=2e-3
    )
    found = nmf(
        make_input(array), tmp_path / "r", components=5, negative="relu", max_iter=30, tol=0
    )
    method, weights = theirs(array.clip(0), 5, init="nndsvda", max_iter=30, tol=0, random_state=0)
    np.testing.assert_allclose(product(found, 5), weights @ method.components_, atol=2e-3)


@pytest.mark.parametrize("init", ["nndsvd", "random"])
def test_semi_nmf_is_at_a_least_squares_optimum(make_input, tmp_path, init):
    random = np.random.default_rng(4)
    array = random.random((150, 3)) @ random.normal(size=(3, 20)) + 0.1 * random.normal(
        size=(150, 20)
    )
    found = nmf(
        make_input(array),
        tmp_path,
        components=3,
        negative="semi",
        init=init,
        max_iter=500,
        tol=1e-9,
    )
    weights, parts = (np.asarray(found.arrays[f"{name}_k3"][0]) for name in ("weights", "parts"))
    assert (weights >= 0).all()
    assert (parts < 0).any()
    best = np.array([nnls(parts.T, row)[0] for row in array])
    np.testing.assert_allclose(weights, best, atol=2e-3)
    np.testing.assert_allclose(parts, np.linalg.lstsq(weights, array, rcond=None)[0], atol=2e-3)
    assert found.metrics["error_k3"] < 0.3


@pytest.mark.usefixtures("exact")
def test_the_scale_is_kept_with_the_result(make_input, tmp_path):
    array = nonnegative() * np.geomspace(0.01, 100, 40)
    found = nmf(make_input(array), tmp_path, components=6, scale="std", max_iter=20, tol=0)
    scale, axes = found.arrays["scale"]
    np.testing.assert_allclose(scale, array.std(axis=0))
    assert axes == ("channel",)
    method, weights = theirs(
        array / array.std(axis=0), 6, init="nndsvda", max_iter=20, tol=0, random_state=0
    )
    np.testing.assert_allclose(product(found, 6), weights @ method.components_, atol=1e-3)


def test_random_starts_are_seeded_and_do_not_depend_on_blocks(make_input, tmp_path, monkeypatch):
    array = nonnegative()
    one = nmf(make_input(array), tmp_path / "1", components=4, init="random", seed=5, max_iter=10)
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 40 * 7)
    two = nmf(make_input(array), tmp_path / "2", components=4, init="random", seed=5, max_iter=10)
    other = nmf(make_input(array), tmp_path / "3", components=4, init="random", seed=6, max_iter=10)
    np.testing.assert_allclose(product(one, 4), product(two, 4), atol=1e-10)
    assert abs(product(one, 4) - product(other, 4)).max() > 1e-3


def test_the_order_of_rows_does_not_matter(make_input, tmp_path):
    array = nonnegative()
    order = np.random.default_rng(1).permutation(len(array))
    one = nmf(make_input(array), tmp_path / "1", components=4, max_iter=50)
    two = nmf(make_input(array[order]), tmp_path / "2", components=4, max_iter=50)
    np.testing.assert_allclose(product(one, 4)[order], product(two, 4), atol=1e-8)


class Killed(Exception):
    pass


class Breaking:
    """A lazy array that fails after some reads."""

    def __init__(self, array, reads):
        self.array, self.shape, self.dtype, self.left = array, array.shape, array.dtype, reads

    def __getitem__(self, rows):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return self.array[rows]


def lazy(array):
    rows = pa.table({"sample": pa.array(np.arange(array.shape[0])).cast(pa.string())})
    return Input("s/m/t", array, ("row", "channel"), rows, "", lambda rows: [None] * len(rows))


@pytest.mark.parametrize("reads", [3, 30, 97])
def test_a_killed_fit_goes_on_to_the_same_bytes(tmp_path, monkeypatch, reads):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 40 * 150)
    monkeypatch.setattr(factorize, "SECONDS", 0.0)
    options = {"components": [3, 5], "max_iter": 20, "tol": 0, "refits": 1}
    array = nonnegative()
    whole = Breaking(array, 10**9)
    straight = nmf(lazy(whole), tmp_path / "straight", **options)
    with pytest.raises(Killed):
        nmf(lazy(Breaking(array, reads)), tmp_path / "killed", **options)
    again = Breaking(array, 10**9)
    resumed = nmf(lazy(again), tmp_path / "killed", **options)
    for name, (values, _) in straight.arrays.items():
        assert np.asarray(values).tobytes() == np.asarray(resumed.arrays[name][0]).tobytes()
    assert resumed.tables == straight.tables
    if reads > 30:
        assert whole.left + 20 < again.left
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class Endless:
    """Many rows that repeat."""

    dtype = np.dtype("float32")

    def __init__(self, rows):
        self.shape = (rows, 16)
        random = np.random.default_rng(0)
        self.some = random.random((2**15, 6), np.float32) ** 4 @ random.random((6, 16), np.float32)

    def __getitem__(self, rows):
        return self.some[: rows.stop - rows.start]


def test_memory_is_flat_in_the_number_of_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 2**22)
    peaks = []
    for rows in (50_000, 500_000):
        data = Input("s/m/t", Endless(rows), ("row", "channel"), pa.table({}), "", list)
        tracemalloc.start()
        found = nmf(data, tmp_path / f"{rows}", components=6, max_iter=1, refits=1)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        assert found.arrays["weights_k6"][0].shape == (rows, 6)
    # Rows.numbers, 8 bytes a row, is all that grows
    assert peaks[1] - peaks[0] < 450_000 * 8 * 3 / 2**20 + 1
    assert peaks[1] < 60


def test_negative_values_are_named_and_the_hint_says_what_to_do(make_input, tmp_path):
    array = nonnegative(10, 4)
    array[3, 1] = array[7, 2] = -1
    with pytest.raises(
        AnalysisError, match=r"2 of 10 rows hold negative ones: sample 'img0003.png'"
    ) as caught:
        nmf(make_input(array), tmp_path, components=2)
    assert 'negative = "relu"' in caught.value.hint


def test_bad_input_is_refused_in_a_line(make_input, tmp_path):
    array = nonnegative(10, 4)
    with pytest.raises(AnalysisError, match="at most 4, found components = 5"):
        nmf(make_input(array), tmp_path, components=[2, 5])
    assert (
        nmf(make_input(array), tmp_path / "5", components=5, init="random").metrics["error_k5"]
        < 0.2
    )
    with pytest.raises(AnalysisError, match="no value is above 0"):
        nmf(make_input(-array), tmp_path, components=2, negative="relu")
    with pytest.raises(AnalysisError, match="rows are equal"):
        nmf(make_input(np.ones((5, 3))), tmp_path, components=2)
    array[4, 2] = np.nan
    with pytest.raises(
        AnalysisError, match=r"NaN or infinite values: sample 'img0004.png' \(row 4\)"
    ):
        nmf(make_input(array), tmp_path, components=2)
    axes = ("row", "channel", "y", "x")
    with pytest.raises(AnalysisError, match="axes channel 2 x y 3 x x 3") as caught:
        nmf(make_input(np.ones((4, 2, 3, 3)), axes), tmp_path, components=2)
    assert 'over = ["y", "x"]' in caught.value.hint


def test_zero_rows_and_dead_dimensions_do_no_harm(make_input, tmp_path):
    array = nonnegative(60, 10, 3, noise=0)
    array[:, 4] = 0
    array[7] = 0
    found = nmf(make_input(array), tmp_path, components=8, scale="std", max_iter=100, init="nndsvd")
    assert np.isfinite(found.arrays["weights_k8"][0]).all()
    assert found.metrics["error_k8"] < 0.02


def test_options_that_cannot_work_are_refused():
    with pytest.raises(ValidationError, match="the parts need one of L2"):
        NmfConfig(negative="semi", alpha_W=0.1, l1_ratio=1)
    NmfConfig(negative="semi", alpha_W=0.1, l1_ratio=0.5)
    with pytest.raises(ValidationError):
        NmfConfig(components=[])
    with pytest.raises(ValidationError):
        NmfConfig(components=0)
