"""Reads the rows of a data set's parts one after another from any place, and counts them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from actx_core import SourceError
from actx_hf.sources.parts import Part, explained, is_utf8, undecodable
from actx_hf.sources.retry import Patience, is_network, patiently, told

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Row = tuple[str, int, dict[str, Any]]
"""Name of the part, number in it from 0, and the columns that were asked for."""


@dataclass(frozen=True, order=True)
class Place:
    """A row: the number of its part, and its own in it."""

    part: int
    row: int


class Rows:
    """An iterator over rows from a place on; a lost connection is opened again at the row it broke at."""

    def __init__(self, parts: Sequence[Part], columns: Sequence[str], place: Place) -> None:
        self._parts = parts
        self._columns = columns
        self._place = place
        self._rows = self._read()

    def __iter__(self) -> Iterator[Row]:
        return self

    def __next__(self) -> Row:
        return next(self._rows)

    def forward(self, place: Place) -> bool:
        """Go on to a place if that is cheaper than opening there; False, and nothing read, if not."""
        at = self._place
        if at.part != place.part or not self._parts[at.part].near(at.row, place.row):
            return False
        return all(next(self, None) is not None for _ in range(at.row, place.row))

    def _read(self) -> Iterator[Row]:
        row = self._place.row
        for index in range(self._place.part, len(self._parts)):
            part = self._parts[index]
            for table in tables(part, row, self._columns):
                for record in _records(part, row, table):
                    self._place = Place(index, row + 1)
                    yield part.name, row, record
                    row += 1
            row = 0


class Extent:
    """How many rows there are, counted no further than is asked."""

    def __init__(self, parts: Sequence[Part], column: str) -> None:
        self._parts = parts
        self._column = column
        self._starts: list[int] = []
        self._total = 0
        self._more = self._count()

    def reach(self, rows: int) -> int:
        """``rows``, or all there are if they are fewer."""
        while self._total < rows:
            more = next(self._more, None)
            if more is None:
                break
            self._total += more
        return min(self._total, rows)

    def place(self, position: int) -> Place:
        """Where a row stands that ``reach`` has counted."""
        part = bisect_right(self._starts, position) - 1
        return Place(part, position - self._starts[part])

    def _count(self) -> Iterator[int]:
        for part in self._parts:
            self._starts.append(self._total)
            known = _asked(part, part.count)
            if known is not None:
                yield known
            else:
                yield from map(len, tables(part, 0, [self._column]))


def tables(part: Part, start: int, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a part from ``start`` on, tried again where the network fails.

    Raises SourceError, in one line, for a file that cannot be read.
    """
    patience = Patience(part.file)
    while True:
        try:
            for table in part.tables(start, columns):
                patience.worked()
                start += len(table)
                yield table
            return
        except SourceError:
            raise
        except Exception as error:
            if not is_network(error):
                raise _unreadable(part, start, error) from error
            patience.wait(error)


def _records(part: Part, row: int, table: pa.Table) -> list[dict[str, Any]]:
    try:
        return table.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError as error:  # some readers let bytes pass that are no text
        raise _unreadable(part, row, error) from error


def schema(parts: Sequence[Part]) -> pa.Schema:
    """The columns of the first part that has any. Raises SourceError as ``tables`` does."""
    for part in parts:
        found = _asked(part, part.schema)
        if found.names:
            return found
    raise SourceError("expected rows, found none", where=parts[0].file)


def _asked(part: Part, question: Callable[[], T]) -> T:
    """What a part says of itself. Raises SourceError as ``tables`` does."""
    try:
        return patiently(part.file, question)
    except SourceError:
        raise
    except Exception as error:
        raise _unreadable(part, 0, error) from error


def _unreadable(part: Part, row: int, error: Exception) -> SourceError:
    """What is wrong with a file; where it is not UTF-8, the line is looked for."""
    if words := explained(error):
        return SourceError(words[0], where=part.file, hint=words[1])
    found = undecodable(part.file) if is_utf8(error) else None
    return found or SourceError(f"cannot be read after row {row}: {told(error)}", where=part.file)
