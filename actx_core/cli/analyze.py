"""``actx analyze``: runs analyses on a run that exists."""

from __future__ import annotations

from pathlib import Path

import click

from actx_core.cli.command import Output, command, overrides


@command(
    json="""
one object a line: the event "stage" of `actx run`, then
  {"event": "done", "run", "results": [path]}
"""
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("file", required=False, type=click.Path(path_type=Path))
@overrides
def analyze(out: Output, run: Path, file: Path | None, sets: tuple[str, ...]) -> None:
    """Run analyses on a run that exists.

    The analyses are those of the pipeline FILE, or without it those of the run itself. What is up to date
    is left alone. Prints the folders of the results.
    """
    from actx_core.analyze import analyze_run, own_config
    from actx_core.cli.watch import Watch
    from actx_core.results import open_run
    from actx_core.run import Pipeline

    found = open_run(run)
    config = Pipeline.from_file(file, sets).config if file else own_config(found)
    with Watch(out) as watch:
        folders = [str(path) for path in analyze_run(found, config, watch)]
    out.object({"event": "done", "run": str(run), "results": folders}, indent=None)
    for folder in folders:
        out.line(folder)
