"""CKA and Procrustes against their published formulas, with their invariances, in one pass, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from actx_cluster.similarity import products, saved
from actx_cluster.similarity.cka import Cka
from actx_cluster.similarity.config import CkaConfig, ProcrustesConfig
from actx_cluster.similarity.procrustes import Procrustes
from actx_core import AnalysisError


def song(x, y):
    """HSIC_1, equation 5 of Song et al. (2012), with linear kernels."""
    n, one = len(x), np.ones(len(x))
    k, other = x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(other, 0)
    middle = (one @ k @ one) * (one @ other @ one) / ((n - 1) * (n - 2))
    return np.trace(k @ other) + middle - 2 / (n - 2) * (one @ k @ other @ one)


def kornblith(x, y):
    """HSIC of Kornblith et al. (2019) with linear kernels: |Y'X|² of centred columns."""
    return np.linalg.norm((y - y.mean(0)).T @ (x - x.mean(0))) ** 2


FORMULAS = {"debiased": song, "biased": kornblith}


def wanted(arrays, estimator):
    arrays = [a.astype(float) for a in arrays]
    hsic = np.array([[FORMULAS[estimator](a, b) for b in arrays] for a in arrays])
    return hsic / np.sqrt(np.outer(np.diag(hsic), np.diag(hsic)))


def related(count, sizes, offset=3.0, seed=0):
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(count, 5))
    return [
        (base @ generator.normal(size=(5, d)) + generator.normal(size=(count, d)) + offset).astype(
            "float32"
        )
        for d in sizes
    ]


def inputs(tap, arrays, **columns):
    return [tap(a, f"photos/net/l{k}", **columns) for k, a in enumerate(arrays)]


def cka(taps, out, **options):
    return Cka(CkaConfig(**options)).run(taps, out).arrays["cka"][0]


def procrustes(taps, out, **options):
    return Procrustes(ProcrustesConfig(**options)).run(taps, out).arrays["distance"][0]


@pytest.fixture
def column_form(monkeypatch):
    monkeypatch.setattr(products, "by_rows", lambda every: False)


@pytest.fixture
def row_form(monkeypatch):
    monkeypatch.setattr(products, "by_rows", lambda every: True)


@pytest.mark.parametrize("form", ["column_form", "row_form"])
@pytest.mark.parametrize("estimator", ["debiased", "biased"])
@pytest.mark.parametrize(("count", "sizes"), [(200, (20, 31, 7)), (30, (90, 200, 5))])
@pytest.mark.parametrize("offset", [0, 300])
def test_equals_the_published_formula(
    tap, tmp_path, request, form, estimator, count, sizes, offset
):
    request.getfixturevalue(form)
    arrays = related(count, sizes, offset)
    found = cka(inputs(tap, arrays), tmp_path, estimator=estimator)
    np.testing.assert_allclose(found, wanted(arrays, estimator), atol=1e-5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["column_form", "row_form"])
@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_values_of_any_size_keep_within_float32(tap, tmp_path, request, form, scale):
    request.getfixturevalue(form)
    x, y = related(60, (8, 12))
    found = cka(inputs(tap, [x, y * np.float32(scale)]), tmp_path)
    np.testing.assert_allclose(found, wanted([x, y], "debiased"), atol=1e-5)


def test_real_activations(tap, tmp_path):
    digits = load_digits().data[:400]
    arrays = [digits, np.maximum(digits @ np.random.default_rng(0).normal(size=(64, 90)), 0)]
    for estimator in FORMULAS:
        found = cka(inputs(tap, arrays), tmp_path, estimator=estimator)
        np.testing.assert_allclose(found, wanted(arrays, estimator), atol=1e-5)


@pytest.mark.parametrize("form", ["column_form", "row_form"])
def test_blocks_and_tiles_change_nothing(tap, tmp_path, request, monkeypatch, form):
    request.getfixturevalue(form)
    arrays = related(120, (9, 14))
    whole = cka(inputs(tap, arrays), tmp_path)
    for name, value in (("BLOCK_BYTES", 4 * 23 * 11), ("HELD_BYTES", 4 * 23 * 50), ("TILE", 7)):
        monkeypatch.setattr(products, name, value)
    np.testing.assert_allclose(cka(inputs(tap, arrays), tmp_path), whole, atol=1e-6)


@pytest.mark.parametrize("form", ["column_form", "row_form"])
def test_a_killed_pass_goes_on_to_the_same_result(tap, tmp_path, request, monkeypatch, form):
    request.getfixturevalue(form)
    monkeypatch.setattr(saved, "SECONDS", 0.0)
    monkeypatch.setattr(products, "BLOCK_BYTES", 4 * 23 * 11)
    monkeypatch.setattr(products, "HELD_BYTES", 4 * 23 * 50)
    arrays = related(120, (9, 14))
    whole = cka(inputs(tap, arrays), tmp_path)
    real, calls = saved.Saved.save, []

    def dies(self, state):
        real(self, state)
        calls.append(int(state["done"]))
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(saved.Saved, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        cka(inputs(tap, arrays), tmp_path)
    assert cka(inputs(tap, arrays), tmp_path).tobytes() == whole.tobytes()
    assert calls == sorted(set(calls))


def test_columns_are_read_once(tap, tmp_path, column_form):
    taps = inputs(tap, related(9000, (4, 6)))
    cka(taps, tmp_path)
    assert all(t.array.read == 9000 + 4096 for t in taps)  # and the first rows, for the shift


def test_debiasing_matters_where_dimensions_are_many(tap, tmp_path):
    generator = np.random.default_rng(0)
    unrelated = inputs(tap, [generator.normal(size=(40, 400)) for _ in range(2)])
    assert abs(cka(unrelated, tmp_path)[0, 1]) < 0.1
    assert cka(unrelated, tmp_path, estimator="biased")[0, 1] > 0.8


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("measure", [cka, procrustes])
def test_rotation_scale_shift_and_order_of_rows_do_not_matter(tap, tmp_path, measure, seed):
    x, y = (a.astype(float) for a in related(60, (8, 12), seed=seed))
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(12, 12)))[0]
    order = generator.permutation(60)
    names = [f"img{row:04d}" for row in order]
    base = measure(inputs(tap, [x, y]), tmp_path)
    moved = [tap(x, "a/b/c"), tap((y @ rotation * 7 - 5)[order], "a/b/d", sample=names)]
    np.testing.assert_allclose(measure(moved, tmp_path), base, atol=1e-5)
    same = measure([tap(y, "a/b/c"), moved[1]], tmp_path)[0, 1]
    assert same == pytest.approx(1 if measure is cka else 0, abs=1e-5)


def test_procrustes_equals_the_best_rotation(tap, tmp_path):
    from scipy.linalg import orthogonal_procrustes

    arrays = related(50, (8, 8))
    centred = [a - a.mean(0, dtype=float) for a in arrays]
    one, other = (a / np.linalg.norm(a) for a in centred)
    rotation, fit = orthogonal_procrustes(one, other)
    taps = inputs(tap, arrays)
    wanted = np.linalg.norm(one @ rotation - other) ** 2
    assert procrustes(taps, tmp_path)[0, 1] == pytest.approx(wanted, abs=1e-6)
    assert procrustes(taps, tmp_path, distance="angular")[0, 1] == pytest.approx(np.arccos(fit))


def test_procrustes_with_more_dimensions_than_rows(tap, tmp_path):
    arrays = related(30, (90, 12))
    centred = [a - a.mean(0, dtype=float) for a in arrays]
    one, other = (a / np.linalg.norm(a) for a in centred)
    wanted = 2 - 2 * np.linalg.svd(one.T @ other, compute_uv=False).sum()
    assert procrustes(inputs(tap, arrays), tmp_path)[0, 1] == pytest.approx(wanted, abs=1e-6)


def test_rows_are_matched_and_averages_are_told(tap, tmp_path):
    x, y = related(40, (6, 9))
    names = [f"s{row % 20:02d}" for row in range(40)]
    taps = [tap(x, "p/a/l", sample=names), tap(y[:30], "p/b/l", sample=names[:30])]
    result = Cka(CkaConfig(by="sample")).run(taps, tmp_path)
    means = [(x[:20] + x[20:]) / 2, np.concatenate([(y[:10] + y[20:30]) / 2, y[10:20]])]
    np.testing.assert_allclose(result.arrays["cka"][0], wanted(means, "debiased"), atol=1e-5)
    assert result.notes == [
        "20 rows, matched by sample",
        "p/a/l: 40 rows were averaged to 20",
        "p/b/l: 30 rows were averaged to 20",
    ]


def test_bad_input_is_told(tap, tmp_path, monkeypatch):
    x, y = related(20, (6, 9))
    for measure in (cka, procrustes):
        with pytest.raises(AnalysisError, match="at least 2 inputs to compare, found 1"):
            measure(inputs(tap, [x]), tmp_path)
        with pytest.raises(AnalysisError, match="photos/net/l1: expected rows that differ"):
            measure(inputs(tap, [x, np.full((20, 3), 0.1, "float32")]), tmp_path)
        with pytest.raises(AnalysisError, match="at least 4 rows.*found 3"):
            measure([tap(x, "a/b/c"), tap(y[:3], "a/b/d")], tmp_path)
        other = tap(y, "a/b/d", sample=[f"t{k}" for k in range(20)])
        with pytest.raises(AnalysisError, match="no condition is in a/b/c and in a/b/d"):
            measure([tap(x, "a/b/c"), other], tmp_path)
        broken = y.copy()
        broken[7, 2] = np.inf
        with pytest.raises(AnalysisError, match="l1: rows hold NaN or infinite.*'img0007'"):
            measure(inputs(tap, [x, broken]), tmp_path)
    monkeypatch.setattr("actx_cluster.similarity.procrustes.WIDEST", 5)
    with pytest.raises(AnalysisError, match="at most 5 rows or dimensions, found 20 and 6"):
        procrustes(inputs(tap, [x, y]), tmp_path)


@pytest.mark.parametrize("size", [3, 90])
@pytest.mark.parametrize("estimator", ["debiased", "biased"])
def test_equal_rows_are_refused_in_float64_too(tap, tmp_path, estimator, size):
    random = np.random.default_rng(0).normal(size=(50, 4))
    taps = inputs(tap, [np.full((50, size), 0.1), random])  # the mean of 50 times 0.1 is not 0.1
    with pytest.raises(AnalysisError, match="all are equal"):
        cka(taps, tmp_path, estimator=estimator)
