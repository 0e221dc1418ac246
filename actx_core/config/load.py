"""From a TOML file or a dict to a checked pipeline, or to every mistake in it at once."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from actx_core.config.assemble import assemble, assemble_analyses
from actx_core.config.locate import Path, line_column, locate
from actx_core.config.overrides import apply
from actx_core.config.pipeline import AnalysisEntry, PipelineConfig
from actx_core.config.problems import Places, Problems, dotted
from actx_core.errors import ConfigError

_SYNTAX = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_SYNTAX_HINTS = {
    "Invalid value": 'text stands in quotes: name = "resnet50"',
    "Cannot declare": "write [[name]] for each of several tables",
    "Cannot overwrite": "each key stands once; write [[name]] for each of several tables",
    "Unescaped '\\'": "write '…' with single quotes: backslashes then stand for themselves",
}


def load_file(path: str | FilePath, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read and check a pipeline file. ``overrides`` are strings such as ``model.0.name=vit_b_16``.

    Raises ConfigError with every mistake, each at its ``file:line:column``.
    """
    data, problems = _read(path)
    file = FilePath(path).absolute()
    return _load(data, problems, file.parent, file, overrides)


def load_analyses(
    given: str | FilePath | Mapping[str, Any],
    overrides: Sequence[str] = (),
    base: str | FilePath = "",
) -> tuple[AnalysisEntry, ...]:
    """Read and check the analyses of a pipeline, a file or a dict, that may say nothing else.

    Relative paths of a dict start from ``base``, those of a file from its folder.
    Raises ConfigError as `load_file` does.
    """
    if isinstance(given, Mapping):
        data, base = dict(given), FilePath(base).absolute()
        problems = Problems(Places.of_dict(data))
    else:
        (data, problems), base = _read(given), FilePath(given).absolute().parent
    apply(data, overrides, problems.places, problems)
    return assemble_analyses(data, problems, base)


def _read(path: str | FilePath) -> tuple[dict[str, Any], Problems]:
    """What a TOML file says, and where."""
    try:
        text = FilePath(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"cannot read the pipeline: {reason}", where=str(path)) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        column = error.start - error.object.rfind(b"\n", 0, error.start)
        raise ConfigError(
            f"not UTF-8: found the byte {error.object[error.start]:#04x}",
            where=f"{path}:{line}:{column}",
            hint="save the file as UTF-8",
        ) from None
    try:
        data, spans = tomllib.loads(text), locate(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(str(path), text, str(error)) from None
    except RecursionError:
        raise ConfigError("not valid TOML: nested too deeply", where=str(path)) from None
    return data, Problems(Places(spans, str(path), text))


def load_dict(
    data: Mapping[str, Any],
    base: str | FilePath | None = None,
    overrides: Sequence[str] = (),
) -> PipelineConfig:
    """Check a pipeline given as a dict; relative paths start from ``base``, or the working directory.

    Raises ConfigError with every mistake, each at its dotted path (``model.0.name``).
    """
    found: list[tuple[Path, str]] = []
    plain = _plain(data, (), found)
    problems = Problems(Places.of_dict(plain))
    for path, message in found:
        problems.add(path, message)
    problems.raise_any()
    return _load(plain, problems, FilePath(base or "").absolute(), None, overrides)


def _load(
    data: dict[str, Any],
    problems: Problems,
    base: FilePath,
    file: FilePath | None,
    overrides: Sequence[str],
) -> PipelineConfig:
    apply(data, overrides, problems.places, problems)
    return assemble(data, problems, base, file, tuple(overrides))


def _syntax(file: str, text: str, message: str) -> ConfigError:
    """The error of tomllib, which names its place in words."""
    line, column = line_column(text, len(text))
    if found := _SYNTAX.fullmatch(message):
        message = found[1]
        line, column = (int(found[2]), int(found[3])) if found[2] else (line, column)
    hint = next((h for start, h in _SYNTAX_HINTS.items() if message.startswith(start)), "")
    message = f"not valid TOML: {message[:1].lower()}{message[1:]}"
    return ConfigError(message, where=f"{file}:{line}:{column}", hint=hint)


def _plain(value: Any, path: Path, found: list[tuple[Path, str]]) -> Any:
    """A copy made of what TOML knows, since the pipeline is recorded as it was given."""
    match value:
        case Mapping():
            return {str(k): _plain(v, (*path, str(k)), found) for k, v in value.items()}
        case list() | tuple():
            return [_plain(v, (*path, n), found) for n, v in enumerate(value)]
        case os.PathLike():
            return os.fspath(value)
        case None | bool() | int() | float() | str():
            return value
        case datetime.date() | datetime.time():
            return value
    found.append((path, f"'{dotted(path)}' must be plain data, found a {type(value).__name__}"))
    return None
