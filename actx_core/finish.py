"""Joins the shard files of a run into one file per array, so that a crash at any moment loses nothing.

The joined file is first written beside its place (``.next``), then the sidecar that describes it, then it
takes its place, and only then are the shard files deleted. ``recover`` completes what a crash cut short.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from actx_core.files import atomic, clean_temporary, damaged, sha256_file, write_json
from actx_core.layout import HINT, ROWS, compact_receipts
from actx_core.plan import CellPlan
from actx_core.results import Run, open_run
from actx_core.stats import merge
from actx_core.tables import join_tables
from actx_core.types import Stage

TABLE = ".parquet"
Watch = Callable[[Stage], None]


def join_run(path: Path, join: bool, watch: Watch) -> Run:
    """Join what is complete and compact the receipts. ``join`` is about arrays; row tables always are."""
    run = recover(path)
    _expect_files(run)
    for cell in run.cells.values():
        if run.missing(cell):
            continue
        kinds = sorted({k for r in run.receipts if r.cell == cell.id for k in r.rows})
        arrays = [f"{ROWS}{kind}" for kind in kinds] + [t.name for t in cell.taps if join]
        for array in arrays:
            suffix = TABLE if array.startswith(ROWS) else run.suffix
            if len(run.segments(cell, array, suffix)) > 1 or not run.sidecar(cell, array)["shards"]:
                watch(Stage("join", f"{cell.id}/{array}"))
                _join(run, cell, array, suffix)
            _delete_parts(run, cell, array, suffix)
    compact_receipts(run.layout, run.receipts)
    return open_run(path)


def _expect_files(run: Run) -> None:
    """Raise StoreError where a file of a committed shard is gone."""
    for cell in run.cells.values():
        for array in sorted({n for r in run.receipts if r.cell == cell.id for n in r.digests}):
            suffix = TABLE if array.startswith(ROWS) else run.suffix
            for segment in run.segments(cell, array, suffix):
                if not segment.path.exists():
                    raise damaged(segment.path, "the file is missing", HINT)


def recover(path: Path) -> Run:
    """Complete a join that was cut short, and remove leftovers. Nobody else may be writing."""
    clean_temporary(path)
    run = open_run(path)
    for pending in path.rglob("*.next"):
        final = pending.with_name(pending.name.removesuffix(".next"))
        sizes = [
            run.sidecar(cell, array).get("size")
            for cell in run.cells.values()
            for array in {name for r in run.receipts if r.cell == cell.id for name in r.digests}
            if run.layout.joined(cell.id, array, final.suffix) == final
        ]
        if sizes and sizes[0] == pending.stat().st_size:
            os.replace(pending, final)
        else:
            pending.unlink()
    return run


def _join(run: Run, cell: CellPlan, array: str, suffix: str) -> None:
    """Write the joined file, its sidecar, and put it in its place."""
    segments = run.segments(cell, array, suffix)
    final = run.layout.joined(cell.id, array, suffix)
    pending = final.with_name(f"{final.name}.next")
    rows = sum(s.rows for s in segments)
    about: dict[str, object] = {
        "shards": [shard for s in segments for shard in s.shards],
        "rows": rows,
        "file": final.relative_to(run.path).as_posix(),
    }
    with atomic(pending) as temporary:
        parts = [s.path for s in segments]
        if array.startswith(ROWS):
            join_tables(parts, temporary)
        else:
            spec = next(t for t in cell.taps if t.name == array).spec(cell, rows)
            run.store.join(parts, temporary, spec)
            receipts = run.of(cell, array)
            about |= {
                "tap": array,
                "axes": spec.axes,
                "shape": [rows, *spec.row_shape],
                "dtype": spec.dtype,
                "stats": merge(receipts[shard].stats[array] for shard in sorted(receipts)),
            }
    about |= {"sha256": sha256_file(pending), "size": pending.stat().st_size}
    write_json(run.layout.sidecar(cell.id, array), about)
    os.replace(pending, final)


def _delete_parts(run: Run, cell: CellPlan, array: str, suffix: str) -> None:
    """Remove the shard files that the joined file holds."""
    folder = run.layout.part(cell.id, array, 0, suffix).parent
    if folder.is_dir():
        shutil.rmtree(folder)
