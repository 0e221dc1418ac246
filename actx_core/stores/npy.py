"""The npy store: one NumPy ``.npy`` file for each array, which ``numpy.load`` reads and maps."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from actx_core.files import claim
from actx_core.stores.payload import Found, RawStore, damaged
from actx_core.types import ArraySpec


class Npy(RawStore):
    """NumPy format 1.0; bfloat16 is uint16 here, and only the run knows better."""

    suffix = ".npy"

    def begin(self, path: Path, spec: ArraySpec, found: Found) -> BinaryIO:
        header = npy_header(found.shape, found.dtype)
        file = path.open("wb")
        try:
            claim(file, len(header) + found.size)
            file.write(header)
        except BaseException:
            file.close()
            raise
        return file

    def find(self, path: Path, spec: ArraySpec) -> Found:
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"format version {version}")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            except (
                Exception
            ) as error:  # a damaged header is parsed as Python: anything can be raised
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
