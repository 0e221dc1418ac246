"""The format ``netcdf``: one NetCDF-4 file that xarray opens with named axes and coordinates."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf
import h5py

from actx_core.contracts import Config, Format
from actx_core.files import atomic
from actx_core.formats.common import columns, free, storable
from actx_core.stores.hdf5 import Layout, reserved
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    import numpy as np

    from actx_core.results import Run
    from actx_core.tap_array import TapArray

VARIABLE = "activations"


class NetCdf(Format[Config]):
    """A group ``/source/model/tap`` per array; the root itself where the run has exactly one.

    Each has the variable ``activations`` with the array's axes as dimensions and the columns of its rows as
    coordinates. float16 becomes float32, booleans bytes that xarray reads as booleans; a missing text is
    empty, a missing number NaN.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        taps = {name: run[name] for name in run.arrays}

        def draw(file: h5py.File) -> Mapping[str, int]:
            offsets = {}
            with h5netcdf.File(file, "w") as netcdf:
                for name, tap in taps.items():
                    group = netcdf if len(taps) == 1 else netcdf.create_group(name)
                    _describe(group, tap)
                    place = file[group.name][VARIABLE].id.get_offset()
                    offsets[name] = place if prod(tap.shape) else 0
            return offsets

        layout = Layout.drawn(draw)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, layout.create(temporary) as file:
            for name, tap in taps.items():
                file.seek(layout.offsets[name])
                for _, block in tap.blocks():
                    write_payload(file, block.astype(storable(tap.dtype), copy=False))
        return [path]


def _describe(group: h5netcdf.Group, tap: TapArray) -> None:
    """Create dimensions, the variable without its values, and the coordinates with theirs."""
    group.dimensions = dict(zip(tap.axes, tap.shape, strict=True))
    later = {"dcpl": reserved()} if prod(tap.shape) else {}
    variable = group.create_variable(VARIABLE, tap.axes, storable(tap.dtype), **later)
    _mark_bool(variable, tap.dtype)
    for part in ("source", "model", "tap"):
        variable.attrs[part] = getattr(tap.spec, part)
    taken = [VARIABLE, *tap.axes]
    for name, values in columns(tap.rows).items():
        taken.append(free(re.sub(r"[\s/]", "_", name), taken))
        text = values.dtype == object
        dtype = h5py.string_dtype() if text else storable(values.dtype)
        data = values if text else values.astype(dtype)
        made = group.create_variable(taken[-1], tap.axes[:1], dtype, data=data)
        _mark_bool(made, values.dtype)
    variable.attrs["coordinates"] = " ".join(taken[1 + len(tap.axes) :])


def _mark_bool(variable: h5netcdf.Variable, dtype: np.dtype[Any]) -> None:
    """NetCDF has no booleans; xarray knows them by this attribute."""
    if dtype.kind == "b":
        variable.attrs["dtype"] = "bool"
