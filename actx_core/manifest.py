"""run.json: what was asked, what was found, with which versions, and the digest of every file."""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from actx_core.config.pipeline import PipelineConfig
from actx_core.files import read_json, sha256_file, sha256_json, write_json
from actx_core.layout import HINT, ROWS
from actx_core.registry import registry
from actx_core.results import Run


def write_manifest(run: Run, config: PipelineConfig, base: Path, *, complete: bool) -> None:
    """Write run.json. ``complete`` says that analyses and exports are done too.

    Equal runs give equal files but for ``timings``.
    """
    plugins = dict(registry().versions())
    manifest: dict[str, Any] = {
        "actx": 1,
        "pipeline": config.given,
        "overrides": list(config.overrides),
        "base": os.path.relpath(base, run.path),
        "complete": complete,
        "seed": config.run.seed,
        "plugins": plugins,
        "packages": _packages(plugins),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cells": {cell_id: _cell(run, cell_id) for cell_id in run.cells},
        "files": _files(run),
        "timings": {
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "files": _timed_files(run),
            "seconds": {
                cell: round(sum(r.seconds for r in run.receipts if r.cell == cell), 3)
                for cell in run.cells
            },
        },
    }
    _write(run, manifest)


def manifest_digest(manifest: dict[str, Any]) -> str:
    """sha256 of a manifest's content, but for the digest itself."""
    timings = {k: v for k, v in manifest.get("timings", {}).items() if k != "sha256"}
    return sha256_json({**manifest, "timings": timings})


def reopen_manifest(run: Run) -> None:
    """The run will grow: until it is finished again, run.json vouches for no file."""
    if run.manifest.get("complete"):
        _write(run, {**run.manifest, "complete": False, "files": {}})


def _write(run: Run, manifest: dict[str, Any]) -> None:
    digest = manifest_digest(manifest)
    timings = {**manifest["timings"], "sha256": digest}
    write_json(run.layout.manifest, {**manifest, "timings": timings})


def _cell(run: Run, cell_id: str) -> dict[str, Any]:
    cell = run.cells[cell_id]
    receipts = [r for r in run.receipts if r.cell == cell_id]
    model = run.layout.model(cell_id)
    return {
        "request": cell.request,
        "model": read_json(model, hint=HINT) if model.exists() else {},
        "notes": list(cell.notes),
        "batch_size": cell.batch_size,
        "largest_batch": max((r.batch for r in receipts), default=0),
        "shards": len(cell.shards),
        "samples": sum({r.shard: r.samples for r in receipts}.values()),
        "skipped": [
            {"sample": s.sample, "why": s.why} for where, s in run.skipped if where == cell_id
        ],
        "arrays": {
            tap.name: {
                "pool": list(tap.pool),
                "axes": tap.spec(cell).axes,
                "dtype": tap.dtype,
                "digest": run[f"{cell_id}/{tap.name}"].digest,
            }
            for tap in cell.taps
        },
    }


def _files(run: Run) -> dict[str, str]:
    """sha256 of every file that is the same whenever and wherever the run is done."""
    found = {"plan.json": sha256_file(run.layout.plan)}
    for source in {cell.source for cell in run.cells.values()}:
        table = run.layout.samples(source)
        for path in (table, table.with_suffix(".csv")):
            if path.exists():
                found[path.relative_to(run.path).as_posix()] = sha256_file(path)
    for cell in run.cells.values():
        for array in sorted({n for r in run.receipts if r.cell == cell.id for n in r.digests}):
            joined = run.sidecar(cell, array)
            if joined["shards"]:
                found[joined["file"]] = joined["sha256"]
                sidecar = run.layout.sidecar(cell.id, array)
                found[sidecar.relative_to(run.path).as_posix()] = sha256_file(sidecar)
            suffix = ".parquet" if array.startswith(ROWS) else run.suffix
            for segment in run.segments(cell, array, suffix):
                name = segment.path.relative_to(run.path).as_posix()
                if name not in found and len(segment.shards) == 1:
                    found[name] = run.of(cell, array)[segment.shards[0]].files[name]
    return found


def _timed_files(run: Run) -> dict[str, str]:
    """sha256 of the files that hold timings, hosts or devices."""
    paths = [run.layout.compacted, *(run.layout.model(cell) for cell in run.cells)]
    return {p.relative_to(run.path).as_posix(): sha256_file(p) for p in sorted(paths) if p.exists()}


def _packages(plugins: dict[str, str]) -> dict[str, str]:
    """Versions of what the plugins' distributions require, directly."""
    names = {"numpy", "pyarrow", "h5py", "torch"}
    for text in plugins.values():
        for requirement in metadata.requires(text.split(" ")[0]) or ():
            names.add(re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0])
    found = {}
    for name in sorted(names, key=str.lower):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
