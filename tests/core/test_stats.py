"""Streaming statistics against plain numpy in float64."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest

from actx_core import dtypes
from actx_core.stats import merge, shard_stats

NAMES = ("mean", "variance", "norm", "min", "max")


def reference(values: np.ndarray) -> dict[str, float]:
    """By numpy, in float64 (mean and variance in two passes), without the values that are not finite."""
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    kept = wide[finite]
    rows = np.where(finite, wide, 0.0).reshape(len(wide), -1)
    return {
        "rows": len(values),
        "values": values.size,
        "nonfinite": values.size - kept.size,
        "mean": kept.mean(),
        "variance": ((kept - kept.mean()) ** 2).mean(),
        "norm": np.sqrt((rows**2).sum(axis=1)).mean(),
        "min": kept.min(),
        "max": kept.max(),
    }


def assert_same(found, expected, rtol=1e-9):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=rtol, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("shape", [(300, 512), (40_000,), (3, 8, 200, 300), (1, 1), (70_000, 3)])
@pytest.mark.parametrize(
    "logical", ["float64", "float32", "float16", "bfloat16", "int8", "uint16", "bool"]
)
def test_equals_numpy(shape, logical):
    values = np.random.default_rng(0).standard_normal(shape) * 3 + 20
    stored = dtypes.encode(values, logical)
    assert_same(shard_stats(stored, logical), reference(dtypes.decode(stored, logical)))


@pytest.mark.parametrize("mean", [1e3, 1e7, -1e12])
def test_a_mean_far_from_zero_does_not_swallow_the_variance(mean):
    values = np.random.default_rng(0).standard_normal((500, 700)) + mean
    assert_same(shard_stats(values, "float64"), reference(values), rtol=1e-6)
    parts = [shard_stats(part, "float64") for part in np.array_split(values, 7)]
    assert_same(merge(parts), reference(values), rtol=1e-6)


def test_constants_have_no_variance():
    assert shard_stats(np.full((100, 5000), 0.1, np.float32), "float32")["variance"] == 0


@pytest.mark.parametrize("logical", ["float32", "float16", "bfloat16"])
def test_what_is_not_finite_is_counted_and_left_out(logical):
    values = np.random.default_rng(0).standard_normal((900, 333)).astype(np.float32)
    values[::7, 5] = np.nan
    values[3, :] = np.inf
    values[850:, 300] = -np.inf
    stored = dtypes.encode(values, logical)
    found = shard_stats(stored, logical)
    assert found["nonfinite"] == 129 + 333 + 50
    assert_same(found, reference(dtypes.decode(stored, logical)))


@pytest.mark.parametrize(
    "values",
    [np.full((4, 3), np.nan, np.float32), np.empty((0, 5)), np.empty((5, 0)), np.empty((0,))],
)
def test_figures_that_do_not_exist_are_absent(values):
    found = shard_stats(values, str(values.dtype))
    assert found == {"rows": len(values), "values": values.size, "nonfinite": values.size}
    json.dumps(found, allow_nan=False)
    real = shard_stats(np.arange(6.0).reshape(2, 3), "float64")
    counts = ("rows", "values", "nonfinite")
    merged = merge([found, real, found])
    assert {n: merged[n] for n in counts} == {n: 2 * found[n] + real[n] for n in counts}
    assert {n: merged[n] for n in ("mean", "variance", "min", "max")} == {
        n: real[n] for n in ("mean", "variance", "min", "max")
    }


def test_overflow_leaves_out_a_figure_and_stays_json():
    found = shard_stats(np.array([[1e300, -1e300], [1.0, 2.0]]), "float64")
    assert found["max"] == 1e300
    assert "variance" not in found
    assert "variance" not in merge([found, shard_stats(np.ones((2, 2)), "float64")])
    json.dumps(found, allow_nan=False)


def test_merged_shards_equal_the_whole_and_merging_is_repeatable():
    values = np.random.default_rng(3).gamma(2.0, size=(1000, 40)).astype(np.float32)
    values[17, 3] = np.nan
    parts = [shard_stats(part, "float32") for part in np.split(values, [1, 13, 13, 700])]
    assert_same(merge(parts), reference(values))
    assert merge(parts) == merge(iter(parts))
    assert_same(merge([merge(parts[:2]), merge(parts[2:])]), reference(values))


def test_no_shards():
    assert merge([]) == {"rows": 0, "values": 0, "nonfinite": 0}


def test_memory_is_bounded():
    values = np.ones((200, 100_000), np.float16)
    tracemalloc.start()
    shard_stats(values, "float16")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6
    assert peak < values.nbytes / 4


def test_speed_is_that_of_a_few_passes():
    values = np.random.default_rng(0).standard_normal((2000, 4096), dtype=np.float32)

    def best(function):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    plain = best(lambda: values.astype(np.float64).var())
    assert best(lambda: shard_stats(values, "float32")) < 2 * plain
