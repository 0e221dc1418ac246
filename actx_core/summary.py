"""Gathers what a report shows from a run: what ran, on what, what it left, and what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actx_core.analyze import Analysis, analyses
from actx_core.config.pipeline import AnalysisEntry, SourceEntry
from actx_core.contracts import Input
from actx_core.layout import Layout
from actx_core.maps import maps_of
from actx_core.plan import CellPlan
from actx_core.previews import Previews, RunPreviews, few, origin, share
from actx_core.report import (
    AnalysisView,
    ArrayView,
    ModelView,
    ReportPage,
    SourceView,
    TableView,
    write_report,
)
from actx_core.report.page import LINES
from actx_core.results import Run
from actx_core.stats import merge
from actx_core.tables import read_table
from actx_core.types import Preview, Receipt
from actx_core.units import size

if TYPE_CHECKING:
    import pyarrow as pa

PREVIEWS = 12
"""Samples shown of each source."""


def report_run(
    run: Run, sources: Sequence[SourceEntry], order: Sequence[AnalysisEntry], command: str = ""
) -> Path:
    """Write the report of a run and return its path.

    Samples are shown as far as ``sources`` give them; results stand in the order of these analyses, all
    others after them. ``command`` made the run.
    """
    previews = RunPreviews(run, sources)
    arrays = [_array(run, name) for name in run.arrays]
    timings = run.manifest.get("timings", {}).get("seconds", {})
    place = {entry.id: i for i, entry in enumerate(order)}
    results = sorted(analyses(run.layout), key=lambda r: place.get(r.about["analysis"], len(place)))
    page = ReportPage(
        title=run.path.absolute().name,
        facts=_facts(run, arrays),
        sources=[_source(run, name, previews) for name in _unique(run, 0)],
        models=[_model(run, name) for name in _unique(run, 1)],
        arrays=arrays,
        analyses=_analyses(run.path, results, previews.rows),
        timings=[
            *timings.items(),
            *((_title(result), result.about["seconds"]) for result in results),
        ],
        skipped=[(f"{cell}: {s.sample}", s.why) for cell, s in run.skipped],
        problems=_problems(run),
        notes=list(dict.fromkeys(note for cell in run.cells.values() for note in cell.notes)),
        command=command,
        versions=_versions(run),
    )
    return write_report(page, run.layout.report)


def report_file(file: Path, inputs: Mapping[str, Input], layout: Layout) -> Path:
    """Write the report of the analyses of a file's arrays and return its path."""

    def previews(name: str, rows: Sequence[int]) -> list[Preview | None]:
        array = origin(name, inputs)
        return inputs[array].preview(rows) if array else [None] * len(rows)

    arrays = [
        ArrayView(
            name,
            one.array.shape[0],
            one.axes[1:],
            one.array.shape[1:],
            str(one.array.dtype),
            math.prod(one.array.shape) * one.array.dtype.itemsize,
        )
        for name, one in inputs.items()
    ]
    results = analyses(layout)
    page = ReportPage(
        title=file.name,
        subtitle=f"Analyses of {file.absolute()}",
        arrays=arrays,
        analyses=_analyses(layout.root, results, previews),
        timings=[(_title(result), result.about["seconds"]) for result in results],
    )
    return write_report(page, layout.report)


def _unique(run: Run, part: int) -> list[str]:
    return list(dict.fromkeys((c.source, c.model)[part] for c in run.cells.values()))


def _facts(run: Run, arrays: Sequence[ArrayView]) -> list[tuple[str, str]]:
    samples = sum(len(run.samples(source)) for source in _unique(run, 0))
    return [
        ("samples", f"{samples:,}"),
        ("models", f"{len(_unique(run, 1)):,}"),
        ("arrays", f"{len(arrays):,}"),
        ("activations", size(sum(array.bytes for array in arrays))),
        ("skipped", f"{len(run.skipped):,}"),
    ]


def _source(run: Run, name: str, previews: RunPreviews) -> SourceView:
    table = run.samples(name)
    step = max(1, len(table) // PREVIEWS)
    shown = table["sample"].to_pylist()[::step][:PREVIEWS]
    hidden = {"stamp", "sha256"}
    cell = next(c for c in run.cells.values() if c.source == name)
    return SourceView(
        name,
        str(cell.request["source"]["type"]),
        len(table),
        [column for column in table.column_names if column not in hidden],
        previews.samples(name, shown),
    )


def _model(run: Run, name: str) -> ModelView:
    cell = next(c for c in run.cells.values() if c.model == name)
    about = run.manifest.get("cells", {}).get(cell.id, {}).get("model", {})
    options = {k: v for k, v in cell.request["model"].items() if k != "type"}
    facts = [
        (key, _words(value))
        for key, value in {**options, **about.get("facts", {})}.items()
        if value not in (None, "", [], {})
    ]
    if about.get("fingerprint"):
        facts.append(("weights sha256", about["fingerprint"][:16]))
    return ModelView(name, str(cell.request["model"]["type"]), facts)


def _words(value: Any) -> str:
    """An option as a reader says it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(one)}" for key, one in value.items() if one is not None)
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _array(run: Run, name: str) -> ArrayView:
    array = run[name]
    receipts = run.of(array.cell, array.tap.name)
    stats = merge(receipts[shard].stats[array.tap.name] for shard in sorted(receipts))
    return ArrayView(
        name,
        len(array),
        array.axes[1:],
        array.spec.row_shape,
        array.spec.dtype,
        len(array) * array.spec.row_bytes,
        " → ".join(_pooled(options) for options in array.tap.pool),
        stats.get("mean"),
        math.sqrt(stats["variance"]) if "variance" in stats else None,
        int(stats["nonfinite"]),
    )


def _pooled(options: Mapping[str, Any]) -> str:
    name = str(options["type"]).rpartition("/")[2]
    over = options.get("over")
    return f"{name} over {', '.join(over)}" if isinstance(over, list | tuple) else name


def _problems(run: Run) -> list[str]:
    """What went wrong in each cell, each kind of trouble once."""
    found: dict[tuple[str, str], str] = {}
    for cell in run.cells.values():
        for receipt in run.receipts:
            if receipt.cell == cell.id:
                for subject, text in troubles(cell, receipt).items():
                    found.setdefault((cell.id, subject), text)
    return list(found.values())


def troubles(cell: CellPlan, receipt: Receipt) -> dict[str, str]:
    """What the user should know of a shard, by subject: values that are not finite, too little memory."""
    found = {
        tap: f"{cell.id}/{tap} holds values that are not finite, first at {first}"
        for tap, first in receipt.nonfinite.items()
    }
    if receipt.halved:
        tap = max((planned.tap for planned in cell.taps), key=lambda t: t.sample_bytes)
        found["memory"] = (
            f"{cell.id}: a batch of {cell.batch_size} did not fit in memory, where the tap '{tap.name}'"
            f" alone takes {size(tap.sample_bytes * cell.batch_size)}; {receipt.batch} fitted, so a next run"
            f" is faster with --set run.batch_size={receipt.batch}"
        )
    return found


def _analyses(root: Path, results: Sequence[Analysis], previews: Previews) -> list[AnalysisView]:
    part = share(rows for result in results for rows in result.about["groups"].values())
    return [_analysis(root, result, previews, part) for result in results]


def _analysis(root: Path, result: Analysis, previews: Previews, part: float) -> AnalysisView:
    about, folder = result.about, result.folder
    relative = folder.relative_to(root).as_posix()
    names = [i["name"] for i in about["inputs"]]
    return AnalysisView(
        about["analysis"],
        about["type"],
        ", ".join(names),
        about["notes"],
        about["metrics"],
        [
            _table(name, read_table(folder / file), f"{relative}/{Path(file).with_suffix('.csv')}")
            for name, file in about["tables"].items()
        ],
        {name: (folder / file).read_bytes() for name, file in about["figures"].items()},
        maps_of(result, partial(previews, names[0])),
        {t: previews(names[0], rows) for t, rows in few(about["groups"], part).items()},
        relative,
    )


def _table(name: str, table: pa.Table, path: str) -> TableView:
    return TableView.of(name, table.slice(0, LINES).to_pydict(), path, len(table))


def _title(result: Analysis) -> str:
    return f"{result.about['analysis']} on {', '.join(i['name'] for i in result.about['inputs'])}"


def _versions(run: Run) -> dict[str, str]:
    manifest = run.manifest
    plugins = [text.partition(" ")[::2] for text in manifest.get("plugins", {}).values()]
    return {
        "python": manifest.get("python", ""),
        **dict(plugins),
        **manifest.get("packages", {}),
    }
