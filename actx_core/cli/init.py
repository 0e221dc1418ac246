"""``actx init`` and ``actx new``: write what a person starts from."""

from __future__ import annotations

from pathlib import Path

import click

from actx_core.cli.command import Output, command


@command(json='{"file"}')
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--images", type=click.Path(path_type=Path), help="A folder of images to use.")
def init(out: Output, folder: Path, images: Path | None) -> None:
    """Write a pipeline that runs.

    Asks for the images at a terminal, and only there; without an answer it takes photographs that come
    with an installed package.
    """
    from actx_core.scaffold import init_pipeline

    if images is None and out.asks:
        answer = click.prompt(
            "Folder of images (empty: a few sample photographs)", default="", show_default=False
        )
        images = Path(answer) if answer else None
    file = init_pipeline(folder, images)
    out.object({"file": str(file)})
    out.line(str(file))
    out.line(f"next: actx run {file}")


@command(json='{"files": [path]}')
@click.argument("what", type=click.Choice(["plugin"]))
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path), default=".", help="Where to write it.")
def new(out: Output, what: str, name: str, folder: Path) -> None:
    """Start a plugin of your own.

    `actx new plugin NAME` writes the package of a plugin with one model, and a test that passes.
    """
    from actx_core.scaffold import new_plugin

    files = [str(path) for path in new_plugin(folder, name)]
    out.object({"files": files})
    for file in files:
        out.line(file)
