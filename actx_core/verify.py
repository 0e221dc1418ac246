"""Reads every file of a run and compares it with the digests that were taken when it was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from actx_core.analyze import RESULT
from actx_core.errors import ActxError
from actx_core.files import read_json, sha256_file, sha256_json
from actx_core.layout import ROWS
from actx_core.manifest import manifest_digest
from actx_core.results import Run, open_run

MISSING = "the file is missing"
CHANGED = "its content has changed since it was written"


def verify(path: str | Path, watch: Callable[[str], None] | None = None) -> list[str]:
    """One sentence per damage found; nothing where all is well. ``watch`` is told each file.

    Files are compared byte by byte, arrays also row by row, whatever their format. The report can be made
    again and is not checked. Raises StoreError where the folder holds no run or a file cannot be read.
    """
    watch = watch or (lambda _: None)
    root = Path(path)
    problems = _check_vouched(root, watch)
    if any(problem.partition(": ")[0].endswith((".json", ".jsonl")) for problem in problems):
        return problems  # what describes the rest cannot be trusted
    run = open_run(root)
    if not run.manifest and run.complete:
        problems.append(f"run.json: {MISSING}")
    try:
        problems += _check_files(root, dict(_committed(run)), watch)
        for name in run.arrays:
            problems += _check_rows(run, name)
        for folder in sorted((root / "analyses").glob("*/[!.]*")):
            problems += _check_result(root, folder, watch)
    except (KeyError, TypeError, AttributeError) as error:
        problems.append(f"receipts: they do not fit together ({error!r})")
    return list(dict.fromkeys(problems))


def _check_vouched(root: Path, watch: Callable[[str], None]) -> list[str]:
    """run.json itself, and every file that it vouches for."""
    path = root / "run.json"
    if not path.exists():
        return []
    about = read_json(path)
    timings = about.get("timings", {})
    if timings.get("sha256") != manifest_digest(about):
        return [f"run.json: {CHANGED}"]
    if not about["complete"]:
        return []
    return _check_files(root, {**about["files"], **timings["files"]}, watch)


def _check_files(
    root: Path, expected: Mapping[str, str], watch: Callable[[str], None]
) -> list[str]:
    problems = []
    for name, digest in sorted(expected.items()):
        watch(name)
        if not (root / name).exists():
            problems.append(f"{name}: {MISSING}")
        elif sha256_file(root / name) != digest:
            problems.append(f"{name}: {CHANGED}")
    return problems


def _committed(run: Run) -> Iterator[tuple[str, str]]:
    """(file, sha256) of the arrays and row tables, joined or shard by shard, run.json aside."""
    vouched = run.manifest.get("files", {})
    for cell in run.cells.values():
        for array in sorted({n for r in run.receipts if r.cell == cell.id for n in r.digests}):
            joined = run.sidecar(cell, array)
            if joined["shards"] and joined["file"] not in vouched:
                yield joined["file"], joined["sha256"]
            suffix = ".parquet" if array.startswith(ROWS) else run.suffix
            for shard, receipt in run.of(cell, array).items():
                part = run.layout.part(cell.id, array, shard, suffix)
                name = part.relative_to(run.path).as_posix()
                if shard not in joined["shards"] and name not in vouched:
                    yield name, receipt.files[name]


def _check_result(root: Path, folder: Path, watch: Callable[[str], None]) -> list[str]:
    """One analysis: its result.json and the files that it names."""
    name = folder.relative_to(root).as_posix()
    path = folder / RESULT
    if not path.exists():
        return [f"{name}/{RESULT}: {MISSING}"]
    about = read_json(path)
    watch(f"{name}/{RESULT}")
    if about.pop("sha256", "") != sha256_json(about):
        return [f"{name}/{RESULT}: {CHANGED}"]
    return _check_files(root, {f"{name}/{f}": d for f, d in about["files"].items()}, watch)


def _check_rows(run: Run, name: str) -> list[str]:
    """Compare the row bytes of each shard with its receipt."""
    array = run[name]
    known = run.of(array.cell, array.tap.name)
    problems = []
    for segment in array.segments:
        try:
            stored, first = array.stored(segment), 0
            for shard in segment.shards:
                count = known[shard].rows[array.spec.kind]
                values = np.ascontiguousarray(stored[first : first + count]).reshape(-1)
                digest = hashlib.sha256(values.data).hexdigest()
                if digest != known[shard].digests[array.tap.name]:
                    problems.append(f"{name}: the rows of shard {shard} are not those written")
                first += count
        except (ActxError, OSError, ValueError) as error:
            problems.append(f"{name}: {error}")
    return problems
