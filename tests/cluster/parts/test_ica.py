"""ICA against scikit-learn's FastICA on the same whitened rows, and on sources that are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import FastICA

import actx_cluster.rows
from actx_cluster.parts import ica as module
from actx_cluster.parts.config import IcaConfig
from actx_cluster.parts.ica import Ica
from actx_core import AnalysisError


def ica(data, out, **options):
    return Ica(IcaConfig(**options)).run([data], out)


def test_the_same_start_gives_scikit_learns_components(make_input, tmp_path, monkeypatch):
    monkeypatch.setattr(actx_cluster.rows, "BLOCK_BYTES", 8 * 64 * 100)
    monkeypatch.setattr(module, "BLOCK", 77)
    array = load_digits().data
    found = ica(make_input(array), tmp_path, components=8, tol=1e-7, max_iter=500, seed=4)
    centred = array - array.mean(axis=0)
    left, _, _ = np.linalg.svd(centred, full_matrices=False)
    start = np.random.default_rng(4).standard_normal((8, 8))
    method = FastICA(whiten=False, w_init=start, tol=1e-7, max_iter=500)
    # the largest entry of each principal component is positive here
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(right[:8]).argmax(axis=1)
    white = left[:, :8] * np.sign(right[np.arange(8), largest]) * np.sqrt(len(array) - 1)
    wanted = method.fit_transform(white)
    sources = np.asarray(found.arrays["sources"][0])
    cosines = np.abs(sources.T @ wanted) / (len(array) - 1)
    np.testing.assert_allclose(cosines.max(axis=1), 1, atol=1e-4)
    assert sorted(cosines.argmax(axis=1)) == list(range(8))


def test_known_sources_are_separated_and_rows_come_back(make_input, tmp_path):
    random = np.random.default_rng(0)
    true = np.stack(
        [random.laplace(size=3000), random.uniform(-1, 1, 3000), random.exponential(size=3000)]
    )
    array = (true.T @ random.normal(size=(3, 12)) + 5).astype("float32")
    found = ica(make_input(array), tmp_path, components=5, exemplars=3)
    sources, mixing, unmixing, mean = (
        np.asarray(found.arrays[name][0]) for name in ("sources", "mixing", "unmixing", "mean")
    )
    cosines = np.abs(np.corrcoef(sources.T, true)[:3, 3:])
    assert cosines.max(axis=1).min() > 0.99
    np.testing.assert_allclose(sources @ mixing + mean, array, atol=1e-3)
    np.testing.assert_allclose((array - mean) @ unmixing.T, sources, atol=2e-3)
    np.testing.assert_allclose(sources.var(axis=0, ddof=1), 1, rtol=1e-4)
    assert (np.take_along_axis(mixing, np.abs(mixing).argmax(1)[:, None], 1) > 0).all()
    table = found.tables["components"]
    assert (np.diff(table["share"]) <= 0).all()
    assert sum(table["share"]) == pytest.approx(1, abs=1e-4)
    wanted = (sources.astype(float) ** 4).mean(axis=0) - 3
    np.testing.assert_allclose(table["kurtosis"], wanted, atol=1e-3)
    for number, rows in enumerate(found.groups.values()):
        assert rows == np.argsort(-sources[:, number], kind="stable")[:3].tolist()
    assert found.notes == [
        "3 of the 5 components asked for exist: the rows span no more dimensions"
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_seed_decides_and_a_fit_that_turns_is_told(make_input, tmp_path):
    array = np.random.default_rng(1).normal(size=(200, 6))
    one, two = (ica(make_input(array), tmp_path, components=4, seed=1) for _ in range(2))
    assert one.arrays["sources"][0].tobytes() == two.arrays["sources"][0].tobytes()
    short = ica(make_input(array), tmp_path, components=4, max_iter=1)
    assert short.notes == ["warning: components were still turning after max_iter = 1 iterations"]


def test_bad_input_is_refused(make_input, tmp_path):
    with pytest.raises(AnalysisError, match="at least 2 rows, found 1"):
        ica(make_input(np.ones((1, 4))), tmp_path)
    array = np.random.default_rng(2).normal(size=(9, 4))
    array[3] = np.nan
    with pytest.raises(AnalysisError, match="sample 'img0003.png'"):
        ica(make_input(array), tmp_path)
