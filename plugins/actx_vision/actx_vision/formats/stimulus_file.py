"""HDF5 files of ``/model/stimulus/layer``: how names are written in them, and how they are opened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import h5py
import numpy as np

from actx_core import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

ENCODED = "percent_encoded"
"""Attribute of a model's group: names in it are percent-encoded. Files of other tools have it not."""
DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for a damaged file, depending on what is damaged."""


def encode(name: str) -> str:
    """A stimulus or layer as one HDF5 name, which may hold anything but ``/`` and not be ``.``.

    ``/`` becomes ``%2F`` and ``%`` becomes ``%25``, so that different names stay different.
    """
    return "%2E" if name == "." else re.sub("[%/\0]", lambda m: f"%{ord(m[0]):02X}", name)


def names(group: h5py.Group | h5py.Dataset, encoded: bool) -> dict[str, bytes]:
    """{name: HDF5 name} of what is in a group, in h5py's order: that of the HDF5 names."""
    if not isinstance(group, h5py.Group):
        raise TypeError("expected a group, found an array")
    return {unquote(name) if encoded else name: name.encode() for name in group}


def is_encoded(model: h5py.Group) -> bool:
    """Whether the names in a model's group are percent-encoded."""
    return ENCODED in model.attrs


def open_file(path: Path) -> h5py.File:
    """The file, open for reading. Raises StoreError for what is no whole HDF5 file."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise StoreError(_why_not(path, error), where=str(path)) from error


def _why_not(path: Path, error: OSError) -> str:
    if not path.exists():
        return "the file is missing"
    if not path.is_file():
        return "expected an HDF5 file, found a folder"
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as unreadable:
        return f"cannot be read: {unreadable.strerror}"
    if not start:
        return "expected an HDF5 file, found an empty file (0 bytes)"
    if not h5py.is_hdf5(path):
        return f"expected an HDF5 file, found a file that begins with {start!r}"
    size = path.stat().st_size
    if end := re.search(r"stored_eof = (\d+)", str(error)):
        return f"expected {end[1]} bytes, found {size}: the file is truncated"
    return f"cannot be opened: {error}"


def read(dataset: h5py.h5d.DatasetID, out: np.ndarray | None = None) -> np.ndarray:
    """All numbers of a dataset, as stored; h5py's own objects take longer than a small array itself.

    Raises one of DAMAGED, ValueError for what holds no numbers or not the shape and type of ``out``.
    """
    kind, shape = dataset.get_type(), dataset.shape
    dtype = kind.dtype
    if dtype.kind not in "biuf":
        raise ValueError(f"expected numbers, found {dtype}")
    if out is None:
        out = np.empty(shape, dtype)
    elif (shape, dtype) != (out.shape, out.dtype):
        raise ValueError(f"expected {out.dtype} of {out.shape}, found {dtype} of {shape}")
    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, out, kind)
    return out


def listed(found: Sequence[Any], at_most: int = 3) -> str:
    """``'a', 'b', 'c' and 7 more``."""
    more = f" and {len(found) - at_most} more" if len(found) > at_most else ""
    return ", ".join(repr(str(one)) for one in found[:at_most]) + more
