"""What stores share: checks against the plan, and raw payload that is written plainly and mapped to read.

Nothing is written through a memory map or by HDF5 itself: on a disk that fills up, those kill the process.
Space is claimed first, so a full disk is an error before the first byte of payload.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from actx_core import dtypes
from actx_core.contracts import Config, LazyArray, Store
from actx_core.files import damaged
from actx_core.types import ArraySpec

_BLOCK = 1 << 22
"""Bytes copied at a time."""


def check(path: Path, spec: ArraySpec, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Raise StoreError unless shape and stored dtype are those of ``spec``; unknown rows fit any number."""
    rows = shape[0] if spec.rows is None and shape else spec.rows
    expected = (rows, *spec.row_shape)
    stored = dtypes.storage(spec.dtype)
    if (tuple(shape), dtype) != (expected, stored):
        found = f"found {dtype} of {tuple(shape)}"
        raise damaged(path, f"expected {stored} of shape {expected}, {found}")


def total(path: Path, spec: ArraySpec, rows: Sequence[int]) -> int:
    """The number of rows of all parts; StoreError if ``spec`` knows another one."""
    if spec.rows is not None and sum(rows) != spec.rows:
        found = f"found {sum(rows)} in the parts"
        raise damaged(path, f"expected {spec.rows} rows of {spec.name}, {found}")
    return sum(rows)


@dataclass(frozen=True, slots=True)
class Found:
    """An array in a file: its payload is C-ordered and begins at ``offset``."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def size(self) -> int:
        """Bytes of payload."""
        return math.prod(self.shape) * self.dtype.itemsize


class RawStore(Store[Config]):
    """A format in which the payload is one run of bytes behind a header."""

    @abstractmethod
    def begin(self, path: Path, spec: ArraySpec, rows: int) -> AbstractContextManager[BinaryIO]:
        """Create a file for ``rows`` rows, claim its space, write the header: open at the payload's place."""

    @abstractmethod
    def find(self, path: Path, spec: ArraySpec) -> Found:
        """Read the header. Raises StoreError where it is damaged."""

    def write(self, path: Path, array: np.ndarray, spec: ArraySpec) -> None:
        check(path, spec, array.shape, array.dtype)
        with self.begin(path, spec, len(array)) as file:
            write_payload(file, array)

    def open(self, path: Path, spec: ArraySpec) -> LazyArray:
        found = self._found(path, spec)
        if not found.size:  # an empty file section cannot be mapped
            return np.empty(found.shape, found.dtype)
        return np.memmap(path, found.dtype, "r", found.offset, found.shape)

    def join(self, parts: Sequence[Path], path: Path, spec: ArraySpec) -> None:
        any_rows = replace(spec, rows=None)
        founds = [self._found(part, any_rows) for part in parts]
        rows = total(path, spec, [found.shape[0] for found in founds])
        with self.begin(path, spec, rows) as file:
            for part, found in zip(parts, founds, strict=True):
                _copy(part, found, file)

    def _found(self, path: Path, spec: ArraySpec) -> Found:
        """The header, checked against ``spec`` and the length of the file."""
        if not path.is_file():
            raise damaged(path, "the file is missing")
        found = self.find(path, spec)
        check(path, spec, found.shape, found.dtype)
        expected, size = found.offset + found.size, path.stat().st_size
        if size < expected:
            raise damaged(path, f"expected {expected} bytes or more, found {size}: truncated")
        return found


def write_payload(file: IO[bytes], array: np.ndarray) -> None:
    """Write an array's bytes in C order at the place of ``file``."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def read_rows(path: Path, mapped: np.memmap[Any, Any], start: int, out: np.ndarray) -> None:
    """Fill ``out`` with rows of a mapped array from ``start`` on, by plain reads: no page is mapped."""
    row = mapped.nbytes // max(1, len(mapped))
    view = memoryview(out.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    with path.open("rb", buffering=0) as file:
        file.seek(mapped.offset + start * row)
        while view:
            n = file.readinto(view)
            if not n:
                raise damaged(path, f"{len(view)} bytes of payload are missing at the end")
            view = view[n:]


def _copy(part: Path, found: Found, out: BinaryIO) -> None:
    left = found.size
    buffer = memoryview(bytearray(min(left, _BLOCK)))
    with part.open("rb", buffering=0) as file:
        file.seek(found.offset)
        while left:
            n = file.readinto(buffer[:left])
            if not n:
                raise damaged(part, f"{left} bytes of payload are missing at the end")
            out.write(buffer[:n])
            left -= n
