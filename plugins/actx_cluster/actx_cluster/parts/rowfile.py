"""An array on disk that is made in blocks of rows: results that need not fit in memory."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy


class RowFile:
    """A ``.npy`` file of shape (rows, width), written and read by plain calls, in any order of blocks.

    A map would be shorter, but writing to one kills the process where the disk is full.
    """

    def __init__(self, path: Path, rows: int, width: int, dtype: np.dtype[Any]) -> None:
        self.path, self.width, self.dtype = path, width, np.dtype(dtype)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, width)}
        with path.open("wb") as file:
            npy.write_array_header_1_0(file, about)
            self.begin = file.tell()

    def write(self, at: slice, block: np.ndarray) -> None:
        """Put a block of rows in its place."""
        with self.path.open("r+b") as file:
            file.seek(self._place(at))
            file.write(np.ascontiguousarray(block, self.dtype).data)

    def read(self, at: slice) -> np.ndarray:
        """A block of rows, as a new array."""
        block = np.empty((at.stop - at.start, self.width), self.dtype)
        with self.path.open("rb") as file:
            file.seek(self._place(at))
            found = file.readinto(block.data)
        if found != block.nbytes:
            raise EOFError(f"{self.path}: expected {block.nbytes} bytes, found {found}")
        return block

    def finish(self) -> np.ndarray:
        """The whole array, mapped for reading.

        The file is taken out of its folder, where core will store the result: what is mapped stays readable
        until the array is dropped.
        """
        array: np.ndarray = np.load(self.path, mmap_mode="r")
        with suppress(PermissionError):  # Windows keeps a mapped file: it stays beside the result
            self.path.unlink()
        return array

    def _place(self, at: slice) -> int:
        return self.begin + int(at.start) * self.width * self.dtype.itemsize
