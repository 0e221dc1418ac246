"""``actx analyze``: runs analyses on a run that exists, or on the arrays of any file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actx_core.cli.command import Output, command
from actx_core.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from actx_core.config.pipeline import AnalysisEntry


@command(
    json="""
one object a line: the event "stage" of `actx run`, then
  {"event": "done", "run", "results": [path], "report": path}
"""
)
@click.argument("data", metavar="RUN|FILE[::NAME]")
@click.argument("pipeline", required=False, type=click.Path(path_type=Path))
@click.option("--type", "kind", metavar="ANALYSIS", help="One analysis, instead of a pipeline's.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the pipeline, such as analyze.k=50; with --type, an option: k=50. Repeatable.",
)
@click.option(
    "--labels",
    metavar="TABLE",
    type=click.Path(path_type=Path),
    help="Columns for the rows of a file: CSV, TSV or Parquet, by its column sample, or line by line.",
)
@click.option(
    "--out",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the results of a file go; by default beside it, into NAME.actx.",
)
def analyze(
    out: Output,
    data: str,
    pipeline: Path | None,
    kind: str | None,
    sets: tuple[str, ...],
    labels: Path | None,
    folder: Path | None,
) -> None:
    """Run analyses on a run that exists, or on a file of arrays.

    The analyses are those of PIPELINE, which may say nothing else, or the one of --type, or the run's own.
    A file is .npy, .npz, HDF5, Parquet or of a format of a plugin; after :: stands one of its arrays or
    groups. What is up to date is left alone. Prints the folders of the results, then the report.
    """
    from actx_core.cli.watch import Watch

    entries = _entries(pipeline, kind, sets)
    with Watch(out) as watch:
        if Path(data).is_dir() and (Path(data) / "plan.json").exists():
            _refuse(labels=labels, out=folder)
            folders, report = _of_run(Path(data), entries, watch)
        else:
            folders, report = _of_file(data, entries, labels, folder, watch)
    done = {"event": "done", "run": data, "results": [*map(str, folders)], "report": str(report)}
    out.object(done, indent=None)
    for path in (*folders, report):
        out.line(str(path))


def _entries(
    pipeline: Path | None, kind: str | None, sets: Sequence[str]
) -> tuple[AnalysisEntry, ...] | None:
    """The analyses that were asked for; None: the run's own."""
    from actx_core.config.load import load_analyses

    if kind is not None:
        if pipeline is not None:
            raise ConfigError("expected a pipeline or --type, found both")
        data = {"actx": 1, "analyze": [{"type": kind}]}
        return load_analyses(data, [f"analyze.0.{text}" for text in sets])
    if pipeline is not None:
        return load_analyses(pipeline, sets)
    if sets:
        raise ConfigError("--set changes a pipeline or --type: found neither")
    return None


def _refuse(**given: Path | None) -> None:
    for name, value in given.items():
        if value is not None:
            hint = "labels of a run are its [[join]] tables; its results stay with it"
            raise ConfigError(f"--{name} is for files, found a run", hint=hint)


def _of_run(
    path: Path, entries: Sequence[AnalysisEntry] | None, watch: Any
) -> tuple[list[Path], Path]:
    from actx_core.analyze import analyze, inputs_of, own_analyses, own_sources
    from actx_core.results import open_run
    from actx_core.summary import report_run

    run = open_run(path)
    sources = own_sources(run)
    wanted = own_analyses(run) if entries is None else entries
    folders = analyze(inputs_of(run, sources), run.layout, wanted, watch)
    return folders, report_run(run, sources, wanted)


def _of_file(
    data: str,
    entries: Sequence[AnalysisEntry] | None,
    labels: Path | None,
    folder: Path | None,
    watch: Any,
) -> tuple[list[Path], Path]:
    from actx_core.analyze import analyze
    from actx_core.foreign import open_file
    from actx_core.layout import Layout
    from actx_core.summary import report_file

    name, _, inner = data.partition("::")
    file = Path(name)
    if not file.exists():
        raise StoreError("there is no such file or folder", where=name)
    if entries is None:
        kind = "folder without a run" if file.is_dir() else "file"
        raise ConfigError(
            f"a {kind} says no analyses", where=data, hint="add a pipeline or --type kmeans"
        )
    inputs = open_file(file, inner.strip("/"), labels)
    layout = Layout(folder or file.with_name(f"{file.name}.actx"))
    lazy = {name: (lambda one=one: one) for name, one in inputs.items()}
    folders = analyze(lazy, layout, entries, watch)
    return folders, report_file(file, inputs, layout)
