"""``actx finish``: joins, analyses and reports a run whose slices are done."""

from __future__ import annotations

from pathlib import Path

import click

from actx_core.cli.command import Output, command, overrides


@command(json='the events "stage" and "done" of `actx run`')
@click.argument("file", type=click.Path(path_type=Path))
@overrides
def finish(out: Output, file: Path, sets: tuple[str, ...]) -> None:
    """Join and analyse a run whose slices are done.

    Checks that every shard is there. The last line is the path of the report.
    """
    from actx_core.cli.run import conclude
    from actx_core.cli.watch import Watch
    from actx_core.run import Pipeline

    pipeline = Pipeline.from_file(file, sets)
    with Watch(out) as watch:
        run = pipeline.finish(watch)
    conclude(out, run, watch)
