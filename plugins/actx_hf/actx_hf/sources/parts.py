"""The parts of a data set, read as Arrow tables from any row on: Parquet files, other files, whole tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.table import CastError

from actx_core import SourceError

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

ROWS = 1000
"""Rows in memory at once; fewer where the file is cut finer."""
_READ = 8 * 2**20


class Part(ABC):
    """Rows that lie together, in a file or table. ``name`` goes into ids, ``file`` into messages."""

    first: int | None = None
    """Rows at the beginning that can be looked up; None: all, wherever they stand."""

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.file = file

    @abstractmethod
    def count(self) -> int | None:
        """How many rows there are; None where only reading tells."""

    @abstractmethod
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    @abstractmethod
    def tables(self, start: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows from ``start`` on."""

    def near(self, row: int, target: int) -> bool:
        """Whether going on from ``row`` to a later ``target`` is cheaper than beginning there."""
        return row == target


class ParquetPart(Part):
    """A Parquet file, local or remote. Its footer tells the rows; reading begins at a row group."""

    def schema(self) -> pa.Schema:
        return self._footer[0]

    def count(self) -> int:
        return self._footer[1][-1]

    def tables(self, start: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        _require(self, columns, self.schema())
        ends = self._footer[1]
        with self._open() as raw, pq.ParquetFile(raw, buffer_size=_READ, pre_buffer=False) as file:
            for group, end in enumerate(ends[1:]):
                skipped = max(0, start - ends[group])
                if end <= start:
                    continue
                for batch in file.iter_batches(ROWS, [group], columns=list(columns)):
                    if len(batch) > skipped:
                        yield pa.Table.from_batches([batch.slice(skipped)])
                    skipped = max(0, skipped - len(batch))

    def near(self, row: int, target: int) -> bool:
        return row <= target and not any(row < end <= target for end in self._footer[1])

    def _open(self) -> AbstractContextManager[Any]:
        return fsspec.open(self.file, "rb")  # type: ignore[no-any-return]

    @cached_property
    def _footer(self) -> tuple[pa.Schema, list[int]]:
        """The schema, and the rows before each row group; last, all rows."""
        with self._open() as raw, pq.ParquetFile(raw) as file:
            about = file.metadata
            sizes = (about.row_group(group).num_rows for group in range(about.num_row_groups))
            return file.schema_arrow, list(accumulate(sizes, initial=0))


class StreamPart(Part):
    """A file that ``datasets`` reads from its beginning: JSON lines, CSV, text, Arrow."""

    first = 10 * ROWS

    def __init__(self, name: str, file: str, stream: IterableDataset) -> None:
        super().__init__(name, file)
        self._stream = stream

    def count(self) -> None:
        return None

    def schema(self) -> pa.Schema:
        if self._stream.features is not None:
            return self._stream.features.arrow_schema
        return next((table.schema for table in self._tables(self._stream)), pa.schema([]))

    def tables(self, start: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        for table in self._tables(self._stream.skip(start)):
            _require(self, columns, table.schema)
            yield table.select(list(columns))

    def near(self, row: int, target: int) -> bool:
        return row <= target

    @staticmethod
    def _tables(stream: IterableDataset) -> Iterator[pa.Table]:
        yield from stream.with_format("arrow").iter(ROWS)


class TablePart(Part):
    """A table that ``datasets`` has on disk, with random access."""

    def __init__(self, file: str, table: Dataset) -> None:
        super().__init__("", file)
        self._table = table.with_format("arrow")

    def count(self) -> int:
        return len(self._table)

    def schema(self) -> pa.Schema:
        return self._table.features.arrow_schema

    def tables(self, start: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        chosen = self._table.select_columns(list(columns))
        for first in range(start, len(chosen), ROWS):
            yield chosen[first : first + ROWS]

    def value(self, row: int, column: str) -> Any:
        """One value."""
        return self._table[row : row + 1][column][0].as_py()


def _require(part: Part, columns: Sequence[str], schema: pa.Schema) -> None:
    for name in columns:
        if name not in schema.names:
            raise SourceError(
                f"expected a column '{name}', as the first file has it", where=part.file
            )


def explained(error: BaseException) -> tuple[str, str] | None:
    """Message and hint for an error of ``datasets`` whose own words help nobody."""
    if "Compression type zstd not supported" in str(error):
        return "a package is missing: zstandard", "pip install 'actx-hf[datasets]'"
    if not isinstance(error, CastError):
        return None
    columns = set(error.table_column_names) ^ set(error.requested_column_names)
    found = f", such as {', '.join(map(repr, sorted(columns)))}" if columns else ""
    hint = "give each kind of file a source of its own, with files"
    return f"expected the columns of the first file, found others{found}", hint


def is_utf8(error: BaseException) -> bool:
    """Whether text could not be decoded, here or in what led to the error."""
    return isinstance(error, UnicodeDecodeError) or bool(
        error.__cause__ and is_utf8(error.__cause__)
    )


def undecodable(file: str) -> SourceError | None:
    """Where a file is not UTF-8, as an error with its line and byte."""
    with fsspec.open(file, "rb", compression="infer") as opened:
        for number, line in enumerate(opened, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return SourceError(
                    f"expected UTF-8, found 0x{line[error.start]:02x} at byte {error.start} of the line",
                    where=f"{file}:{number}",
                    hint="save the file as UTF-8",
                )
    return None
