"""The npy store: one NumPy ``.npy`` file for each array, which ``numpy.load`` reads and maps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from actx_core.dtypes import storage
from actx_core.files import claim, damaged
from actx_core.stores.payload import Found, RawStore
from actx_core.types import ArraySpec


class Npy(RawStore):
    """NumPy format 1.0; bfloat16 is uint16 here, and only the run knows better."""

    suffix = ".npy"

    @contextmanager
    def begin(self, path: Path, spec: ArraySpec, rows: int) -> Iterator[BinaryIO]:
        header = npy_header((rows, *spec.row_shape), storage(spec.dtype))
        with path.open("wb") as file:
            claim(file, len(header) + rows * spec.row_bytes)
            file.write(header)
            yield file

    def find(self, path: Path, spec: ArraySpec) -> Found:
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"format version {version}")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            except Exception as error:  # numpy parses the header as Python: all can be raised
                raise damaged(
                    path, f"expected a .npy file, found a damaged header: {error}"
                ) from error
            if fortran and len(shape) > 1:
                raise damaged(path, "expected C order, found Fortran order")
            return Found(shape, dtype, file.tell())


def npy_header(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bytes:
    """The header of a C-ordered ``.npy`` file."""
    header = BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()
