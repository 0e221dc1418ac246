"""What the outputs share: which array of a run is meant, its samples, and names of what a row holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from actx_core import ConfigError, Run, StoreError, TapArray
from actx_katago.model.taps import HEADS, aliases

POSITION = "sample"
"""The kind of rows of which each is a whole position."""


def finished(run: Run) -> None:
    """Raise StoreError for a run without the facts that are written at its end."""
    if not run.manifest or not run.arrays:
        hint = "the command that began it resumes"
        raise StoreError("expected a finished run with arrays", where=str(run.path), hint=hint)


def pick(run: Run, name: str = "") -> TapArray:
    """The array that a tap, another name of it, or ``source/model/tap`` means; or the only one.

    Heads do not count as an only one. Raises ConfigError that lists the arrays, and StoreError for a run
    that is not finished, or an array with other rows than one per position.
    """
    finished(run)
    array = run[_full_name(run, name)]
    if array.spec.kind != POSITION:
        raise StoreError(
            f"expected a row for each position, found one for each {array.spec.kind}",
            where=f"{run.path}: {array.name}",
            hint="pool the tap over y and x",
        )
    return array


def _full_name(run: Run, name: str) -> str:
    if name in run.arrays:
        return name
    taps = {full: run[full].spec.tap for full in run.arrays}
    if name:
        meant = aliases(taps.values()).get(name, name)
        found = [full for full, tap in taps.items() if tap == meant]
    else:
        found = [full for full, tap in taps.items() if not HEADS.fullmatch(tap)]
    if len(found) == 1:
        return found[0]
    asked = f"one array with the tap '{name}'" if name else "one array that is no head"
    raise ConfigError(
        f"expected {asked}, found {len(found)}",
        where=str(run.path),
        hint=f"--tap one of: {', '.join(found or taps)}",
    )


def base(run: Run) -> Path:
    """The folder from which paths of the pipeline start."""
    return run.path / str(run.manifest["base"])


def samples(array: TapArray) -> dict[str, list[Any]]:
    """The columns of the samples of an array's source."""
    return dict(array.run.samples(array.spec.source).to_pydict())


def number_names(axes: Sequence[str], shape: Sequence[int]) -> list[str]:
    """``channel3`` or ``channel3_y0_x1`` for each number of a row in C order; ``value`` for the only one."""
    places = [[f"{axis}{i}" for i in range(n)] for axis, n in zip(axes, shape, strict=True)]
    return ["_".join(place) or "value" for place in product(*places)]


def facts(known: Mapping[str, Any]) -> str:
    """What a row's columns say of its position, in two lines."""
    names = ("file", "row", "game", "turn", "symmetry", "komi_shown")
    said = [f"{name} {known[name]}" for name in names if known.get(name) not in (None, "")]
    if known.get("replicate"):
        said.append(f"replicate {known['replicate']}")
    if "to_move" in known:
        said.append(f"{known['to_move'] or 'colours unknown, black'} to move")
    return f"{known['sample']}\n{', '.join(said)}"


def to_move(known: Mapping[str, Any]) -> str | None:
    """The colour to move in a row's picture, which shows a player of unknown colour as black."""
    return (known["to_move"] or "black") if "to_move" in known else None
