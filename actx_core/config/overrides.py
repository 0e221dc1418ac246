"""Applies ``--set model.0.name=vit_b_16`` to a pipeline's data."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from actx_core.config.locate import Path, read_key
from actx_core.config.problems import Places, Problems, dotted
from actx_core.errors import ConfigError

MANY = ("source", "model", "pool", "join", "analyze", "export", "tap")
"""Tables of which there may be several; one may be written without its index."""


def apply(
    data: dict[str, Any], overrides: Sequence[str], places: Places, problems: Problems
) -> None:
    """Change ``data`` in place; an override that names something impossible becomes a problem."""
    for text in overrides:
        try:
            keys, value = _parse(text)
            path = _resolve(data, keys)
        except ConfigError as error:
            problems.add_set(text, error.message, error.hint)
            continue
        places.override(_assign(data, path, value), text)


def _parse(text: str) -> tuple[list[str], Any]:
    try:
        segments, end = read_key(text)
    except ValueError:
        segments, end = [], len(text)
    if not text.startswith("=", end):
        raise ConfigError("expected PATH=VALUE", hint="such as model.0.name=resnet50")
    return [segment for segment, _ in segments], _value(text[end + 1 :].strip())


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _resolve(data: dict[str, Any], keys: Sequence[str]) -> Path:
    """The path that the keys mean, with list indices. Raises ConfigError where there can be none."""
    node: Any = data
    path: Path = ()
    for key in keys:
        if isinstance(node, list):
            index = _index(node, key, path)
            path += (index,)
            node = node[index]
            if key.isdecimal():
                continue
        if node is None and key.isdecimal():
            raise ConfigError(f"there is no '{dotted(path)}' in the pipeline", hint="add it there")
        if not isinstance(node, dict | None):
            raise ConfigError(f"'{dotted(path)}' is not a table, it has no '{key}'")
        if key == "0" and path and path[-1] in MANY and key not in (node or {}):
            continue  # a single table counts as a list of one
        path += (key,)
        node = node.get(key) if node else None
    return path


def _index(entries: list[Any], key: str, path: Path) -> int:
    """Which entry of a list is meant; without a number, the only one."""
    name = dotted(path)
    if not key.isdecimal() and len(entries) != 1:
        raise ConfigError(
            f"there are {len(entries)} of '{name}'", hint=f"say which: {name}.0.{key}"
        )
    index = int(key) if key.isdecimal() else 0
    if index >= len(entries):
        raise ConfigError(
            f"'{name}' has {len(entries)} entries, counted from 0; there is no {index}"
        )
    return index


def _assign(data: dict[str, Any], path: Path, value: Any) -> Path:
    """Set the value; return the path of what is new: the value, or the first table made for it."""
    node: Any = data
    new = path
    for depth, key in enumerate(path[:-1], 1):
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
            new = min(new, path[:depth], key=len)
        node = node[key]
    node[path[-1]] = value
    return new
