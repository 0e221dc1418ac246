"""``actx verify``: checks every file of a run against its digests."""

from __future__ import annotations

from pathlib import Path

import click

from actx_core.cli.command import Output, command
from actx_core.errors import StoreError
from actx_core.units import size


@command(json='{"run", "ok", "files", "bytes", "problems": [text]}')
@click.argument("run", type=click.Path(path_type=Path))
def verify(out: Output, run: Path) -> None:
    """Check every file of a run against its digests.

    Names each file that is missing, truncated or changed, and then exits with code 6.
    """
    from actx_core.verify import verify as check

    files: list[str] = []
    problems = check(run, files.append)
    total = sum((run / name).stat().st_size for name in files if (run / name).exists())
    out.object(
        {
            "run": str(run),
            "ok": not problems,
            "files": len(files),
            "bytes": total,
            "problems": problems,
        }
    )
    if problems:
        for problem in problems if not out.json else ():
            click.echo(f"error: {problem}", err=True)
        raise click.exceptions.Exit(StoreError.exit_code)
    out.line(f"ok: {len(files)} files, {size(total)}")
