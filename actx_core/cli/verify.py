"""``actx verify``: checks every file of a run against its digests, or a file of another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actx_core.cli.command import Output, command
from actx_core.errors import PluginError, StoreError
from actx_core.units import size

if TYPE_CHECKING:
    from actx_core.contracts import Format


@command(json='{"run", "ok", "files", "bytes", "problems": [text]}')
@click.argument("run", metavar="RUN|FILE", type=click.Path(path_type=Path))
def verify(out: Output, run: Path) -> None:
    """Check every file of a run, or a file of a known format.

    Names each file of a run that is missing, truncated or changed, and each flaw of another file: its
    structure, shapes, holes, NaN. With any of these, exits with code 6.
    """
    files, problems = _check_run(run) if _is_run(run) else _check_other(run)
    total = sum(path.stat().st_size for path in files if path.exists())
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
    out.line(f"ok: {len(files)} file{'' if len(files) == 1 else 's'}, {size(total)}")


def _is_run(path: Path) -> bool:
    return any((path / name).exists() for name in ("plan.json", "run.json"))


def _check_run(run: Path) -> tuple[list[Path], list[str]]:
    from actx_core.verify import verify as check

    files: list[str] = []
    problems = check(run, files.append)
    return [run / name for name in files], problems


def _check_other(path: Path) -> tuple[list[Path], list[str]]:
    """What the first format says that knows the file or folder. Raises StoreError where none does."""
    if not path.exists():
        raise StoreError("there is no such file or folder", where=str(path))
    formats, unusable = _formats()
    for format_ in formats.values():
        if format_.knows(path):
            files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
            return files, list(format_.check(path))
    found = "this folder holds no run (no plan.json)" if path.is_dir() else "this is no run"
    raise StoreError(
        f"{found}, and no format knows it",
        where=str(path),
        hint="; ".join([f"formats asked: {', '.join(formats) or 'none'}", *unusable]),
    )


def _formats() -> tuple[dict[str, Format[Any]], list[str]]:
    """The formats that can check files, by name, and why others cannot be asked."""
    from pydantic import ValidationError

    from actx_core.contracts import Format
    from actx_core.registry import registry

    found, unusable = {}, []
    for component in registry().all("format"):
        try:
            options = registry().load_config(component)()
            format_: Format[Any] = registry().load(component)(options)
        except (PluginError, ValidationError) as error:
            unusable.append(str(error).splitlines()[0])
            continue
        if type(format_).check is not Format.check:
            found[component.name] = format_
    return found, unusable
