"""Reads CSV and TSV tables line by line, and tells numbers from text without losing any of it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from actx_core import SourceError
from actx_vision.models.hints import did_you_mean

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT = re.compile(
    r"[-+]?(((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?|inf(inity)?|nan)", re.IGNORECASE
)
Values = list[int] | list[float] | list[str] | list[int | None] | list[float | None]


@dataclass(frozen=True, slots=True)
class TextTable:
    """The columns of a table as they are written; ``lines`` says where in the file each row begins."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def where(self, row: int) -> str:
        """``file:line`` of a row."""
        return f"{self.path}:{self.lines[row]}"


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises SourceError that names file and line."""
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SourceError(
            f"expected UTF-8, found the byte 0x{raw[error.start]:02x}",
            where=f"{path}:{line}",
            hint="save the file as UTF-8",
        ) from error


def read_text_table(path: Path) -> TextTable:
    """A table with a header. Fields may be quoted; blank lines are no rows.

    .tsv is separated by tabs, anything else by what its header holds most of: comma, tab or semicolon.
    Raises SourceError that names file and line.
    """
    text = read_text(path)
    header = re.sub(r'"[^"]*"', "", text.partition("\n")[0])
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",\t;", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise SourceError(
                f"cannot be read as a table: {error}", where=f"{path}:{line}"
            ) from error
        if fields is None:
            break
        if not fields:
            continue
        if rows and len(fields) != len(rows[0]):
            raise SourceError(
                f"expected {len(rows[0])} fields as in the header, found {len(fields)}",
                where=f"{path}:{line}",
            )
        rows.append(fields)
        lines.append(line)
    if len(rows) < 2:
        raise SourceError("expected a header and rows, found no rows", where=str(path))
    names = rows[0]
    expect_names(names, f"{path}:{lines[0]}")
    columns = {name: [row[n] for row in rows[1:]] for n, name in enumerate(names)}
    return TextTable(path, columns, lines[1:])


def expect_names(names: list[str], where: str) -> None:
    """Raise SourceError unless every column has a name of its own."""
    if "" in names:
        raise SourceError(
            f"column {names.index('') + 1} has no name",
            where=where,
            hint="name it, or leave it out (pandas: to_csv(..., index=False))",
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise SourceError(f"two columns are called '{twice[0]}'", where=where)


def typed(values: list[str]) -> Values:
    """Integers, floats or text, whichever holds all values; empty fields among numbers are None.

    Text stays text where a number would lose something: leading zeros, or digits beyond 64 bits.
    """
    given = [value for value in values if value]
    if given and all(map(_INTEGER.fullmatch, given)):
        if all(-(2**63) <= int(value) < 2**63 for value in given):
            return [int(value) if value else None for value in values]
    elif given and all(map(_FLOAT.fullmatch, given)):
        whole = [int(value) for value in given if _INTEGER.fullmatch(value)]
        if all(abs(value) <= 2**53 for value in whole):
            return [float(value) if value else None for value in values]
    return values


def expect_column(name: str, columns: list[str], where: str) -> None:
    """Raise SourceError with near misses unless there is a column of that name."""
    if name not in columns:
        hint = did_you_mean(name, columns, f"there are: {', '.join(columns)}")
        raise SourceError(f"expected a column '{name}', found none", where=where, hint=hint)
