"""The format netcdf, read by xarray."""

from __future__ import annotations

import numpy as np
import pytest

from actx_core.contracts import Config
from actx_core.formats.netcdf import NetCdf

h5netcdf = pytest.importorskip("h5netcdf")
xr = pytest.importorskip("xarray")


def test_netcdf(run, tmp_path, columns, same):
    NetCdf(Config()).write(run, tmp_path / "run.nc")
    for name, tap in run.items():
        with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf", group=name) as data:
            array = data["activations"]
            assert array.dims == tap.axes
            assert array.dtype == (np.float32 if tap.dtype == np.float16 else tap.dtype)
            np.testing.assert_array_equal(array.values, tap.array)
            assert [array.attrs[k] for k in ("source", "model", "tap")] == name.split("/")
            assert set(array.coords) == set(data.coords) == set(data.variables) - {"activations"}
            for column, wanted in columns(tap).items():
                column = column.replace("/", "_").replace(" ", "_")
                column = "a_" if column == "a" else column  # an axis is called so
                assert array.coords[column].dims == ("row",)
                same(array.coords[column].values, wanted)
    with xr.open_datatree(tmp_path / "run.nc", engine="h5netcdf") as tree:
        assert tree["photos/resnet50/layer1.0.conv1/sure"].dtype == bool
        assert sorted(leaf.path[1:] for leaf in tree.leaves) == sorted(run)


def test_netcdf_of_one_array_is_one_dataset(run, tmp_path, fake_run):
    tap = run["photos/vit/tokens"]
    NetCdf(Config()).write(fake_run(tap), tmp_path / "run.nc")
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as data:
        assert data["activations"].sel(row=data["sample"] == "a").shape == (3, 3)
    with h5netcdf.File(tmp_path / "run.nc") as file:  # only what NetCDF allows
        assert file.dimensions["row"].size == 9
