"""The files that a path means: one file, everything of a kind below a folder, or a glob."""

from __future__ import annotations

import re
from pathlib import Path

from actx_core import SourceError
from actx_core.packages import package_path


def find_files(path: Path, endings: tuple[str, ...]) -> list[tuple[str, Path]]:
    """(name, file) in natural order; the name is relative to the folder, or to the glob's fixed part.

    Folders are searched to the bottom; hidden files are left out. Raises SourceError where there is none.
    """
    path = package_path(path)
    parts = path.parts
    wild = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), None)
    kinds = ", ".join(endings)
    if wild is not None and not path.exists():
        root = Path(*parts[:wild])
        found = [p for p in root.glob("/".join(parts[wild:])) if p.is_file()]
    elif path.is_dir():
        root = path
        found = [p for p in root.rglob("*") if p.suffix.lower() in endings and p.is_file()]
    elif path.is_file():
        root, found = path.parent, [path]
    else:
        hint = "check `path`, which starts from the folder of the pipeline file"
        raise SourceError("there is no such file or folder", where=str(path), hint=hint)
    named = [(p.relative_to(root).as_posix(), p) for p in found]
    named = [(name, p) for name, p in named if not re.search(r"(^|/)\.", name)]
    if not named:
        raise SourceError(f"expected files ending in {kinds}, found none", where=str(path))
    return sorted(named, key=lambda item: _natural(item[0]))


def stamp(file: Path) -> str:
    """Size and time of a file: while they stay the same, so does its content."""
    stat = file.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts numbers inside names by value; the name itself decides between g1 and g01."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)], name
