"""Writes picked taps: into a model of a pipeline file, or to a file that the model itself knows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actx_core.errors import ConfigError
from actx_core.files import atomic

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

    from actx_core.cli.named import Named

WIDE = 80
"""A line of taps that is longer is broken, one tap a line."""


def check(path: Path, named: Named) -> None:
    """Raise ConfigError now, before anybody is asked, where a pipeline cannot take the taps."""
    if path.suffix == ".toml":
        _open(path, named)


def save(path: Path, named: Named, taps: Sequence[str]) -> None:
    """Write the taps; a pipeline keeps its comments and order, and is replaced at once or not at all."""
    if path.suffix != ".toml":
        named.model.save_taps(path, taps)
        return
    import tomlkit

    document, entry = _open(path, named)
    array = tomlkit.array()
    array.extend(taps)
    entry["taps"] = array.multiline(len(array.as_string()) > WIDE)
    file = path.resolve()  # a link stays one
    text = document.as_string()
    if b"\r\n" in file.read_bytes():
        text = text.replace("\n", "\r\n")
    with atomic(file) as temporary:
        temporary.write_bytes(text.encode())
        shutil.copymode(file, temporary)


def _open(path: Path, named: Named) -> tuple[TOMLDocument, Any]:
    """The pipeline, and the table of its model that is meant."""
    import tomlkit
    from tomlkit.exceptions import ParseError

    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        document = tomlkit.parse(text)
    except FileNotFoundError:
        raise ConfigError(
            "there is no such pipeline", where=str(path), hint="`actx init` writes one"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8", where=str(path), hint="save the file as UTF-8") from None
    except ParseError as error:
        message = str(error).partition(" at line ")[0]
        raise ConfigError(
            f"not valid TOML: {message[:1].lower()}{message[1:]}",
            where=f"{path}:{error.line}:{error.col}",
        ) from None
    return document, _entry(path, document.get("model"), named)


def _entry(path: Path, models: Any, named: Named) -> Any:
    """The model with that ``as`` or name; without any, the only one if it has no name."""
    entries = models if isinstance(models, list) else [models]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ConfigError("there is no [[model]]", where=str(path), hint='add one with type = "…"')
    found = [entry for entry in entries if entry.get("as") == named.id] or [
        entry for entry in entries if entry.get("name") in (named.id, named.name)
    ]
    names = [entry.get("as") or entry.get("name") for entry in entries]
    if names == [None]:
        found = entries
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"'{each}'" if each else "one without a name" for each in names)
    what = f"{len(found)} of [[model]]" if found else "no [[model]]"
    raise ConfigError(
        f"{what} with as or name '{named.id}'; there are: {there}",
        where=str(path),
        hint=f'set as = "{named.id}" in the one that is meant',
    )
