"""``actx convert``: writes a run in another format."""

from __future__ import annotations

from pathlib import Path

import click

from actx_core.cli.command import Output, command


@command(json='{"run", "format", "files": [path]}')
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("path", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", "kind", required=True, metavar="FORMAT", help="As `actx plugins` lists them.")
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set an option of the format, such as prefix=concrete. Repeatable.",
)
def convert(out: Output, run: Path, path: Path, kind: str, sets: tuple[str, ...]) -> None:
    """Write a run in another format."""
    from actx_core.analyze import export_run
    from actx_core.cli.options import check
    from actx_core.registry import registry
    from actx_core.results import open_run

    component = registry().find("format", kind)
    config = check(registry().load_config(component), {}, sets)
    files = [str(file) for file in export_run(open_run(run), component, config, path)]
    out.object({"run": str(run), "format": f"{component.plugin}/{component.name}", "files": files})
    for file in files:
        out.line(file)
