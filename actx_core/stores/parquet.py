"""The Parquet store: one file for each array, one column ``activations``, one row group for each shard.

A row is a fixed-size binary of its values, C-ordered and little-endian: lists of floats read ten times
slower. Where a row is one number the column is of that type. Names and shape stand in the file's metadata.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actx_core import dtypes
from actx_core.contracts import Config, LazyArray, Store
from actx_core.files import claim, damaged
from actx_core.stores.payload import check, total
from actx_core.stores.row_groups import RowGroups, row_groups
from actx_core.tables import reading
from actx_core.types import ArraySpec

COLUMN = "activations"


class Parquet(Store[Config]):
    """Parquet, uncompressed; bfloat16 is uint16 with ``dtype`` in the metadata."""

    suffix = ".parquet"

    def write(self, path: Path, array: np.ndarray, spec: ArraySpec) -> None:
        check(path, spec, array.shape, array.dtype)
        with _writer(path, spec, array.nbytes) as writer:
            if len(array):
                writer.write_table(_table(array, spec), row_group_size=len(array))

    def open(self, path: Path, spec: ArraySpec) -> LazyArray:
        return ParquetArray(path, spec)

    def join(self, parts: Sequence[Path], path: Path, spec: ArraySpec) -> None:
        arrays = [ParquetArray(part, replace(spec, rows=None)) for part in parts]
        total(path, spec, [len(array) for array in arrays])
        with _writer(path, spec, sum(part.stat().st_size for part in parts)) as writer:
            for array in arrays:
                for group in range(array.groups):
                    rows = array.read_group(group)
                    writer.write_table(_table(rows, spec), row_group_size=len(rows))


class ParquetArray(RowGroups):
    """Rows of a file of this store."""

    def __init__(self, path: Path, spec: ArraySpec) -> None:
        self._path, self._spec = path, spec
        with reading(path) as file:
            self._metadata = file.metadata
            _check_schema(path, file.schema_arrow, _schema(spec))
        shape = (self._metadata.num_rows, *spec.row_shape)
        super().__init__(shape, dtypes.storage(spec.dtype), row_groups(path, self._metadata))
        check(path, spec, self.shape, self.dtype)

    def read_group(self, index: int) -> np.ndarray:
        expected = self._starts[index + 1] - self._starts[index]
        with reading(self._path, self._metadata) as file:
            column = file.read_row_group(index)[COLUMN].combine_chunks()
        if len(column) != expected:
            raise damaged(self._path, f"expected {expected} rows, found {len(column)}")
        return _values(column, self._spec)


def _width(spec: ArraySpec) -> int:
    return math.prod(spec.row_shape) * dtypes.itemsize(spec.dtype)


def _schema(spec: ArraySpec) -> pa.Schema:
    if not spec.row_shape:
        column = pa.from_numpy_dtype(dtypes.storage(spec.dtype))
    else:  # Parquet has no binary of width 0
        column = pa.binary(_width(spec)) if _width(spec) else pa.null()
    metadata = {
        "source": spec.source,
        "model": spec.model,
        "tap": spec.tap,
        "axes": json.dumps(spec.axes),
        "row_shape": json.dumps(spec.row_shape),
        "dtype": spec.dtype,
    }
    return pa.schema([pa.field(COLUMN, column, nullable=pa.types.is_null(column))], metadata)


def _check_schema(path: Path, found: pa.Schema, expected: pa.Schema) -> None:
    if found.names != [COLUMN] or found.field(0).type != expected.field(0).type:
        raise damaged(path, f"expected {expected.field(0)}, found {found.remove_metadata()}")
    names = (b"dtype", b"row_shape")
    if any((found.metadata or {}).get(name) != expected.metadata[name] for name in names):
        raise damaged(path, f"expected metadata {expected.metadata}, found {found.metadata}")


def _table(array: np.ndarray, spec: ArraySpec) -> pa.Table:
    schema = _schema(spec)
    if not spec.row_shape:
        column = pa.array(array)
    elif _width(spec):
        buffer = pa.py_buffer(np.ascontiguousarray(array))
        column = pa.FixedSizeBinaryArray.from_buffers(
            schema.field(0).type, len(array), [None, buffer]
        )
    else:
        column = pa.nulls(len(array))
    return pa.table([column], schema=schema)


def _values(column: pa.Array, spec: ArraySpec) -> np.ndarray:
    """A row group's column as numpy, without a copy where Arrow allows it."""
    dtype = dtypes.storage(spec.dtype)
    if not spec.row_shape:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype)
    if not _width(spec):
        return np.empty((len(column), *spec.row_shape), dtype)
    count = len(column) * math.prod(spec.row_shape)
    values = np.frombuffer(column.buffers()[1], dtype, count, column.offset * _width(spec))
    return values.reshape(len(column), *spec.row_shape)


@contextmanager
def _writer(path: Path, spec: ArraySpec, payload: int) -> Iterator[pq.ParquetWriter]:
    """A writer on claimed space, which is somewhat more than pages, footer and payload take."""
    rows = (1 << 20) // max(1, _width(spec))
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    batch = {"write_batch_size": min(1024, max(1, rows))}  # or a page of wide rows passes 2 GB
    with path.open("wb") as file:
        claim(file, payload + payload // 1000 + (1 << 16))
        with pq.ParquetWriter(file, _schema(spec), **options, **batch) as writer:
            yield writer
        file.truncate(file.tell())
