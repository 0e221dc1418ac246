"""``actx run``: does what a pipeline asks for, and what an earlier run of it has left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actx_core.cli.command import Output, command, overrides
from actx_core.cli.text import duration
from actx_core.units import size

if TYPE_CHECKING:
    from actx_core.cli.watch import Watch
    from actx_core.config.pipeline import PipelineConfig
    from actx_core.plan import Plan
    from actx_core.results import Run

SHOWN = 5
"""Skipped samples that are named at the end."""


def _slice(
    ctx: click.Context, option: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    """``3/16`` as (3, 16)."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)/(\d+)", value)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise click.BadParameter(f"expected i/n with 1 <= i <= n, such as 3/16, found {value!r}")
    return int(found[1]), int(found[2])


@command(
    json="""
one object a line, by "event":
  {"event": "stage", "name", "message", "of"}
  {"event": "progress", "cell", "shard", "samples", "bytes", "of", "rate"}
  {"event": "shard", "cell", "shard", "rows": {kind: count},
    "files": {path: sha256}, "samples", "batch", "seconds", "host",
    "skipped": [{"sample", "why"}]}
  {"event": "done", "run", "report", "complete", "samples", "bytes",
    "seconds", "skipped": [{"cell", "sample", "why"}]}
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@overrides
@click.option(
    "--only", multiple=True, metavar="GLOB", help="Only these cells, source/model. Repeatable."
)
@click.option(
    "--slice",
    "part",
    metavar="I/N",
    callback=_slice,
    help="The i-th of n parts; then `actx finish`.",
)
@click.option("--yes", is_flag=True, help="Do not ask before much is written (run.confirm_above).")
@click.option("--retry-skipped", is_flag=True, help="Try the samples again that were skipped.")
def run(
    out: Output,
    file: Path,
    sets: tuple[str, ...],
    only: tuple[str, ...],
    part: tuple[int, int] | None,
    yes: bool,
    retry_skipped: bool,
) -> None:
    """Extract, store and analyse what a pipeline asks for; resumes by itself.

    What is done already is not done again. The last line is the path of the report (the folder of the
    run, where there is no report yet). Ctrl-C ends after the batch at hand; the same command goes on.
    """
    from actx_core.cli.watch import Watch
    from actx_core.results import open_run
    from actx_core.run import Pipeline

    pipeline = Pipeline.from_file(file, sets)
    with Watch(out) as watch:
        for receipt in pipeline.run(
            only=only,
            slice=part,
            retry_skipped=retry_skipped,
            confirm=_confirm(out, yes),
            watch=watch,
        ):
            watch.committed(receipt)
    found = open_run(pipeline.config.run.out)
    if part:
        out.line(f"slice {part[0]}/{part[1]} is done; after the last one: actx finish {file}")
    elif not found.complete:
        out.line(f"the run is not complete: {_rest(found, pipeline.config)}")
    conclude(out, found, watch)


def _rest(run: Run, config: PipelineConfig) -> str:
    """What would complete a run."""
    asked = {f"{source.id}/{model.id}" for source in config.sources for model in config.models}
    left = [cell.id for cell in run.cells.values() if run.missing(cell) and cell.id not in asked]
    if not left:
        return "without --only, the same command does the rest"
    return f"put {', '.join(left)} back into the pipeline, or start a new run.out"


def conclude(out: Output, run: Run, watch: Watch) -> None:
    """Say what was done, what was skipped, and last where the report is."""
    meter, skipped, report = watch.meter, run.skipped, run.layout.report
    last = report if run.complete and report.exists() else run.path
    out.object(
        {
            "event": "done",
            "run": str(run.path),
            "report": str(report) if last == report else None,
            "complete": run.complete,
            "samples": meter.all_samples,
            "bytes": meter.all_bytes,
            "seconds": round(meter.elapsed, 3),
            "skipped": [{"cell": cell, "sample": s.sample, "why": s.why} for cell, s in skipped],
        },
        indent=None,
    )
    if skipped:
        out.line(f"{len(skipped)} samples are skipped; --retry-skipped tries them again:")
    for cell, sample in skipped[:SHOWN]:
        out.line(f"  {cell}: {sample.sample}: {sample.why}")
    if len(skipped) > SHOWN:
        out.line("  … and so on: see the report")
    if meter.all_samples:
        done = f"{meter.all_samples} samples, {size(meter.all_bytes)}"
        out.line(f"{done} in {duration(meter.elapsed)}")
    out.line(str(last))


def _confirm(out: Output, yes: bool) -> Callable[[Plan], bool] | None:
    """How to answer the question whether much may be written; None where nobody is there to ask."""
    if yes:
        return lambda plan: True
    if not out.asks:
        return None

    def ask(plan: Plan) -> bool:
        out.screen.stop()
        bound = "" if plan.exact else "at most "
        answer = click.confirm(f"write {bound}{size(plan.bytes)} to {plan.out}?")
        out.screen.start()
        return answer

    return ask
