"""Tables of rows: columns to Parquet and back, joined part by part, as CSV, and their digest.

Columns are whole numbers, floats, booleans or text, with None where a value is missing. The writers do not
rename: give them the path of ``files.atomic``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core.errors import StoreError
from actx_core.files import damaged

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Columns = Mapping[str, "Sequence[Any] | np.ndarray"]


def to_table(columns: Columns) -> pa.Table:
    """Columns of equal length as an Arrow table. Raises StoreError that names the column at fault."""
    import pyarrow as pa

    arrays = {name: _to_array(name, values) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise StoreError(f"expected columns of equal length, found {lengths}")
    return pa.table(arrays)


def _to_array(name: str, values: Sequence[Any] | np.ndarray) -> pa.Array:
    import pyarrow as pa

    try:
        array = pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise _bad_column(name, str(error)) from error
    _kind(name, array.type)
    return array


def _kind(name: str, type_: pa.DataType) -> str:
    """What a column holds: number, bool, text or null. Raises StoreError for anything else."""
    from pyarrow import types

    if types.is_dictionary(type_):
        return _kind(name, type_.value_type)
    if types.is_integer(type_) or types.is_floating(type_):
        return "number"
    if types.is_boolean(type_):
        return "bool"
    if types.is_string(type_) or types.is_large_string(type_):
        return "text"
    if types.is_null(type_):
        return "null"
    raise _bad_column(name, f"found {type_}")


def _bad_column(name: str, why: str) -> StoreError:
    return StoreError(
        f"column {name!r}: expected whole numbers, floats, booleans or text, one kind only; {why}",
        hint="convert the column where it is made, for example to text",
    )


def write_table(path: Path, columns: Columns | pa.Table) -> None:
    """Write columns as Parquet, in one row group. The same columns give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = columns if isinstance(columns, pa.Table) else to_table(columns)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        _write_group(writer, table)


def _write_group(writer: Any, table: pa.Table) -> None:
    if len(table):
        writer.write_table(table, row_group_size=len(table))


def read_table(path: Path) -> pa.Table:
    """Read a Parquet table. Raises StoreError where the file is missing or damaged."""
    with reading(path) as file:
        return file.read()


@contextmanager
def reading(path: Path, metadata: Any = None) -> Iterator[pq.ParquetFile]:
    """A Parquet file open for reading; all that a damaged or missing one raises becomes StoreError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise damaged(path, "the file is missing")
    try:
        with pq.ParquetFile(path, metadata=metadata) as file:
            names = file.schema_arrow.names  # decoded here, where damage is expected
            if len(set(names)) < len(names):
                raise ValueError(f"columns {names}")
            yield file
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (str(error) or "unknown").splitlines()[0]
        size = path.stat().st_size
        raise damaged(
            path, f"expected Parquet, found a damaged file of {size} bytes: {reason}"
        ) from error


def join_tables(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of all parts, in order, to one Parquet file, a row group at a time.

    A column that a part lacks is null there; where one part has whole numbers and another floats, all
    become floats. The bytes depend only on the row groups, so a part may itself be a joined file. Raises
    StoreError where a column's types do not go together.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([])
    for part in parts:
        with reading(part) as file:
            found = file.schema_arrow
        schema = _unify(schema, found, part)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for part in parts:
            for table in _groups(part):
                _write_group(writer, _conform(table, schema, part))


def _groups(part: Path) -> Iterator[pa.Table]:
    with reading(part) as file:
        metadata = file.metadata
    for group in range(metadata.num_row_groups):
        with reading(part, metadata) as file:
            table = file.read_row_group(group)
        yield table  # out of the block: an error of the writer is not damage of the part


def _unify(schema: pa.Schema, other: pa.Schema, part: Path) -> pa.Schema:
    import pyarrow as pa

    try:
        return pa.unify_schemas([schema, other], promote_options="permissive")
    except pa.ArrowException as error:
        hint = "make the column the same type for all samples"
        raise StoreError(str(error).splitlines()[0], where=str(part), hint=hint) from error


def _conform(table: pa.Table, schema: pa.Schema, part: Path) -> pa.Table:
    import pyarrow as pa

    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        try:
            columns.append(table[field.name].cast(field.type))
        except pa.ArrowException as error:
            raise StoreError(f"column {field.name!r}: {error}", where=str(part)) from error
    return pa.table(columns, schema=schema)


def write_csv(path: Path, table: pa.Table) -> None:
    """Write a table as CSV with a header; None is an empty field, the empty text ``""``."""
    from pyarrow import csv

    csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed"))


def table_digest(columns: Columns | pa.Table) -> str:
    """The sha256 of names, types and values, however a file encodes them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = columns if isinstance(columns, pa.Table) else to_table(columns)
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = _kind(name, column.type)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        type_ = kind if kind == "text" else str(column.type)
        digest.update(f"{len(name)} {name} {type_} {len(column)}\n".encode())
        digest.update(pc.is_valid(column).to_numpy().tobytes())
        if kind == "text":
            _digest_text(digest, column)
        elif kind != "null":
            digest.update(pc.fill_null(column, False if kind == "bool" else 0).to_numpy().tobytes())
    return digest.hexdigest()


def _digest_text(digest: Any, column: pa.ChunkedArray) -> None:
    """Add the lengths of all texts, then their UTF-8 bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = pc.fill_null(column.cast(pa.large_string()), "").combine_chunks()
    _, ends, data = array.buffers()
    digest.update(pc.binary_length(array).to_numpy().tobytes())
    if data is not None and len(array):
        places = np.frombuffer(ends, np.int64)[array.offset : array.offset + len(array) + 1]
        digest.update(memoryview(data)[places[0] : places[-1]])
