"""``actx plan``: what a pipeline will store and its analyses will take, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actx_core.cli.command import Output, command, overrides
from actx_core.cli.text import shape
from actx_core.units import size

if TYPE_CHECKING:
    from actx_core.config.pipeline import AnalysisEntry
    from actx_core.forecast import Forecast
    from actx_core.plan import CellPlan, Plan, TapPlan

HEADS = ("tap", "activation", "pool", "stored", "rows", "size")
ANALYSES = ("analysis", "type", "inputs", "memory")


@command(
    json="""
{"out", "bytes", "exact", "needed", "free", "cells": [
  {"id", "samples", "shards", "batch_size", "notes": [text], "taps": [
    {"name", "module", "axes", "shape", "pool": [{option: value}], "stored":
      {"kind", "axes", "row_shape", "dtype", "rows", "bytes", "exact"}}]}],
  "analyses": [{"id", "type", "calls": [
    {"inputs": [name], "memory", "exact", "why", "refused"}]}]}
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@overrides
def plan(out: Output, file: Path, sets: tuple[str, ...]) -> None:
    """Show what a pipeline will store and what memory its analyses take.

    Loads no weights. "≤" marks an upper bound, where the number of rows depends on the data.
    "refused:" begins a line for an analysis that such data would not pass.
    """
    from actx_core.forecast import forecasts
    from actx_core.run import Pipeline

    pipeline = Pipeline.from_file(file, sets)
    found, entries = pipeline.plan(), pipeline.config.analyses
    foretold = forecasts(found, entries)
    calls = [(entry, foretold[entry.id]) for entry in entries]
    out.object(to_json(found) | {"analyses": [_analysis(*call) for call in calls]})
    for cell in found.cells:
        _print(out, cell)
    if calls:
        _print_analyses(out, calls)
    out.line(
        f"{_total(found)} to write, {size(found.needed)} needed at most, {size(found.free)} free"
    )


def _print(out: Output, cell: CellPlan) -> None:
    samples = "?" if cell.samples is None else cell.samples
    out.line(
        f"{cell.id}: {samples} samples, {len(cell.shards)} shards, batches of {cell.batch_size}"
    )
    out.table(HEADS, [_row(cell, tap) for tap in cell.taps], right=("rows", "size"))
    for note in cell.notes:
        out.line(f"note: {note}")
    out.line()


def _print_analyses(out: Output, calls: Sequence[tuple[AnalysisEntry, Sequence[Forecast]]]) -> None:
    rows = [(e.id, e.component.name, _inputs(found), _memory(found)) for e, found in calls]
    out.table(ANALYSES, rows)
    for one in (one for _, found in calls for one in found if one.refused):
        out.line(f"refused: {one.refused}" + ("" if one.exact else "  (with the most rows)"))
    out.line()


def _inputs(found: Sequence[Forecast]) -> str:
    names = dict.fromkeys(name for one in found for name in one.inputs)
    return f"{len(names)} arrays" if len(names) > 1 else "".join(names) or "-"


def _memory(found: Sequence[Forecast]) -> str:
    """That of the call that takes most; calls follow each other."""
    if any(one.refused for one in found):
        return "refused"
    largest = max(found, key=lambda one: one.bytes or 0)
    unknown = "; ".join(dict.fromkeys(one.why for one in found if one.why))
    if largest.bytes is None:
        return f"? ({unknown})"
    bound = "≥ " if unknown else "" if all(one.exact for one in found) else "≤ "
    return f"{bound}{size(largest.bytes)}" + (f" ({unknown})" if unknown else "")


def _row(cell: CellPlan, tap: TapPlan) -> Sequence[str]:
    rows, exact = cell.rows(tap)
    bound = "" if exact else "≤ "
    return (
        tap.name,
        shape(tap.tap.shape, tap.tap.axes[1:]),
        " + ".join(_pool(options) for options in tap.pool) or "-",
        f"{shape(tap.stored.row_shape)} {tap.dtype}",
        f"? {tap.stored.row_kind}s" if rows is None else f"{bound}{rows} {tap.stored.row_kind}s",
        "?" if rows is None else f"{bound}{size(cell.bytes(tap))}",
    )


def _pool(options: Mapping[str, Any]) -> str:
    """``mean(y, x)``."""
    values = [
        ", ".join(v) if isinstance(v, list | tuple) else str(v)
        for k, v in options.items()
        if k != "type"
    ]
    return f"{str(options['type']).rpartition('/')[2]}({', '.join(values)})"


def _total(plan: Plan) -> str:
    known = all(size is not None for _, _, size, _ in plan.arrays())
    bound = "" if plan.exact else "≤ " if known else "≥ "
    return f"{bound}{size(plan.bytes)}"


def to_json(plan: Plan) -> dict[str, Any]:
    """The plan as ``actx plan --json`` prints it."""
    return {
        "out": str(plan.out),
        "bytes": plan.bytes,
        "exact": plan.exact,
        "needed": plan.needed,
        "free": plan.free,
        "cells": [
            {
                "id": cell.id,
                "samples": cell.samples,
                "shards": len(cell.shards),
                "batch_size": cell.batch_size,
                "notes": list(cell.notes),
                "taps": [_tap(cell, tap) for tap in cell.taps],
            }
            for cell in plan.cells
        ],
    }


def _analysis(entry: AnalysisEntry, found: Sequence[Forecast]) -> dict[str, Any]:
    return {
        "id": entry.id,
        "type": f"{entry.component.plugin}/{entry.component.name}",
        "calls": [
            {
                "inputs": list(one.inputs),
                "memory": one.bytes,
                "exact": one.exact,
                "why": one.why,
                "refused": str(one.refused or ""),
            }
            for one in found
        ],
    }


def _tap(cell: CellPlan, tap: TapPlan) -> dict[str, Any]:
    rows, exact = cell.rows(tap)
    spec = tap.spec(cell, rows)
    return {
        "name": tap.name,
        "module": tap.tap.module,
        "axes": list(tap.tap.axes),
        "shape": list(tap.tap.shape),
        "pool": [dict(options) for options in tap.pool],
        "stored": {
            "kind": spec.kind,
            "axes": list(spec.axes),
            "row_shape": list(spec.row_shape),
            "dtype": spec.dtype,
            "rows": rows,
            "bytes": cell.bytes(tap),
            "exact": exact,
        },
    }
