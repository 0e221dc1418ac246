"""What the options of an analysis stand for: of files and folders their content, not where they lie."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from actx_core.contracts import Config
from actx_core.files import sha256_file


def meaning(config: Config) -> Any:
    """The options as JSON has them; a path is replaced by the names and digests of the files there."""
    return json.loads(json.dumps(config.model_dump(), default=_plain))


def _plain(value: Any) -> Any:
    return _content(value) if isinstance(value, Path) else to_jsonable_python(value)


def _content(path: Path) -> Any:
    """Of a file its name, which tells the format, and its digest; of a folder, those of all its files."""
    if path.is_file():
        stat = path.stat()
        return [path.name, _sha256(path, stat.st_size, stat.st_mtime_ns)]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return [[file.relative_to(path).as_posix(), _content(file)] for file in files]
    return str(path)  # the analysis will say that it is missing


@lru_cache(1024)
def _sha256(path: Path, size: int, changed: int) -> str:
    """Read once for all inputs of an analysis."""
    return sha256_file(path)
