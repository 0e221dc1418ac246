"""The format ``text``: a folder with one text file per array, a line for each row."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actx_core.formats.common import storable
from actx_core.formats.config import TextConfig
from actx_core.formats.folder import FolderFormat

if TYPE_CHECKING:
    from actx_core.tap_array import TapArray

_BLOCK = 1 << 22
"""Bytes of numbers turned into text at a time; the text and its line ends take ten times that."""


class Text(FolderFormat[TextConfig]):
    """Numbers as ``numpy.loadtxt`` reads them, in the fewest digits that give the same number again.

    The last line that begins with ``#`` names the columns. What has several axes per row is flattened in C
    order, and the first line is ``# Array shape: (rows, ...)``. Booleans are 0 and 1.
    """

    @property
    def suffix(self) -> str:
        return {" ": ".txt", "\t": ".tsv"}.get(self.config.delimiter, ".csv")

    def put(self, path: Path, tap: TapArray) -> None:
        with path.open("wb") as file:
            if len(tap.shape) > 2:
                file.write(f"# Array shape: {tap.shape}\n".encode())
            file.write(f"# {self.config.delimiter.join(_names(tap))}\n".encode())
            for _, block in tap.blocks(_BLOCK):
                file.write(lines(block.reshape(len(block), -1), self.config.delimiter))


def _names(tap: TapArray) -> list[str]:
    """``channel3_y0_x1`` for each number of a row."""
    sizes = zip(tap.axes[1:], tap.shape[1:], strict=True)
    places = [[f"{axis}{i}" for i in range(size)] for axis, size in sizes]
    return ["_".join(place) or "value" for place in product(*places)]


def lines(matrix: np.ndarray, delimiter: str) -> memoryview:
    """A matrix as text: several times as fast as ``numpy.savetxt``, by Arrow's writer of columns.

    It gets one column, so that wide matrices cost no more, and all line ends but those of rows are replaced.
    """
    import pyarrow as pa
    from pyarrow import csv

    if not matrix.size:
        return memoryview(b"\n" * len(matrix))
    values = matrix.astype(storable(matrix.dtype), copy=False).reshape(-1)
    out = pa.BufferOutputStream()
    column = pa.table({"value": pa.array(values)})
    csv.write_csv(column, out, csv.WriteOptions(include_header=False))
    text = np.frombuffer(out.getvalue(), np.uint8).copy()
    ends = np.flatnonzero(text == ord("\n"))
    rows = ends[matrix.shape[1] - 1 :: matrix.shape[1]]
    text[ends] = ord(delimiter)
    text[rows] = ord("\n")
    return text.data
