"""The ``[[join]]`` tables of a pipeline: labels and behaviour, added to rows on reading."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from actx_core.errors import StoreError
from actx_core.tables import read_table


@dataclass(frozen=True)
class Join:
    """A table with one line per value of the column ``on``; values are compared as text."""

    path: Path
    on: str
    table: pa.Table

    @classmethod
    def of(cls, path: Path, on: str, table: pa.Table) -> Join:
        """Checks the table of a file. Raises StoreError where ``on`` is missing or not unique."""
        where = str(path)
        if on not in table.column_names:
            hint = f"it has {', '.join(table.column_names)}"
            raise StoreError(f"expected a column '{on}'", where=where, hint=hint)
        values = [str(value) for value in table[on].to_pylist()]
        if len(set(values)) < len(values):
            twice = next(v for v in values if values.count(v) > 1)
            raise StoreError(f"two lines have {on} = {twice!r}", where=where)
        if not values:
            raise StoreError("the table has no lines", where=where)
        return cls(path, on, table)

    def refuse_clash(self, columns: Collection[str]) -> None:
        """Raise StoreError if rows with these columns have one of the table's already."""
        clash = (set(self.table.column_names) - {self.on}) & set(columns)
        if clash:
            raise StoreError(
                f"the rows have the columns {sorted(clash)} already",
                where=str(self.path),
                hint="rename them in the table",
            )

    def add_to(self, rows: pa.Table) -> pa.Table:
        """The rows with the table's columns, in their order; null where the table has no line."""
        self.refuse_clash(rows.column_names)
        if self.on not in rows.column_names:
            return rows
        lines = {str(value): i for i, value in enumerate(self.table[self.on].to_pylist())}
        found = [lines.get(str(value)) for value in rows[self.on].to_pylist()]
        if found and not any(i is not None for i in found):
            raise StoreError(
                f"no line fits any row: expected {self.on} such as {rows[self.on][0].as_py()!r}, found"
                f" {self.table[self.on][0].as_py()!r}",
                where=str(self.path),
            )
        index = pa.array(found, pa.int64())
        for name in self.table.column_names:
            if name != self.on:
                rows = rows.append_column(name, self.table[name].take(index))
        return rows


def read_join(path: Path, on: str) -> Join:
    """Read a CSV, TSV or Parquet table. Raises StoreError where ``on`` is missing or not unique."""
    return Join.of(path, on, read_columns(path, on))


def read_columns(path: Path, text: str) -> pa.Table:
    """Read a CSV, TSV or Parquet table; the column ``text``, if there is one, as text.

    An empty field of CSV and TSV has no value, in columns of text as in those of numbers.
    """
    if path.suffix == ".parquet":
        return read_table(path)
    try:
        table = csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ","),
            convert_options=csv.ConvertOptions(column_types={text: pa.string()}),  # 007 stays 007
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path)) from error
    for number, field in enumerate(table.schema):
        if field.name != text and pa.types.is_string(field.type):
            column = table.column(number)
            filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
            table = table.set_column(number, field.name, filled)
    return table
