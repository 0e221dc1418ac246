"""Fills in the packaged templates and writes them, never over what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from string import Template

from actx_core.errors import ConfigError

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".template"


def filled(name: str, values: Mapping[str, object]) -> str:
    """The text of a template; every ``$name`` in it must have a value."""
    return Template((TEMPLATES / f"{name}{SUFFIX}").read_text("utf-8")).substitute(values)


def write(files: Mapping[Path, str]) -> None:
    """Write all files, or none if one of them exists. Raises ConfigError."""
    there = [str(path) for path in files if path.exists() or path.is_symlink()]
    if there:
        raise ConfigError(
            f"expected a free place, found {', '.join(there)}",
            hint="choose another folder, or move what is there away",
        )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
