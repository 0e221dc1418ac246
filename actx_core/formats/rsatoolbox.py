"""The format ``rsatoolbox``: a folder with one dataset of rsatoolbox (0.3 and later) per array."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from actx_core.contracts import Config
from actx_core.formats.common import columns
from actx_core.formats.folder import FolderFormat
from actx_core.stores.hdf5 import Dataset, Layout, reserve
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    from actx_core.tap_array import TapArray

MEASUREMENTS = "measurements"


class RsaToolbox(FolderFormat[Config]):
    """HDF5 files that ``rsatoolbox.data.load_dataset`` reads as a ``Dataset``: rows x channels.

    Observations have the columns of their rows as descriptors, channels their places on the axes. Numbers
    become floats of 32 bits or more, which hold them exactly up to integers of 53 bits: rsatoolbox calculates
    with them as they are.
    """

    suffix = ".h5"

    def put(self, path: Path, tap: TapArray) -> None:
        sizes = tap.shape[1:]
        dtype = np.result_type(tap.dtype, np.float32)
        channels = int(np.prod(sizes, dtype=np.int64))

        def draw(file: h5py.File) -> dict[str, int]:
            file.attrs["type"] = "Dataset"
            spec = tap.spec
            file.create_group("descriptors").attrs.update(
                source=spec.source, model=spec.model, tap=spec.tap, axes=" ".join(tap.axes)
            )
            places = np.indices(sizes).reshape(len(sizes), channels)
            _describe(file, "channel_descriptors", dict(zip(tap.axes[1:], places, strict=True)))
            _describe(file, "obs_descriptors", columns(tap.rows))
            dataset = Dataset((len(tap), channels), dtype)
            return {MEASUREMENTS: reserve(file, MEASUREMENTS, dataset)}

        layout = Layout.drawn(draw)
        with layout.create(path) as file:
            file.seek(layout.offsets[MEASUREMENTS])
            for _, block in tap.blocks():
                write_payload(file, block.astype(dtype, copy=False))


def _describe(file: h5py.File, group: str, descriptors: Mapping[str, np.ndarray]) -> None:
    """Add descriptors; rsatoolbox decodes texts in datasets as ASCII, those in attributes as UTF-8."""
    made = file.create_group(group)
    for name, values in descriptors.items():
        name = name.replace("/", "_")  # a group, for HDF5
        if values.dtype != object:
            made[name] = values
        elif all(text.isascii() for text in values):
            made[name] = values.astype("S") if len(values) else np.empty(0, "S1")
        else:
            made.attrs.create(name, values, dtype=h5py.string_dtype())
