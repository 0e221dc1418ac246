"""What is stored is what was computed: values that are not finite are named, precisions say their error."""

from __future__ import annotations

import numpy as np
import pytest

from actx_core import ExecutionError, Pipeline, open_run
from actx_core.stats import merge
from actx_core.types import Stage
from actx_core.verify import verify


@pytest.fixture
def pipeline(tmp_path):
    """A run over an array whose model gives back what it gets."""

    def pipeline(array, store="npy", **options):
        np.save(tmp_path / "x.npy", array)
        spec = {
            "actx": 1,
            "run": {"out": str(tmp_path / "run"), "batch_size": 4, "shard_size": 8},
            "source": {"type": "arrays", "path": str(tmp_path / "x.npy")},
            "model": {
                "type": "module",
                "as": "same",
                "callable": "torch.nn:Identity",
                "trust": True,
                "input_shape": list(array.shape[1:]),
                "taps": ["output"],
            },
            "store": {"type": store, **options},
        }
        return Pipeline.from_dict(spec)

    return pipeline


def test_the_first_value_that_is_not_finite_is_named(pipeline, tmp_path):
    array = np.random.default_rng(0).standard_normal((20, 3, 5)).astype(np.float32)
    array[9, 2, 4] = np.inf
    array[13, 0, 0] = np.nan
    seen = []
    list(pipeline(array).run(watch=seen.append))
    notes = [s.message for s in seen if isinstance(s, Stage) and s.name == "note"]
    [note] = [n for n in notes if "not finite" in n]
    assert "x/same/output holds values that are not finite, first at sample '00000009'" in note
    run = open_run(tmp_path / "run")
    assert {r.shard: r.nonfinite for r in run.receipts}[1]["output"].startswith("sample '00000009'")
    assert [bool(r.nonfinite) for r in run.receipts] == [False, True, False]
    assert note.replace("'", "&#39;") in (tmp_path / "run/report.html").read_text().replace(
        "<wbr>", ""
    )


@pytest.mark.parametrize("store", ["npy", "hdf5", "parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_shuffled_reading_gives_the_same_rows(pipeline, tmp_path, store, dtype):
    array = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    for join in (False, True):
        list(pipeline(array, store, dtype=dtype, join=join).run())
        stored = open_run(tmp_path / "run")["x/same/output"]
        found = np.empty(stored.shape, stored.dtype)
        for rows, values in stored.shuffled(7, seed=3, memory=600):
            found[rows] = values
        assert np.array_equal(found, stored.numpy())


@pytest.mark.parametrize("store", ["npy", "hdf5", "parquet"])
@pytest.mark.parametrize("shape", [(20, 5), (20, 3, 5)])
@pytest.mark.parametrize("join", [True, False])
def test_int8_keeps_its_scales_and_says_its_error(pipeline, tmp_path, store, shape, join):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    array *= np.float32(10) ** np.arange(-2, 3, dtype=np.float32)
    list(pipeline(array, store, dtype="int8_per_channel", join=join).run())
    stored = open_run(tmp_path / "run")["x/same/output"]
    assert stored.dtype == np.float32
    found = stored.numpy()
    expected = np.empty_like(array)
    for start in range(0, 20, 8):  # by shards, the formula written out
        part = array[start : start + 8].astype(np.float64)
        largest = np.abs(part).max(axis=tuple(range(part.ndim - 1)))
        expected[start : start + 8] = np.rint(part / (largest / 127)) * (largest / 127)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    error = np.linalg.norm(found - array) / np.linalg.norm(array)
    receipts = open_run(tmp_path / "run").receipts
    assert merge([r.stats["output"] for r in receipts])["error"] == pytest.approx(error, rel=1e-4)
    picks = [19, 3, 3, 12, 0]
    assert np.array_equal(stored[picks], found[picks])
    assert np.array_equal(stored[5:17:3], found[5:17:3])
    assert np.array_equal(stored[7], found[7])
    assert verify(tmp_path / "run") == []
    files = sum(f.stat().st_size for f in (tmp_path / "run/x/same").rglob("output*") if f.is_file())
    assert files < array.nbytes + 12_000


def test_int8_refuses_what_is_not_finite(pipeline):
    array = np.ones((20, 5), np.float32)
    array[11, 3] = np.nan
    with pytest.raises(ExecutionError, match="found another at sample '00000011'"):
        list(pipeline(array, dtype="int8_per_channel").run())


def test_int8_is_joined_after_an_interruption_and_grows(pipeline, tmp_path):
    array = np.random.default_rng(1).standard_normal((20, 5)).astype(np.float32)
    receipts = pipeline(array, dtype="int8_per_channel").run()
    next(receipts)
    receipts.close()
    list(pipeline(array, dtype="int8_per_channel").run())
    found = open_run(tmp_path / "run")["x/same/output"].numpy()
    assert np.abs(found - array).max() < np.abs(array).max() / 127
    assert verify(tmp_path / "run") == []
