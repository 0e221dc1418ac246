"""The format ``parquet``: a folder with one Parquet file per array, its rows' columns beside the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from actx_core.contracts import Config, Input
from actx_core.errors import StoreError
from actx_core.files import damaged, sha256_file
from actx_core.formats.common import bare, free
from actx_core.formats.folder import FolderFormat
from actx_core.stores.row_groups import RowGroups, row_groups
from actx_core.tables import reading

if TYPE_CHECKING:
    from actx_core.tap_array import TapArray

VALUES = "activations"
BLOCK = 2**26
"""Bytes of a row group."""


class ParquetFolder(FolderFormat[Config]):
    """Files that pandas, polars, DuckDB and R read: a row a row, its values a list of fixed size, flattened.

    What is read is any Parquet file: each column of equally long lists of numbers is an array, or, where
    there is none, all columns of floats together are one. The other columns are those of the rows.
    """

    suffix = ".parquet"

    def put(self, path: Path, tap: TapArray) -> None:
        name = free(VALUES, tap.rows.column_names)
        width = int(np.prod(tap.shape[1:]))
        kind = pa.list_(pa.from_numpy_dtype(tap.dtype), width)
        schema = pa.schema([*tap.rows.schema, pa.field(name, kind, nullable=False)])
        options = {"compression": "none", "use_dictionary": tap.rows.column_names}
        with pq.ParquetWriter(path, schema, **options) as writer:
            for at, block in tap.blocks(BLOCK):
                rows = tap.rows.slice(at.start, len(block)).columns
                values = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), width)
                writer.write_table(pa.table([*rows, values], schema=schema))

    def knows(self, path: Path) -> bool:
        return path.suffix == self.suffix and path.is_file()

    def read(self, path: Path) -> Sequence[Input]:
        with reading(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            lists = [f.name for f in schema if _is_list(f.type)]
            floats = [f.name for f in schema if types.is_floating(f.type)]
            arrays = {name: [name] for name in lists} or ({path.stem: floats} if floats else {})
            if not arrays:
                hint = f"it has {schema.names}"
                raise StoreError("expected a column of lists or floats", where=str(path), hint=hint)
            taken = {name for columns in arrays.values() for name in columns}
            rows = file.read([f.name for f in schema if f.name not in taken and _is_plain(f.type)])
        digest = sha256_file(path)
        inputs = [
            bare(name, Columns(path, columns, metadata), digest) for name, columns in arrays.items()
        ]
        if "sample" not in rows.column_names:
            rows = rows.add_column(0, "sample", inputs[0].rows["sample"])
        return [replace(one, rows=rows) for one in inputs]


class Columns(RowGroups):
    """The numbers of one column of lists, or of several columns side by side."""

    def __init__(self, path: Path, names: Sequence[str], metadata: Any) -> None:
        self._path, self._names, self._metadata = path, names, metadata
        super().__init__((0,), np.dtype(np.float32), row_groups(path, metadata))
        first = self.read_group(0) if self.groups else np.empty((0, len(names)), np.float32)
        self.shape, self.dtype = (metadata.num_rows, *first.shape[1:]), first.dtype

    def read_group(self, index: int) -> np.ndarray:
        with reading(self._path, self._metadata) as file:
            table = file.read_row_group(index, self._names)
        columns = [self._values(name, table[name].combine_chunks()) for name in self._names]
        return columns[0] if columns[0].ndim == 2 else np.column_stack(columns)

    def _values(self, name: str, column: pa.Array) -> np.ndarray:
        if not _is_list(column.type):
            return np.asarray(column.to_numpy(zero_copy_only=False))
        sizes = set(column.value_lengths().to_pylist()) if len(column) else {0}
        known = set(self.shape[1:]) or sizes
        if len(sizes) > 1 or sizes != known:
            raise damaged(self._path, f"column {name}: expected lists of one length, found {sizes}")
        values = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(values).reshape(len(column), -1)


def _is_list(type_: pa.DataType) -> bool:
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    numbers = (types.is_floating, types.is_integer, types.is_boolean)
    return any(is_(type_) for is_ in lists) and any(is_(type_.value_type) for is_ in numbers)


def _is_plain(type_: pa.DataType) -> bool:
    return not (types.is_nested(type_) or types.is_binary(type_) or types.is_temporal(type_))
