"""``actx peek``: the first samples of a pipeline, as they are and as the models get them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actx_core.cli.command import Output, command, overrides

if TYPE_CHECKING:
    from actx_core.peek import Peek, SourcePeek


@command(
    json="""
{"sources": [{"id", "gives", "samples", "columns": {name: type},
    "rows": [{column: value}], "contents": [text]}],
  "cells": [{"id", "inputs", "texts": [text]}], "files": [path]}
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@overrides
@click.option(
    "--out",
    "sheet",
    type=click.Path(path_type=Path),
    default="peek.png",
    show_default=True,
    help="The contact sheet.",
)
def peek(out: Output, file: Path, sets: tuple[str, ...], sheet: Path) -> None:
    """Look at the data as the models get them.

    Prints columns, dtypes and the first three samples of every source. Images are drawn as each model gets
    them on one contact sheet: a row for each model, a column for each sample.
    """
    from actx_core.peek import peek as look
    from actx_core.run import Pipeline

    found = look(Pipeline.from_file(file, sets).config)
    files = [str(path) for path in _files(found, sheet)]
    cells = [
        {
            "id": cell.id,
            "inputs": cell.inputs,
            "texts": [p.data for p in cell.previews if p and p.kind == "text"],
        }
        for cell in found.cells
    ]
    out.object({"sources": [asdict(s) for s in found.sources], "cells": cells, "files": files})
    for source in found.sources:
        _print(out, source)
    for cell in found.cells:
        out.line(f"{cell.id} gets {cell.inputs}")
        for sample, preview in zip(cell.samples, cell.previews, strict=True):
            if preview and preview.kind == "text":
                out.line(f"  {sample}: {preview.data!s}")
    for path in files:
        out.line(path)


def _print(out: Output, source: SourcePeek) -> None:
    count = "?" if source.samples is None else source.samples
    out.line(f"source {source.id}: {count} samples, {source.gives}")
    heads = [f"{name} ({kind})" for name, kind in source.columns.items()]
    rows = [
        [*("" if row.get(n) is None else str(row[n]) for n in source.columns), content]
        for row, content in zip(source.rows, source.contents, strict=True)
    ]
    out.table([*heads, "content"], rows)
    out.line()


def _files(found: Peek, sheet: Path) -> Iterator[Path]:
    """Write the contact sheet, and drawings beside it."""
    from actx_core.peek import contact_sheet

    png = contact_sheet(found.cells)
    if png is not None:
        sheet.write_bytes(png)
        yield sheet
    for cell in found.cells:
        for number, preview in enumerate(cell.previews):
            if preview is not None and preview.kind == "svg":
                path = sheet.with_name(f"{sheet.stem}.{cell.id.replace('/', '.')}.{number}.svg")
                path.write_text(str(preview.data), encoding="utf-8")
                yield path
