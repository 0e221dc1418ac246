"""``actx schema``: the JSON schema of pipeline files, from the plugins that are installed."""

from __future__ import annotations

import json
from pathlib import Path

import click

from actx_core.cli.command import Output, command


@command(json='the schema; with --out {"file"}')
@click.option("--out", "file", type=click.Path(path_type=Path), help="Write to this file.")
def schema(out: Output, file: Path | None) -> None:
    """Print the JSON schema of pipeline files, for editors.

    A pipeline that begins with `#:schema .actx/pipeline.schema.json` is completed and checked by editors
    that know Taplo or Tombi.
    """
    from actx_core.config.jsonschema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    if file is None:
        click.echo(text)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n", encoding="utf-8")
    out.object({"file": str(file)})
    out.line(str(file))
