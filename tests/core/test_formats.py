"""Exports: one HDF5 file, one .npz, read back by h5py and numpy."""

from __future__ import annotations

import os
import time
import tracemalloc
import zipfile

import h5py
import numpy as np
import pyarrow as pa
import pytest

from actx_core.contracts import Config
from actx_core.errors import StoreError
from actx_core.formats import Hdf5File, Npz
from actx_core.types import ArraySpec


class FakeArray:
    """What the exports use of a TapArray."""

    def __init__(self, name, array, samples, step=3):
        source, model, tap = name.split("/", 2)
        self.axes = ("row", *"abc"[: array.ndim - 1])
        self.spec = ArraySpec(
            source, model, tap, self.axes, array.shape[1:], str(array.dtype), len(array)
        )
        self.array, self.step = array, step
        self.shape, self.dtype = array.shape, array.dtype
        self.rows = pa.table({"sample": pa.array(samples, pa.string()), "label": samples})

    def blocks(self):
        for start in range(0, len(self.array), self.step):
            rows = slice(start, start + self.step)
            yield rows, self.array[rows]


class FakeRun(dict):
    """What the exports use of a Run."""

    def __init__(self, *arrays):
        super().__init__({array.spec.name: array for array in arrays})
        self.arrays = list(self)


def values(*shape, dtype=np.float32):
    return (np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)


IDS = ["b/1.jpg", "a", "ünï", "z z"]


@pytest.fixture
def run():
    return FakeRun(
        FakeArray("photos/resnet50/layer1.0.conv1", values(4, 2, 3, 5), IDS),
        FakeArray("photos/resnet50/V4.output:3", values(4, 7, dtype=np.float16), IDS),
        FakeArray("photos/vit/tokens", values(9, 3), [s for s in IDS for _ in range(3)][:9]),
        FakeArray("photos/vit/skipped", values(3), [IDS[0], IDS[2], IDS[3]]),
        FakeArray("texts/gpt/score", values(2, dtype=bool), ["x", "y"]),
        FakeArray("empty/gpt/score", values(0, 5), []),
    )


def test_hdf5(run, tmp_path):
    path = tmp_path / "new" / "run.h5"
    assert Hdf5File(Config()).write(run, path) == [path]
    with h5py.File(path) as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        extra = ["photos/samples", "texts/samples", "empty/samples"]
        extra += ["photos/vit/tokens.sample", "photos/vit/skipped.sample"]
        assert sorted(names) == sorted([*run.arrays, *extra])
        for name, tap in run.items():
            assert file[name].dtype == tap.dtype
            np.testing.assert_array_equal(file[name][...], tap.array)
            assert file[name].attrs["axes"].tolist() == [a.encode() for a in tap.axes]
            samples = file[f"{tap.spec.source}/samples"].asstr()[...]
            if f"{name}.sample" in file:
                samples = samples[file[f"{name}.sample"][...]]
            assert samples.tolist() == tap.rows["sample"].to_pylist()


def test_npz(run, tmp_path):
    path = tmp_path / "run.npz"
    assert Npz(Config()).write(run, path) == [path]
    with np.load(path) as file:
        assert sorted(file.files) == sorted([*run.arrays, *(f"{n}.sample" for n in run.arrays)])
        for name, tap in run.items():
            assert file[name].dtype == tap.dtype
            np.testing.assert_array_equal(file[name], tap.array)
            assert file[f"{name}.sample"].tolist() == tap.rows["sample"].to_pylist()
    assert zipfile.ZipFile(path).testzip() is None


@pytest.mark.parametrize("format_", [Hdf5File, Npz])
class TestBoth:
    def test_the_same_run_gives_the_same_bytes(self, run, tmp_path, format_):
        one, two = tmp_path / "1", tmp_path / "2"
        format_(Config()).write(run, one)
        time.sleep(1.1)  # a time stamp would have changed
        format_(Config()).write(run, two)
        assert one.read_bytes() == two.read_bytes()

    def test_no_arrays(self, tmp_path, format_):
        (path,) = format_(Config()).write(FakeRun(), tmp_path / "run")
        opened = h5py.File(path) if format_ is Hdf5File else np.load(path)
        with opened:
            assert list(opened) == []

    def test_an_error_leaves_what_was_there(self, run, tmp_path, format_):
        path = tmp_path / "run"
        path.write_text("old")
        run["photos/vit/tokens"].blocks = lambda: iter([(slice(0, 1), np.ones((1, 3))), None])
        with pytest.raises(TypeError):
            format_(Config()).write(run, path)
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["run"]

    def test_more_than_the_disk_holds(self, tmp_path, format_):
        huge = FakeArray("a/b/c", values(2, 3), ["x", "y"])
        huge.shape = (1 << 45, 3)
        with pytest.raises(StoreError, match="the same command resumes"):
            format_(Config()).write(FakeRun(huge), tmp_path / "run")
        assert os.listdir(tmp_path) == []

    def test_memory_is_bounded(self, tmp_path, format_):
        big = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (3000, 10_000), (0, 0))
        array = FakeArray("a/b/c", big, ["x"] * 3000, step=20)
        tracemalloc.start()
        format_(Config()).write(FakeRun(array), tmp_path / "run")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (tmp_path / "run").stat().st_size > 120_000_000
        assert peak < 8e6

    def test_names_that_exclude_each_other(self, tmp_path, format_):
        inside = FakeRun(
            FakeArray("a/b/c", values(1), ["x"]), FakeArray("a/b/c/d", values(1), ["x"])
        )
        clash = FakeRun(
            FakeArray("a/b/c", values(2), ["x", "x"]), FakeArray("a/b/c.sample", values(1), ["x"])
        )
        for run in (inside, clash):
            with pytest.raises(StoreError, match="cannot be in one file"):
                format_(Config()).write(run, tmp_path / "run")


def test_a_model_called_samples_is_refused_by_hdf5(tmp_path):
    run = FakeRun(FakeArray("a/samples/c", values(1), ["x"]))
    with pytest.raises(StoreError, match="a/samples/c and a/samples cannot"):
        Hdf5File(Config()).write(run, tmp_path / "run")
