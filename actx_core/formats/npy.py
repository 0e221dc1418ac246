"""The format ``npy``: a folder with one ``.npy`` file per array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actx_core.contracts import Config, Input
from actx_core.files import claim, damaged, sha256_file
from actx_core.formats.common import bare, blocks
from actx_core.formats.folder import FolderFormat
from actx_core.stores.npy import npy_header
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    from actx_core.tap_array import TapArray


class NpyFolder(FolderFormat[Config]):
    """Arrays that ``numpy.load`` reads and maps."""

    suffix = ".npy"

    def put(self, path: Path, tap: TapArray) -> None:
        header = npy_header(tap.shape, tap.dtype)
        with path.open("wb") as file:
            claim(file, len(header) + math.prod(tap.shape) * tap.dtype.itemsize)
            file.write(header)
            for block in blocks(tap):
                write_payload(file, block)

    def knows(self, path: Path) -> bool:
        return path.suffix == self.suffix and path.is_file()

    def read(self, path: Path) -> Sequence[Input]:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise damaged(path, f"expected an array of numbers: {error}") from error
        return [bare(path.stem, array, sha256_file(path))]
