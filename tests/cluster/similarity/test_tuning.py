"""Tuning curves against pandas and closed forms: means, errors, selectivity, circles, bad columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import f_oneway

from actx_cluster.similarity import tuning as module
from actx_cluster.similarity.config import TuningConfig
from actx_cluster.similarity.tuning import Tuning
from actx_core import AnalysisError


def tuning(data, out, **options):
    return Tuning(TuningConfig(**{"column": "angle"} | options)).run([data], out)


@pytest.mark.parametrize("offset", [0, 1e4])
def test_means_errors_and_explained_variance(tap, tmp_path, monkeypatch, offset):
    generator = np.random.default_rng(0)
    angle = generator.choice([0, 10, 25, 60], 300)
    array = generator.normal(size=(300, 7)) + 0.02 * angle[:, None] + offset
    found = tuning(tap(array, angle=angle), tmp_path)
    groups = pd.DataFrame(array).groupby(angle)
    np.testing.assert_allclose(found.arrays["curves"][0], groups.mean(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.arrays["errors"][0], groups.sem(), rtol=1e-4)
    f = f_oneway(*(array[angle == value] for value in (0, 10, 25, 60))).statistic
    eta = 3 * f / (3 * f + 296)
    np.testing.assert_allclose(found.tables["tuning"]["explained"], eta, rtol=1e-5)
    assert found.tables["values"]["rows"] == [int((angle == v).sum()) for v in (0, 10, 25, 60)]
    assert found.tables["tuning"]["preferred"] == groups.mean().idxmax().tolist()
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 7 * 13)
    cut = tuning(tap(array, angle=angle), tmp_path)
    np.testing.assert_allclose(cut.arrays["curves"][0], found.arrays["curves"][0], rtol=1e-6)


def test_orientation_tuning_has_its_closed_form(tap, tmp_path):
    angle = np.tile(np.arange(0, 180, 15), 4).astype(float)
    preferred = np.array([0, 45, 100, 170.0])
    depth = np.array([0.2, 0.5, 0.9, 1.0])
    array = 1 + depth * np.cos(2 * np.deg2rad(angle[:, None] - preferred))
    found = tuning(tap(array, angle=angle), tmp_path, period=180).tables["tuning"]
    gap = (np.array(found["mean_angle"]) - preferred + 90) % 180 - 90
    np.testing.assert_allclose(gap, 0, atol=1e-5)
    np.testing.assert_allclose(found["circular_variance"], 1 - depth / 2, atol=1e-6)
    np.testing.assert_allclose(found["selectivity"][:2], depth[:2], atol=1e-6)
    assert found["preferred"] == [0, 45, 105, 165]


def test_a_circle_begins_anew(tap, tmp_path):
    angle = [0, 180, 45, 225, 90, 270, 135, 315]
    array = np.random.default_rng(0).random((8, 3))
    found = tuning(tap(array, angle=angle), tmp_path, period=180)
    assert found.tables["values"]["value"] == [0, 45, 90, 135]
    np.testing.assert_allclose(found.arrays["curves"][0][0], array[:2].mean(axis=0), rtol=1e-6)


def test_selectivity_of_a_plain_column(tap, tmp_path):
    angle = [1, 2, 3, 4] * 5
    array = np.array([[0, 1, 2, -1], [0, 1, 2, -1], [0, 4, 2, -1], [0, 1, 2, 1]] * 5, float)
    found = tuning(tap(array, angle=angle), tmp_path)
    assert found.tables["tuning"]["selectivity"] == [None, 0.6, 0, 1]
    assert found.tables["tuning"]["explained"][1] == pytest.approx(1)
    assert found.tables["tuning"]["explained"][0] is None
    assert found.notes[1].startswith("1 of 4 curves fall below 0")


def test_bins_hold_many_values(tap, tmp_path):
    angle = np.linspace(0, 359.9, 720)
    array = np.column_stack([np.cos(np.deg2rad(angle)) + 1, np.sin(np.deg2rad(angle)) + 1])
    found = tuning(tap(array, angle=angle), tmp_path, period=360, bins=8)
    assert found.tables["values"]["value"] == [22.5 + 45 * k for k in range(8)]
    assert found.tables["tuning"]["mean_angle"][1] == pytest.approx(90, abs=0.5)
    plain = tuning(tap(array, angle=angle), tmp_path, bins=4)
    assert plain.tables["values"]["rows"] == [180] * 4
    with pytest.raises(AnalysisError, match="found 720.*bins = 12"):
        tuning(tap(array, angle=angle), tmp_path)


def test_uneven_circles_are_told(tap, tmp_path):
    found = tuning(tap(np.eye(3), angle=[0, 10, 90]), tmp_path, period=180)
    assert "not evenly spaced" in found.notes[-1]


def test_bad_columns_are_told(tap, tmp_path):
    array = np.random.default_rng(0).random((4, 3))
    with pytest.raises(AnalysisError, match="no column 'angle'"):
        tuning(tap(array), tmp_path)
    with pytest.raises(AnalysisError, match="expected numbers in column 'angle', found 'left'"):
        tuning(tap(array, angle=["left"] * 4), tmp_path)
    with pytest.raises(AnalysisError, match="has no value in 1 rows: sample 'img0002'"):
        tuning(tap(array, angle=[1, 2, None, 3]), tmp_path)
    with pytest.raises(AnalysisError, match="not finite in rows sample 'img0001'"):
        tuning(tap(array, angle=[1, np.nan, 2, 3]), tmp_path)
    with pytest.raises(AnalysisError, match="2 to 256 different values.*found 1"):
        tuning(tap(array, angle=[7] * 4), tmp_path)
    array[1, 1] = np.nan
    with pytest.raises(AnalysisError, match="NaN or infinite values: sample 'img0001'"):
        tuning(tap(array, angle=[1, 2, 3, 4]), tmp_path)
