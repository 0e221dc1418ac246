"""Arrays of any shape as text that ``numpy.loadtxt`` reads, and back without loss.

The first line is ``# Array shape: (n, c, h, w)``, the second ``# Data type: float32``. With three axes or
more, each matrix of the last two ends in ``# New slice``. Numbers have the fewest digits that give the same
number again. Files without the second line are float64: those that thingsvision wrote in 2020.
"""

from __future__ import annotations

import re
import warnings
from math import prod
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv

from actx_core import StoreError

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 1 << 22
"""Bytes that are turned into text at a time; it takes ten times as much."""
_SHAPE = re.compile(r"#\s*Array shape:\s*\((\d[\d\s,]*)\)")
_DTYPE = re.compile(r"#\s*Data type:\s*(\w+)")
_SLICE = b"# New slice\n"
_HINT = "the file is truncated or was edited: write it again"


def write(path: Path, array: np.ndarray) -> None:
    """Write an array, in blocks of its first axis."""
    with path.open("wb") as file:
        write_header(file, array.shape, array.dtype)
        rows = max(1, BLOCK // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):
            write_rows(file, array[start : start + rows])


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    """Write the first two lines. Raises StoreError for anything but real numbers with an axis."""
    if dtype.kind not in "biuf" or not shape:
        raise StoreError(f"expected an array of real numbers, found {dtype} of shape {shape}")
    file.write(f"# Array shape: {shape}\n# Data type: {dtype.name}\n".encode())


def write_rows(file: BinaryIO, block: np.ndarray) -> None:
    """Append some rows of the array: what lies along its first axis."""
    if not block.size:
        return
    text, ends = _lines(block, _width(block.shape))
    if block.ndim < 3:
        file.write(text)
        return
    height = block.shape[-2]
    stops = ends[height - 1 :: height] + 1
    slices = (text[a:b] for a, b in zip([0, *stops[:-1]], stops, strict=True))
    file.write(_SLICE.join(slices) + _SLICE)


def _lines(block: np.ndarray, width: int) -> tuple[memoryview, np.ndarray]:
    """Lines of ``width`` numbers, and where they end.

    Arrow writes columns several times as fast as ``numpy.savetxt`` writes rows: it gets one column, and
    line ends within a row become spaces.
    """
    wider = {"bool": np.uint8, "float16": np.float32}.get(block.dtype.name, block.dtype)
    column = pa.table({"value": pa.array(block.astype(wider, copy=False).reshape(-1))})
    out = pa.BufferOutputStream()
    csv.write_csv(column, out, csv.WriteOptions(include_header=False))
    text = np.frombuffer(out.getvalue(), np.uint8).copy()
    ends = np.flatnonzero(text == ord("\n"))
    rows = ends[width - 1 :: width]
    text[ends] = ord(" ")
    text[rows] = ord("\n")
    return text.data, rows


def read(path: Path, *, header: bool = True) -> np.ndarray:
    """The array of a text file. Unless ``header`` is demanded, a file without one is a matrix.

    Raises StoreError that names the line where the file is truncated, edited or something else.
    """
    if not path.is_file():
        raise StoreError("the file is missing", where=str(path))
    shape, dtype = _read_header(path)
    if shape is None and header:
        what = "expected the line '# Array shape: (...)', found none"
        hint = "files that tensor2slices wrote begin so"
        raise StoreError(what, where=f"{path}:1", hint=hint)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a file without numbers is judged below
            values = np.loadtxt(path, dtype, ndmin=2)
    except ValueError as error:
        raise _damaged(path, shape, str(error)) from error
    expected = shape or values.shape
    width = values.shape[1] if values.size else _width(expected)
    empty = shape is None and not values.size
    if (values.size, width) != (prod(expected), _width(expected)) or empty or not _is_whole(path):
        raise _damaged(path, shape)
    return values.reshape(expected)


def _is_whole(path: Path) -> bool:
    """Whether the last line has its end: without it, the last number may be cut."""
    with path.open("rb") as file:
        file.seek(path.stat().st_size - 1)
        return file.read() == b"\n"


def _width(shape: tuple[int, ...]) -> int:
    """Numbers in a line."""
    return shape[-1] if len(shape) > 1 else 1


def _read_header(path: Path) -> tuple[tuple[int, ...] | None, np.dtype[np.generic]]:
    shape, dtype = None, np.dtype(np.float64)
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.startswith("#"):
                break
            if number == 1 and (found := _SHAPE.match(line)):
                shape = tuple(map(int, re.findall(r"\d+", found[1])))
            if found := _DTYPE.match(line):
                if found[1] not in np.sctypeDict:
                    what = f"expected a type of numbers, found {found[1]!r}"
                    raise StoreError(what, where=f"{path}:{number}", hint=_HINT)
                dtype = np.dtype(found[1])
    return shape, dtype


def _damaged(path: Path, shape: tuple[int, ...] | None, why: str = "") -> StoreError:
    number, what = _problem(path, shape)
    return StoreError(what or why, where=f"{path}:{number}", hint=_HINT)


def _problem(path: Path, shape: tuple[int, ...] | None) -> tuple[int, str]:
    """The first line that is wrong, and what is wrong with it."""
    width = _width(shape) if shape else 0
    number = lines = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.partition("#")[0].split()
            bad = next((word for word in words if not _is_number(word)), None)
            if bad is not None:
                return number, f"expected numbers, found {bad[:40]!r}"
            width = width or len(words)
            if words and len(words) != width:
                return number, f"expected {width} numbers, found {len(words)}"
            if not line.endswith("\n"):
                return number, "expected the end of the line, found the end of the file"
            lines += bool(words)
    if shape is None:
        return number, "" if lines else "expected numbers, found none"
    expected = prod(shape) // max(1, width)
    found = f"expected {expected} lines of {width} numbers for shape {shape}, found {lines}"
    return number, found if lines != expected else ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
