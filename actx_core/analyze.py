"""Analyses of arrays: which each gets, chains, and the cache by digest. Also exports."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core.config.assemble import assemble_sources
from actx_core.config.load import load_analyses
from actx_core.config.pipeline import AnalysisEntry, PipelineConfig, SourceEntry
from actx_core.config.problems import did_you_mean
from actx_core.content import meaning
from actx_core.contracts import Analyzer, Config, Input
from actx_core.errors import AnalysisError, ConfigError
from actx_core.files import clean_beside, encode, read_json, sha256_file, sha256_json, write_json
from actx_core.hookspecs import Component
from actx_core.layout import Layout
from actx_core.previews import Previews, RunPreviews
from actx_core.registry import registry
from actx_core.results import Run
from actx_core.tables import read_table, to_table, write_csv, write_table
from actx_core.types import SAMPLE, Result, Stage

if TYPE_CHECKING:
    import pyarrow as pa

Watch = Callable[[Stage], None]
Inputs = Mapping[str, Callable[[], Input]]
"""Arrays by name, each made into an input when an analysis wants it."""
_OWN = ("actx", "run", "analyze")
"""The tables of a pipeline that its analyses depend on."""
RESULT = "result.json"
ASSIGNMENTS = "assignments"
"""A table with a line for each row of the input: its columns are those of the rows in a chain."""
ALL = "all"
"""Folder of a result that is about all inputs; the name of an array has slashes, which are encoded."""


@dataclass(frozen=True)
class Analysis:
    """One stored result: the folder and what its result.json says."""

    folder: Path
    about: Mapping[str, Any]


def analyze(
    inputs: Inputs, layout: Layout, entries: Sequence[AnalysisEntry], watch: Watch | None = None
) -> list[Path]:
    """Run analyses of named arrays; what is up to date is left alone. Returns the result folders."""
    watch = watch or (lambda _: None)
    folders = []
    for entry, call in _jobs(inputs, layout, entries):
        folder, digest = _place(layout, entry, call)
        folders.append(folder)
        if _is_current(folder, digest):
            continue
        watch(Stage("analyze", f"{entry.id}: {', '.join(i.name for i in call)}"))
        _analyze(entry, call, folder, digest)
    return folders


def inputs_of(run: Run, sources: Sequence[SourceEntry]) -> Inputs:
    """The arrays of a run, with previews from its sources."""
    previews = RunPreviews(run, sources).rows
    return {name: partial(_input, run, name, previews) for name in run.arrays}


def stale(run: Run, config: PipelineConfig) -> bool:
    """Whether any analysis would have to run."""
    jobs = _jobs(inputs_of(run, config.sources), run.layout, config.analyses, lenient=True)
    return any(not _is_current(*_place(run.layout, entry, call)) for entry, call in jobs)


def analyses(layout: Layout) -> list[Analysis]:
    """Every stored result, in the order of names."""
    found = sorted((layout.root / "analyses").glob(f"*/*/{RESULT}"))
    return [Analysis(path.parent, read_json(path)) for path in found]


def export_run(run: Run, component: Component, config: Config, path: Path) -> list[Path]:
    """Write a run in another format, and remove what a killed export left. Returns the files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = list(registry().load(component)(config).write(run, path))
    for file in files:
        clean_beside(file.resolve())
    return files


def own_analyses(run: Run) -> tuple[AnalysisEntry, ...]:
    """The analyses of the pipeline that made a run; its data and models need not be here."""
    pipeline, base = _recorded(run)
    tables = {name: pipeline[name] for name in pipeline if name in _OWN}
    return load_analyses(tables, base=base) if tables.get("analyze") else ()


def own_sources(run: Run) -> tuple[SourceEntry, ...]:
    """The sources of a run that can be read here."""
    return assemble_sources(*_recorded(run))


def _recorded(run: Run) -> tuple[dict[str, Any], Path]:
    """The pipeline that made a run, and the folder from which its paths start."""
    if not run.manifest:
        raise ConfigError(
            "the run has no run.json yet", where=str(run.path), hint="finish it first"
        )
    return run.manifest["pipeline"], (run.path / run.manifest["base"]).absolute()


def _jobs(
    arrays: Inputs, layout: Layout, entries: Sequence[AnalysisEntry], lenient: bool = False
) -> Iterator[tuple[AnalysisEntry, list[Input]]]:
    """(analysis, inputs of one call), in an order in which chains work."""
    done: dict[str, list[Input]] = {}
    for entry in _ordered(entries):
        inputs = _inputs(arrays, entry, done)
        if not inputs and not lenient:
            raise AnalysisError(
                f"nothing matches on = {list(entry.on)}",
                where=entry.id,
                hint=did_you_mean(entry.on[0], [*arrays, *done], "there are"),
            )
        calls = [inputs] if _many(layout, entry) else [[one] for one in inputs]
        done[entry.id] = []
        for call in calls:
            if call:
                yield entry, call
                done[entry.id] += _outputs(layout, entry, call)


def _ordered(entries: Sequence[AnalysisEntry]) -> list[AnalysisEntry]:
    """Each analysis after those it reads; cycles were refused with the pipeline."""
    left, ordered = list(entries), []
    while left:
        waiting = {e.id for e in left}
        ready = next((e for e in left if not waiting & (set(e.on) - {e.id})), left[0])
        left.remove(ready)
        ordered.append(ready)
    return ordered


def _inputs(arrays: Inputs, entry: AnalysisEntry, done: Mapping[str, list[Input]]) -> list[Input]:
    found: dict[str, Input] = {}
    for pattern in entry.on:
        for one in done.get(pattern, ()):
            found[one.name] = one
        for name, load in arrays.items():
            if (pattern == "**" or fnmatchcase(name, pattern)) and name not in found:
                found[name] = load()
    return list(found.values())


def _input(run: Run, name: str, previews: Previews) -> Input:
    array = run[name]
    digest = sha256_json([array.digest, joined]) if (joined := run.joined) else array.digest
    return Input(name, array, array.axes, array.rows, digest, partial(previews, name))


def _place(layout: Layout, entry: AnalysisEntry, inputs: Sequence[Input]) -> tuple[Path, str]:
    """The folder of a result and the digest of all it depends on."""
    name = ALL if _many(layout, entry) else inputs[0].name
    text = json.dumps(
        [
            _type(entry),
            registry().versions().get(entry.component.plugin, ""),
            meaning(entry.config),
            [[i.name, i.digest] for i in inputs],
        ],
        sort_keys=True,
    )
    return layout.analysis(entry.id) / encode(name), hashlib.sha256(text.encode()).hexdigest()


def _many(layout: Layout, entry: AnalysisEntry) -> bool:
    """Whether one call takes all inputs; an earlier result tells without importing the analyzer."""
    for path in layout.analysis(entry.id).glob(f"*/{RESULT}"):
        if read_json(path).get("type") == _type(entry):
            return path.parent.name == ALL
    return bool(registry().load(entry.component).many)


def _type(entry: AnalysisEntry) -> str:
    return f"{entry.component.plugin}/{entry.component.name}"


def _is_current(folder: Path, digest: str) -> bool:
    path = folder / RESULT
    return path.exists() and read_json(path).get("digest") == digest


def _analyze(entry: AnalysisEntry, inputs: Sequence[Input], folder: Path, digest: str) -> None:
    """Run one analyzer and store its result; the old result stays until the new one is complete."""
    began = time.perf_counter()
    work = folder.with_name(f".{folder.name}.{digest[:8]}")
    work.mkdir(parents=True, exist_ok=True)
    analyzer: Analyzer[Any] = registry().load(entry.component)(entry.config)
    try:
        result = analyzer.run(inputs, work)
    except AnalysisError as error:
        error.where = error.where or f"{entry.id} on {inputs[0].name}"
        raise
    about = _store(result, work, inputs)
    files = sorted(path for path in work.rglob("*") if path.is_file())
    about |= {
        "files": {p.relative_to(work).as_posix(): sha256_file(p) for p in files},
        "analysis": entry.id,
        "type": _type(entry),
        "options": entry.config.model_dump(mode="json"),
        "inputs": [{"name": i.name, "digest": i.digest, "rows": i.array.shape[0]} for i in inputs],
        "digest": digest,
        "seconds": round(time.perf_counter() - began, 3),
    }
    write_json(work / RESULT, {**about, "sha256": sha256_json(about)}, sort_keys=False)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(work, folder)


def _store(result: Result, folder: Path, inputs: Sequence[Input]) -> dict[str, Any]:
    """Write tables, arrays and figures; return what result.json says of them."""
    tables, arrays, figures = {}, {}, {}
    for name, columns in result.tables.items():
        write_table(folder / f"{encode(name)}.parquet", columns)
        write_csv(folder / f"{encode(name)}.csv", to_table(columns))
        tables[name] = f"{encode(name)}.parquet"
    for name, (array, axes) in result.arrays.items():
        np.save(folder / f"{encode(name)}.npy", array)
        arrays[name] = {"file": f"{encode(name)}.npy", "axes": list(axes), "shape": array.shape}
    for name, content in result.figures.items():
        suffix = ".png" if content.startswith(b"\x89PNG") else ".svg"
        (folder / f"{encode(name)}{suffix}").write_bytes(content)
        figures[name] = f"{encode(name)}{suffix}"
    follows = [a for a in arrays.values() if a["axes"][:1] == ["row"]]
    if follows:
        write_table(folder / "rows.parquet", _rows(inputs[0].rows, result))
    return {
        "tables": tables,
        "arrays": arrays,
        "figures": figures,
        "groups": {title: [int(r) for r in rows] for title, rows in result.groups.items()},
        "notes": list(result.notes),
        "metrics": {name: float(value) for name, value in result.metrics.items()},
    }


def _rows(rows: pa.Table, result: Result) -> pa.Table:
    """The rows of the input, and as columns what the result's table of assignments says of each."""
    told = to_table(result.tables.get(ASSIGNMENTS, {}))
    if len(told) != len(rows):
        return rows
    new = [name for name in told.column_names if name not in ("row", SAMPLE)]
    rows = rows.drop_columns([name for name in new if name in rows.column_names])
    for name in new:
        rows = rows.append_column(name, told[name])
    return rows


def _outputs(layout: Layout, entry: AnalysisEntry, inputs: Sequence[Input]) -> list[Input]:
    """What a stored result offers to other analyses: its arrays that follow the input's rows."""
    folder, digest = _place(layout, entry, inputs)
    if not _is_current(folder, digest):
        return []
    found = []
    for name, about in read_json(folder / RESULT)["arrays"].items():
        if about["axes"][:1] == ["row"]:
            array = np.load(folder / about["file"], mmap_mode="r")
            full = f"{entry.id}/{inputs[0].name}/{name}"
            content = hashlib.sha256(f"{digest}/{name}".encode()).hexdigest()
            rows = read_table(folder / "rows.parquet")
            found.append(Input(full, array, tuple(about["axes"]), rows, content, inputs[0].preview))
    return found
