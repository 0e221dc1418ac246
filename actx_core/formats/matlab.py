"""The format ``matlab``: one MAT-file of version 7.3, which is HDF5 behind a header of 512 bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py
import numpy as np

from actx_core.contracts import Config, Format
from actx_core.files import atomic
from actx_core.formats.common import columns, storable
from actx_core.stores.hdf5 import Layout
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    import pyarrow as pa

    from actx_core.results import Run
    from actx_core.tap_array import TapArray

_LONGEST = 63
"""Characters of a MATLAB name."""
_KEYWORDS = {
    "break", "case", "catch", "classdef", "continue", "else", "elseif", "end", "for", "function",
    "global", "if", "otherwise", "parfor", "persistent", "return", "spmd", "switch", "try", "while",
}  # fmt: skip
_BLOCK = 512
"""Bytes before the HDF5 file."""
_CHUNK = 1 << 22
"""Bytes of a chunk of rows, about."""


class Matlab(Format[Config]):
    """A variable of rows x axes per array, a struct of columns per table of rows, and ``arrays``.

    The cell array ``arrays`` has a line per array: its variable, ``source/model/tap``, its axes and the
    struct of its rows. Texts are cell arrays of char. float16 becomes single; a missing text is empty, a
    missing number NaN.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        taps = {name: run[name] for name in run.arrays}
        chunks: dict[str, list[int]] = {}

        def draw(file: h5py.File) -> Mapping[str, int]:
            texts, taken = _Texts(file), {"arrays"}
            structs = _Structs(file, texts, taken)
            lines = []
            for name, tap in taps.items():
                variable = _free_name(name, taken)
                chunks[name] = _reserve(file, variable, tap)
                lines.append((variable, name, " ".join(tap.axes), structs.of(tap)))
            texts.write(file, "arrays", np.array(lines, object).reshape(-1, 4))
            return {}

        layout = Layout.drawn(draw, _BLOCK)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, layout.create(temporary) as file:
            file.seek(0)
            file.write(_header())
            for name, tap in taps.items():
                _write(file, tap, chunks[name])
        return [path]


def _header() -> bytes:
    """The user block of a MAT-file: text, no subsystem, version 2.0, little-endian."""
    text = b"MATLAB 7.3 MAT-file, written by actx HDF5 schema 1.00 ."
    return (text.ljust(116) + bytes(8) + b"\x00\x02IM").ljust(_BLOCK, b"\0")


def _free_name(name: str, taken: set[str]) -> str:
    """A valid name that is not taken, and then is; what is cut or not unique ends in a digest."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not found[:1].isalpha() or found in _KEYWORDS:
        found = f"x{found}"
    if len(found) > _LONGEST or found in taken:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        found = f"{found[: _LONGEST - len(digest) - 1]}_{digest}"
    taken.add(found)
    return found


def _reserve(file: h5py.File, name: str, tap: TapArray) -> list[int]:
    """Create an array's dataset, in chunks of whole rows, and return their places.

    MATLAB runs through the first axis fastest, HDF5 through the last: the axes are reversed, and a chunk
    of rows stands in one piece.
    """
    if not np.prod(tap.shape):
        _put_empty(file, name, _class(tap.dtype), _matrix(tap.shape))
        return []
    shape, rows = _matrix(tap.shape)[::-1], _chunk_rows(tap)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((*shape[:-1], rows))
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dtype = storable(tap.dtype)
    made = file.create_dataset(name, shape, dtype, dcpl=properties, track_times=False)
    _mark(made, _class(tap.dtype))
    corner = (0,) * (len(shape) - 1)
    starts = range(0, len(tap), rows)
    return [made.id.get_chunk_info_by_coord((*corner, s)).byte_offset for s in starts]


def _write(file: BinaryIO, tap: TapArray, chunks: Sequence[int]) -> None:
    rows = _chunk_rows(tap)
    for i, place in enumerate(chunks):
        found = tap[i * rows : (i + 1) * rows].astype(storable(tap.dtype), copy=False)
        chunk = np.zeros((*found.shape[:0:-1], rows), found.dtype)
        chunk[..., : len(found)] = found.T
        file.seek(_BLOCK + place)
        write_payload(file, chunk)


def _chunk_rows(tap: TapArray) -> int:
    return min(len(tap), max(1, _CHUNK // max(1, tap.spec.row_bytes)))


def _matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape for MATLAB, where everything has two axes or more."""
    return shape if len(shape) > 1 else (*shape, 1)


def _class(dtype: np.dtype[Any]) -> str:
    classes = {"float16": "single", "float32": "single", "float64": "double", "bool": "logical"}
    return classes.get(dtype.name, dtype.name)


def _mark(made: h5py.Dataset, name: str) -> None:
    """Say of which class a dataset is for MATLAB, and how many bytes its integers have if it is no number."""
    made.attrs["MATLAB_class"] = np.bytes_(name)
    width = {"logical": 1, "char": 2}.get(name)
    if width:
        made.attrs["MATLAB_int_decode"] = np.int32(width)


def _put_empty(group: h5py.Group, name: str, class_: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """An array without values is stored as its shape."""
    made = group.create_dataset(name, data=np.array(shape, np.uint64))
    _mark(made, class_)
    made.attrs["MATLAB_empty"] = np.uint8(1)
    return made


class _Texts:
    """Cell arrays of texts: references to char arrays, each text stored once."""

    def __init__(self, file: h5py.File) -> None:
        self._group = file.create_group("#refs#")
        self._known: dict[str, h5py.Reference] = {}

    def write(self, group: h5py.Group, name: str, texts: np.ndarray) -> None:
        """Write a cell array of (rows, columns) texts."""
        if not texts.size:
            _put_empty(group, name, "cell", texts.shape)
            return
        made = group.create_dataset(name, texts.shape[::-1], h5py.ref_dtype)
        made[...] = np.array([[self._reference(t) for t in line] for line in texts.T], object)
        _mark(made, "cell")

    def _reference(self, text: str) -> h5py.Reference:
        if text not in self._known:
            name = f"t{len(self._known)}"
            units = np.frombuffer(text.encode("utf-16-le"), np.uint16)
            if text:
                made = self._group.create_dataset(name, data=units[:, None])
                _mark(made, "char")
            else:
                made = _put_empty(self._group, name, "char", (0, 0))
            self._known[text] = made.ref
        return self._known[text]


class _Structs:
    """Tables of rows as structs, one for all arrays that have the same."""

    def __init__(self, file: h5py.File, texts: _Texts, taken: set[str]) -> None:
        self._file, self._texts, self._taken = file, texts, taken
        self._known: dict[str, list[tuple[str, pa.Table]]] = {}

    def of(self, tap: TapArray) -> str:
        """The variable of an array's rows."""
        name = f"rows_{tap.spec.source}_{tap.spec.model}_{tap.spec.kind}"
        known = self._known.setdefault(name, [])
        found = next((variable for variable, table in known if table.equals(tap.rows)), None)
        if found is None:
            found = _free_name(f"{name}_{len(known) + 1}" if known else name, self._taken)
            known.append((found, tap.rows))
            self._write(found, columns(tap.rows))
        return found

    def _write(self, variable: str, fields: Mapping[str, np.ndarray]) -> None:
        group = self._file.create_group(variable)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        taken: set[str] = set()
        for name, values in fields.items():
            field = _free_name(name, taken)
            if values.dtype == object:
                self._texts.write(group, field, values[:, None])
            else:
                _put_numbers(group, field, values)


def _put_numbers(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """A column of numbers, as a column of MATLAB."""
    if not len(values):
        _put_empty(group, name, _class(values.dtype), (0, 1))
        return
    made = group.create_dataset(name, data=values.astype(storable(values.dtype))[None])
    _mark(made, _class(values.dtype))
