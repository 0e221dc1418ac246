"""RDMs against scipy and rsatoolbox: metrics, averages, sections, resuming, files, and bad rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from sklearn.datasets import load_digits

from actx_cluster.similarity import distances
from actx_cluster.similarity.config import RdmConfig
from actx_cluster.similarity.distances import Distances, condensed
from actx_cluster.similarity.points import points
from actx_cluster.similarity.rdm import Rdm
from actx_core import AnalysisError

METRICS = ["correlation", "cosine", "euclidean", "sqeuclidean", "mahalanobis"]


def rdm(data, out, **options):
    return Rdm(RdmConfig(**options)).run([data], out)


def random(count, size, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size)) + 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0, 1000])
def test_equals_scipy(tap, tmp_path, metric, offset):
    array = (random(150, 40) + offset).astype("float32")
    found = rdm(tap(array), tmp_path, metric=metric).arrays["rdm"][0]
    wanted = pdist(array.astype(float), metric)
    assert found.dtype == np.float32
    scale = 0.2 if metric in ("correlation", "cosine") else wanted.max()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * scale)


@pytest.mark.parametrize("metric", ["correlation", "cosine", "euclidean"])
def test_real_activations_equal_scipy(tap, tmp_path, metric):
    array = load_digits().data[:300].astype("float16")
    found = rdm(tap(array), tmp_path, metric=metric).arrays["rdm"][0]
    wanted = pdist(array.astype(float), metric)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


def test_near_neighbours_keep_their_distance(tap, tmp_path):
    array = np.ones((3, 64)) * 1000
    array[1, 0] += 1e-3
    array[2] = -1000
    found = rdm(tap(array), tmp_path, metric="euclidean").arrays["rdm"][0]
    assert found[0] == pytest.approx(1e-3, rel=0.05)


def test_rows_beyond_the_range_of_squares_have_a_direction(tap, tmp_path):
    array = random(20, 9).astype("float32")
    array[3] *= 1e-25
    array[4] *= 1e25
    found = rdm(tap(array), tmp_path).arrays["rdm"][0]
    np.testing.assert_allclose(found, pdist(array.astype(float), "correlation"), atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
def test_sections_and_tiles_change_nothing(tap, tmp_path, monkeypatch, metric):
    array = random(90, 12)
    whole = np.array(condensed(Distances(points(tap(array)), metric), tmp_path / "whole"))
    monkeypatch.setattr(distances, "TILE", 7)
    monkeypatch.setattr(distances, "HELD_BYTES", 4 * 12 * 20)
    data = tap(array)
    cut = condensed(Distances(points(data), metric), tmp_path / "cut")
    np.testing.assert_allclose(cut, whole, atol=1e-6)
    assert len(list(distances._sections(90, 12))) > 4


def test_a_killed_analysis_goes_on_behind_whole_sections(tap, tmp_path, monkeypatch):
    array = random(80, 6)
    monkeypatch.setattr(distances, "HELD_BYTES", 4 * 6 * 16)
    path = tmp_path / "distances.f32"
    wanted = np.array(condensed(Distances(points(tap(array)), "euclidean"), tmp_path / "whole"))
    real, calls = distances._section, []

    def dies(*arguments):
        calls.append(arguments[1])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(distances, "_section", dies)
    with pytest.raises(KeyboardInterrupt):
        condensed(Distances(points(tap(array)), "euclidean"), path)
    done = calls[:3]
    with path.open("ab") as file:
        file.write(b"torn")
    again = condensed(Distances(points(tap(array)), "euclidean"), path)
    assert again.tobytes() == wanted.tobytes()
    assert not set(done) & set(calls[4:])


def test_replicates_are_averaged_in_any_order(tap, tmp_path):
    array = random(60, 8).astype("float32")
    order = np.random.default_rng(1).permutation(60)
    names = np.array([f"s{row % 20:02d}" for row in range(60)])
    found = rdm(tap(array[order], sample=names[order].tolist()), tmp_path, by="sample")
    kept = found.tables["conditions"]["condition"]
    means = np.array([array[names == name].mean(axis=0) for name in kept])
    np.testing.assert_allclose(found.arrays["rdm"][0], pdist(means, "correlation"), atol=1e-5)
    assert found.tables["conditions"]["rows"] == [3] * 20
    assert found.notes == ["60 rows were averaged to 20 conditions"]


def test_averages_are_read_in_blocks(tap, tmp_path, monkeypatch):
    from actx_cluster.similarity import points as module

    array, labels = random(200, 8), [str(row * 7 % 5) for row in range(200)]
    whole = points(tap(array, label=labels), ["label"]).block(0, 5)
    monkeypatch.setattr(module, "READ_BYTES", 4 * 8 * 9)
    data = tap(array, label=labels)
    np.testing.assert_allclose(points(data, ["label"]).block(0, 5), whole)
    np.testing.assert_allclose(points(data, ["label"]).block(2, 4), whole[2:4])
    assert data.array.largest == 9
    wanted = [array[np.array(labels) == label].mean(axis=0) for label in dict.fromkeys(labels)]
    np.testing.assert_allclose(whole, wanted)


def test_mahalanobis_of_averages_uses_the_noise_around_them(tap, tmp_path):
    array, owner = random(120, 5), np.arange(120) % 12
    data = tap(array, label=[f"{o:02d}" for o in owner])
    found = rdm(data, tmp_path, metric="mahalanobis", by="label").arrays["rdm"][0]
    means = np.array([array[owner == o].mean(axis=0) for o in range(12)])
    residuals = array - means[owner]
    inverse = np.linalg.inv(residuals.T @ residuals / (120 - 12))
    np.testing.assert_allclose(found, pdist(means, "mahalanobis", VI=inverse), rtol=1e-5)


def test_shrinkage_moves_the_covariance_to_its_diagonal(tap, tmp_path):
    array = random(20, 30)
    with pytest.raises(AnalysisError, match="cannot be inverted.*shrinkage = 0.1"):
        rdm(tap(array), tmp_path, metric="mahalanobis")
    found = rdm(tap(array), tmp_path, metric="mahalanobis", shrinkage=0.25).arrays["rdm"][0]
    cov = np.cov(array.T)
    cov = 0.75 * cov + 0.25 * np.diag(np.diag(cov))
    np.testing.assert_allclose(found, pdist(array, "mahalanobis", VI=np.linalg.inv(cov)), rtol=1e-5)


@pytest.mark.parametrize("names", ["img", "Bild_ä"])
def test_rsatoolbox_reads_the_file_and_agrees(tap, tmp_path, names):
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")
    array = random(30, 16)
    data = tap(array, sample=[f"{names}{row}" for row in range(30)])
    rdm(data, tmp_path, rsatoolbox=True)
    loaded = rsatoolbox.rdm.load_rdm(str(tmp_path / "rdm.h5"))
    dataset = rsatoolbox.data.Dataset(array)
    wanted = rsatoolbox.rdm.calc_rdm(dataset, method="correlation").dissimilarities
    np.testing.assert_allclose(loaded.dissimilarities, wanted, atol=1e-5)
    assert list(loaded.pattern_descriptors["condition"]) == data.rows["sample"].to_pylist()
    assert loaded.dissimilarity_measure == "correlation"


@pytest.mark.parametrize("order", ["label", "tree"])
def test_the_heat_map_is_ordered(tap, tmp_path, order):
    array = random(40, 8) + np.repeat(np.eye(8)[:2] * 30, 20, axis=0)
    mixed = np.random.default_rng(2).permutation(40)
    labels = ["b" if row < 20 else "a" for row in mixed]
    found = rdm(tap(array[mixed], label=labels), tmp_path, order=order)
    shown = [labels[row] for row in np.argsort(found.tables["conditions"]["place"])]
    assert shown in (sorted(shown), sorted(shown, reverse=True))


def test_large_heat_maps_say_what_they_leave_out(tap, tmp_path, monkeypatch):
    from actx_cluster.similarity import rdm as module

    monkeypatch.setattr(module, "SHOWN", 10)
    found = rdm(tap(random(50, 4)), tmp_path)
    assert found.notes == ["the heat map shows 10 of the 50 conditions, evenly spaced"]
    some = np.array([3, 40, 7])
    square = squareform(found.arrays["rdm"][0])[np.ix_(some, some)]
    np.testing.assert_array_equal(module._square(found.arrays["rdm"][0], some), square)


@settings(max_examples=12, deadline=None)
@given(st.integers(3, 30), st.integers(2, 9), st.floats(1e-3, 1e3), st.sampled_from(METRICS[:4]))
def test_order_of_rows_and_scale(tap, tmp_path_factory, count, size, scale, metric):
    out = tmp_path_factory.mktemp("rdm")
    array = random(count, size, seed=count)
    order = np.random.default_rng(0).permutation(count)

    def square(values, name):
        return squareform(np.array(condensed(Distances(points(tap(values)), metric), out / name)))

    base = square(array, "base")
    np.testing.assert_allclose(
        square(array[order], "order"), base[np.ix_(order, order)], atol=1e-5 * base.max()
    )
    factor = {"euclidean": scale, "sqeuclidean": scale**2}.get(metric, 1)
    np.testing.assert_allclose(
        square(array * scale, "scale"), base * factor, atol=1e-5 * base.max() * factor
    )


def test_bad_rows_are_named(tap, tmp_path):
    array = random(6, 4)
    array[2] = 5
    with pytest.raises(AnalysisError, match="1 conditions are constant.*'img0002'.*euclidean"):
        rdm(tap(array), tmp_path)
    array[2] = 0
    with pytest.raises(AnalysisError, match="are zero.*'img0002'"):
        rdm(tap(array), tmp_path, metric="cosine")
    array[4, 1] = np.nan
    with pytest.raises(AnalysisError, match=r"NaN or infinite.*'img0004' \(row 4\)"):
        rdm(tap(array), tmp_path, metric="euclidean")


def test_bad_input_is_told(tap, tmp_path):
    with pytest.raises(AnalysisError, match="no column 'animal'.*sample, replicate"):
        rdm(tap(random(6, 4)), tmp_path, by="animal")
    with pytest.raises(AnalysisError, match="'label' has no value in 1 rows: sample 'img0001'"):
        rdm(tap(random(3, 4), label=["a", None, "b"]), tmp_path, by="label")
    with pytest.raises(AnalysisError, match="no column 'size' to order by"):
        rdm(tap(random(6, 4)), tmp_path, order="size")
    with pytest.raises(AnalysisError, match="at least 2 conditions, found 1"):
        rdm(tap(random(6, 4), label=["x"] * 6), tmp_path, by="label")
    maps = tap(np.ones((3, 2, 5, 5)), axes=("row", "channel", "y", "x"))
    with pytest.raises(AnalysisError, match='type = "mean", over = \\["y", "x"\\]'):
        rdm(maps, Path())
