"""The source ``image-table``: pictures listed in a table (CSV, TSV, Parquet) or a list of paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actx_core import SourceError
from actx_core.packages import package_path
from actx_vision.sources.config import ImageTableConfig
from actx_vision.sources.files import ImageFile, unique_ids
from actx_vision.sources.image_source import ImageSource, Stimulus
from actx_vision.sources.text_table import (
    expect_column,
    expect_names,
    read_text,
    read_text_table,
    typed,
)

PATHS = ("path", "file", "filename", "image", "image_path", "stimulus_path")
"""Columns that are taken for that of the paths."""
IDS = ("stimulus_id", "id", "sample")
"""Columns that are taken for that of the ids."""


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns as written; ``typed`` finds their types, ``where`` says in which line a row stands."""

    columns: Mapping[str, list[Any]]
    typed: Callable[[list[Any]], Sequence[Any]]
    where: Callable[[int], str]


class ImageTable(ImageSource[ImageTableConfig]):
    """Pictures in the order of the table.

    Paths start from ``root``, or from the folder of the table. The column of paths becomes ``path``, that
    of the ids becomes the samples' id, all others go into the rows: as integers or floats where that
    loses nothing, else as text.
    """

    def stimuli(self) -> Iterator[Stimulus]:
        path = package_path(self.config.path)
        table = _read(path)
        names = list(table.columns)
        column = _column(self.config.column, PATHS, names, path)
        if column is None:
            raise SourceError(
                f"expected a column of paths ({', '.join(PATHS)}), found {', '.join(names)}",
                where=str(path),
                hint='say which it is: column = "…"',
            )
        paths = _filled(table, column)
        id_column = _column(self.config.id, IDS, names, path)
        ids = _different(table, id_column or column)
        if id_column is None:
            ids = unique_ids(ids)
        if "path" in names and column != "path" and id_column != "path":
            raise SourceError(
                f"the paths of '{column}' become the column 'path', which is there already",
                where=str(path),
                hint="rename the column 'path'",
            )
        others = {n: table.typed(table.columns[n]) for n in names if n not in (column, id_column)}
        files = self._files(paths, path, table)
        for row, (id, file) in enumerate(zip(ids, files, strict=True)):
            columns = {"path": paths[row], **{name: values[row] for name, values in others.items()}}
            yield Stimulus(id, file, columns, file.stamp)

    def _files(self, paths: Sequence[str], table_path: Path, table: _Table) -> list[ImageFile]:
        root = self.config.root or table_path.parent
        files, missing = [], []
        for row, name in enumerate(paths):
            path = os.path.join(root, os.path.expanduser(name))
            try:
                found = os.stat(path)
            except (OSError, ValueError):
                found = None
            if found and stat.S_ISREG(found.st_mode):
                files.append(ImageFile(path, name, found.st_size, found.st_mtime_ns))
            else:
                missing.append(row)
        if missing:
            more = f" ({len(missing)} of {len(paths)} are missing)" if len(missing) > 1 else ""
            raise SourceError(
                f"there is no file '{paths[missing[0]]}'{more}",
                where=table.where(missing[0]),
                hint=f'paths start from {root}; say root = "…" for another folder',
            )
        return files


def _column(asked: str, usual: Sequence[str], names: list[str], path: Path) -> str | None:
    """The column that is asked for, or the first usual one that is there."""
    if asked:
        expect_column(asked, names, str(path))
        return asked
    return next((name for name in usual if name in names), None)


def _read(path: Path) -> _Table:
    if not path.is_file():
        raise SourceError(
            "expected a table, found no such file", where=str(path), hint="check `path`"
        )
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path)
    if path.suffix.lower() == ".txt":
        return _read_list(path)
    table = read_text_table(path)
    return _Table(table.columns, typed, table.where)


def _read_list(path: Path) -> _Table:
    """A path per line; blank lines are none."""
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    numbers = [number for number, line in enumerate(lines, 1) if line.strip()]
    if not numbers:
        raise SourceError("expected a path per line, found none", where=str(path))
    paths = [lines[number - 1] for number in numbers]
    return _Table({"path": paths}, typed, lambda row: f"{path}:{numbers[row]}")


def _read_parquet(path: Path) -> _Table:
    import pyarrow as pa
    from pyarrow import parquet, types

    try:
        with parquet.ParquetFile(
            path
        ) as file:  # read_table would make columns of `name=value` folders
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise SourceError(f"cannot be read as Parquet: {error}", where=str(path)) from error
    if not len(table):
        raise SourceError("expected rows, found none", where=str(path))
    expect_names(table.column_names, str(path))
    for field in table.schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        scalar = (types.is_integer, types.is_floating, types.is_boolean, types.is_string)
        if not any(fits(kind) for fits in (*scalar, types.is_large_string, types.is_null)):
            raise SourceError(
                f"column '{field.name}': expected numbers or text, found {field.type}",
                where=str(path),
                hint="convert it, or leave it out",
            )
    return _Table(table.to_pydict(), list, lambda row: f"{path}, row {row}")


def _filled(table: _Table, column: str) -> list[str]:
    """The values of a column as text, none of them empty."""
    values = [None if value is None else str(value) for value in table.columns[column]]
    for row, value in enumerate(values):
        if not value:
            raise SourceError(f"the field '{column}' is empty", where=table.where(row))
    return [value for value in values if value]


def _different(table: _Table, column: str) -> list[str]:
    """The values of a column as text, each of which stands there once."""
    values = _filled(table, column)
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value in first:
            raise SourceError(
                f"'{value}' in '{column}' is that of {table.where(first[value])} too",
                where=table.where(row),
                hint='say which column holds ids that differ: id = "…"',
            )
        first[value] = row
    return values
