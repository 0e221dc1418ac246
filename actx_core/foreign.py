"""Arrays in files that no run wrote, as inputs of analyses, with labels from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from actx_core.contracts import Format, Input
from actx_core.errors import PluginError, StoreError
from actx_core.files import sha256_file, sha256_json
from actx_core.joins import Join, read_columns
from actx_core.registry import registry
from actx_core.types import SAMPLE, Preview

if TYPE_CHECKING:
    import pyarrow as pa


def open_file(path: Path, inner: str = "", labels: Path | None = None) -> Mapping[str, Input]:
    """The arrays of a file by name, read lazily by the format that knows it.

    ``inner`` takes one array, or those below a group. ``labels`` is a CSV, TSV or Parquet table: with a
    column ``sample`` it is joined by that, else its lines are the rows in order. Raises StoreError.
    """
    found = {one.name: one for one in _reader(path).read(path)}
    chosen = {
        n: one for n, one in found.items() if f"{n}/".startswith(f"{inner}/" if inner else "")
    }
    if not chosen:
        what = f"there is no array '{inner}'" if inner else "there are no arrays of numbers"
        raise StoreError(
            what, where=str(path), hint=f"found {', '.join(list(found)[:8]) or 'none'}"
        )
    if labels is not None:
        chosen = {name: _labelled(one, labels) for name, one in chosen.items()}
    return {n: replace(one, preview=partial(_words, one.rows)) for n, one in chosen.items()}


def _words(table: pa.Table, rows: Sequence[int]) -> list[Preview | None]:
    """What is known of rows, in words."""
    lines = table.take(list(rows)).to_pylist()
    texts = [", ".join(str(v) for k, v in line.items() if k != SAMPLE) for line in lines]
    return [
        Preview("text", text or line[SAMPLE], line[SAMPLE] if text else "")
        for text, line in zip(texts, lines, strict=True)
    ]


def _reader(path: Path) -> Format[Any]:
    """The format that reads a file; those of plugins are asked before those of core."""
    if not path.exists():
        raise StoreError("there is no such file or folder", where=str(path))
    asked = []
    for component in sorted(registry().all("format"), key=lambda c: c.plugin == "core"):
        try:
            options = registry().load_config(component)()
            format_: Format[Any] = registry().load(component)(options)
        except (PluginError, ValidationError):  # needs a package or options that are not there
            continue
        if type(format_).read is not Format.read:
            asked.append(component.name)
            if format_.knows(path):
                return format_
    hint = f"formats that can be read: {', '.join(asked)}"
    raise StoreError(
        "this is neither a run nor a file that can be read", where=str(path), hint=hint
    )


def _labelled(one: Input, path: Path) -> Input:
    table = read_columns(path, SAMPLE)
    one = replace(one, digest=sha256_json([one.digest, sha256_file(path)]))
    if SAMPLE in table.column_names:
        return replace(one, rows=Join.of(path, SAMPLE, table).add_to(one.rows))
    rows = one.rows
    if len(table) != len(rows):
        raise StoreError(
            f"expected a column '{SAMPLE}', or a line for each of the {len(rows)} rows of"
            f" {one.name}; found {len(table)} lines",
            where=str(path),
        )
    for name in table.column_names:
        rows = rows.append_column(name, table[name])
    return replace(one, rows=rows)
