"""Replicates: together one sample, an axis of their own when read, averaged only where that is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import Pipeline, Run, StoreError, open_run


def run(out: Path, n: int = 6, **source: Any) -> Run:
    spec = {
        "actx": 1,
        "run": {"out": str(out), "batch_size": 4, "shard_size": 5, "on_error": "skip"},
        "source": {"type": "numbers", "as": "s", "n": n, "replicates": 3, **source},
        "model": {"type": "toy", "as": "m", "taps": ["last", "embed"]},
    }
    for _ in Pipeline.from_dict(spec).run():
        pass
    return open_run(out)


def reference(n: int = 6) -> np.ndarray:
    """The toy network's last activation, one replicate at a time: (samples, 3, channel)."""
    rng = np.random.default_rng(0)
    up, mix = rng.standard_normal(6), rng.standard_normal((6, 6))
    sequences = [np.random.default_rng(i).standard_normal(1 + i % 9) for i in range(n)]
    return np.array([[np.tanh((x[-1] + r) * up @ mix) for r in range(3)] for x in sequences])


def test_they_are_an_axis_and_a_mean_only_where_asked(tmp_path: Path) -> None:
    array = run(tmp_path)["s/m/last"]
    assert array.shape == (18, 6)
    found = array.replicates()
    assert (found.shape, found.axes) == ((6, 3, 6), ("sample", "replicate", "channel"))
    assert (found.samples, found.replicates) == ([f"n{i:03}" for i in range(6)], [0, 1, 2])
    expected = reference()
    assert np.allclose(found.numpy(), expected, atol=1e-6)
    assert np.allclose(found.mean(), expected.mean(1), atol=1e-6)
    assert found.rows["number"].to_pylist() == list(range(6))
    assert np.array_equal(found.xarray().sel(sample="n002", replicate=1), found[2, 1])


@pytest.mark.parametrize("key", [3, slice(1, 4), [4, 0], (slice(None), 1), (2, 1, 3), -1, ..., ()])
def test_they_are_indexed_as_numpy_does(tmp_path: Path, key: Any) -> None:
    found = run(tmp_path)["s/m/last"].replicates()
    assert np.array_equal(found[key], found.numpy()[key])


def test_a_sample_that_lacks_one_is_named_or_dropped(tmp_path: Path) -> None:
    array = run(tmp_path, bad_replicate=[[2, 1]])["s/m/last"]
    assert array.shape == (17, 6)
    with pytest.raises(StoreError, match="'n002' has no replicate 1"):
        array.replicates()
    found = array.replicates(missing="drop")
    assert found.dropped == ["n002"]
    assert np.allclose(found.numpy(), np.delete(reference(), 2, 0), atol=1e-6)


def test_rows_of_points_have_no_replicates(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="found a row per token"):
        run(tmp_path)["s/m/embed"].replicates()


def test_limit_and_fraction_count_samples(tmp_path: Path) -> None:
    limited = run(tmp_path / "limit", n=9, limit=4)["s/m/last"]
    assert limited.replicates().shape == (4, 3, 6)
    shared = run(tmp_path / "share", n=9, fraction=0.34)["s/m/last"]
    assert shared.replicates().shape == (3, 3, 6)
