"""The formats hdf5 and npz, read by h5py and numpy."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest

from actx_core.contracts import Config
from actx_core.errors import StoreError
from actx_core.formats.hdf5 import Hdf5File
from actx_core.formats.npz import Npz


def test_hdf5(run, tmp_path):
    path = tmp_path / "new" / "run.h5"
    assert Hdf5File(Config()).write(run, path) == [path]
    with h5py.File(path) as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        extra = ["photos/samples", "texts/samples", "empty/samples"]
        extra += ["photos/vit/tokens.sample", "photos/vit/part.sample"]
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
def test_names_that_exclude_each_other(tmp_path, format_, fake_run, fake_array, values):
    inside = fake_run(
        fake_array("a/b/c", values(1), ["x"]), fake_array("a/b/c/d", values(1), ["x"])
    )
    clash = fake_run(
        fake_array("a/b/c", values(2), ["x", "x"]), fake_array("a/b/c.sample", values(1), ["x"])
    )
    for run in (inside, clash):
        with pytest.raises(StoreError, match="cannot be in one file"):
            format_(Config()).write(run, tmp_path / "run")


def test_a_model_called_samples_is_refused_by_hdf5(tmp_path, fake_run, fake_array, values):
    run = fake_run(fake_array("a/samples/c", values(1), ["x"]))
    with pytest.raises(StoreError, match="a/samples/c and a/samples cannot"):
        Hdf5File(Config()).write(run, tmp_path / "run")
