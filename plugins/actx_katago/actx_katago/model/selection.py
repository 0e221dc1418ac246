"""layer_selection.yml: which layer of which network was chosen, with what pooling, when and why."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actx_core import ConfigError, atomic

if TYPE_CHECKING:
    from actx_katago.model.config import KatagoConfig

KEYS = ("chosen_layer", "network_file", "board_size", "pooling", "date", "rationale")
OVER = ["y", "x"]
_CELLS = re.compile(r"(?:grid[ _-]?)?([1-9]\d?)(?:\s*x\s*\1)?", re.IGNORECASE)


@dataclass(frozen=True)
class Selection:
    """What a layer_selection.yml says. ``pooling`` are tables of poolers, as in a pipeline."""

    chosen_layer: str
    network_file: str
    board_size: int | list[int] | None
    pooling: Sequence[Mapping[str, Any]]

    def table(self, written: str) -> dict[str, Any]:
        """The keys of a model's table; ``written`` is the file as the pipeline names it.

        Raises ConfigError where the network would lie outside what the pipeline can name.
        """
        network = Path(self.network_file)
        if not network.is_absolute() and not self.network_file.startswith("package:"):
            network = Path(written).parent / network
        size = {} if self.board_size is None else {"board_size": self.board_size}
        tap = {"match": [self.chosen_layer], "pool": [dict(pooler) for pooler in self.pooling]}
        return {"network": network.as_posix(), **size, "tap": [tap]}


def read_selection(path: Path) -> Selection:
    """Read a layer_selection.yml. Raises ConfigError that names the file and the key."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError as error:
        hint = "`actx layers` writes one: --pick TAP --save layer_selection.yml"
        raise _wrong(path, "there is no such file", hint) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise _wrong(path, f"expected YAML, found something else: {told}") from error
    if not isinstance(data, dict):
        raise _wrong(path, f"expected keys {', '.join(KEYS)}, found no table")
    unknown = [str(key) for key in data if key not in KEYS]
    if unknown:
        raise _wrong(path, f"unknown key '{unknown[0]}'", f"the keys are {', '.join(KEYS)}")
    for key in ("chosen_layer", "network_file"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise _wrong(path, f"'{key}' must be text, found {data.get(key)!r}")
    return Selection(
        data["chosen_layer"],
        data["network_file"],
        _board_size(path, data.get("board_size")),
        _pooling(path, data.get("pooling", "mean")),
    )


def write_selection(path: Path, config: KatagoConfig, layer: str) -> None:
    """Write what was chosen from a network; the network's path starts from the file's folder."""
    import yaml

    if config.network is None:
        raise ConfigError("no network is named", hint="say network = …")
    network = config.network.as_posix()
    if not network.startswith("package:"):
        network = Path(os.path.relpath(config.network, path.parent)).as_posix()
    size = config.board_size
    values = (
        *(layer, network, list(size) if isinstance(size, tuple) else size),
        *("mean", date.today(), "picked with actx layers"),
    )
    with atomic(path) as temporary:
        text = yaml.safe_dump(dict(zip(KEYS, values, strict=True)), sort_keys=False)
        temporary.write_text(text, "utf-8")


def _board_size(path: Path, size: Any) -> int | list[int] | None:
    """One side, [y, x], or text such as 9x9."""
    if isinstance(size, str) and (sides := re.fullmatch(r"\s*(\d+)\s*x\s*(\d+)\s*", size.lower())):
        size = [int(sides[1]), int(sides[2])]
    whole = type(size) is int or (
        isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)
    )
    if size is not None and not whole:
        raise _wrong(path, f"'board_size' must be a number such as 9, or [9, 7], found {size!r}")
    return size  # type: ignore[no-any-return]


def _pooling(path: Path, pooling: Any) -> list[Mapping[str, Any]]:
    """Tables of poolers from a word (mean, max, std, none, 3x3) or from such tables."""
    if isinstance(pooling, dict):
        pooling = [pooling]
    if isinstance(pooling, list) and all(isinstance(p, dict) and p.get("type") for p in pooling):
        return pooling
    word = str(pooling).strip().lower() if isinstance(pooling, str | None) else repr(pooling)
    if word in ("mean", "max", "std"):
        return [{"type": word, "over": OVER}]
    if word == "none":
        return []
    if isinstance(pooling, str) and (cells := _CELLS.fullmatch(word)):
        return [{"type": "grid", "size": int(cells[1])}, {"type": "flatten"}]
    raise _wrong(
        path,
        f"'pooling' must be mean, max, std, none or cells such as 3x3, found {pooling!r}",
        "or a list of poolers as in a pipeline: [{type: mean, over: [y, x]}]",
    )


def _wrong(path: Path, message: str, hint: str = "") -> ConfigError:
    return ConfigError(message, where=str(path), hint=hint)
