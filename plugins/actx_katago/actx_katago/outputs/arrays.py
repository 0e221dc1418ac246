"""What the outputs share: which array of a run is meant, and what is known of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core import ConfigError, Run, StoreError, TapArray
from actx_katago.model.taps import HEADS, aliases

if TYPE_CHECKING:
    import pyarrow as pa

POSITION = "sample"
"""The kind of rows of which each is a whole position."""


def finished(run: Run) -> None:
    """Raise StoreError for a run that lacks rows, or the facts that are written at its end."""
    if not (run.manifest and run.complete):
        hint = "the command that began it resumes"
        raise StoreError("expected a finished run", where=str(run.path), hint=hint)


def pick(run: Run, name: str = "") -> TapArray:
    """The array that a tap, another name of it, or ``source/model/tap`` means; or the only one.

    Heads do not count as an only one. Raises ConfigError that lists the arrays, and StoreError for a run
    that is not finished, or an array with other rows than one per position.
    """
    finished(run)
    array = run[_full_name(run, name)]
    expect_positions(array)
    return array


def expect_positions(array: TapArray) -> None:
    """Raise StoreError for an array that has no row for each position."""
    if array.spec.kind != POSITION:
        raise StoreError(
            f"expected a row for each position, found one for each {array.spec.kind}",
            where=f"{array.run.path}: {array.name}",
            hint="pool the tap over y and x",
        )


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
        hint=f"name one of: {', '.join(found or taps)}",
    )


def base(run: Run) -> Path:
    """The folder from which paths of the pipeline start."""
    return run.path / str(run.manifest["base"])


def samples(array: TapArray) -> dict[str, list[Any]]:
    """The columns of the samples of an array's source."""
    return dict(array.run.samples(array.spec.source).to_pydict())


def games(rows: pa.Table) -> list[str]:
    """Each row's game; where that is not known, its position."""
    samples: list[str] = rows["sample"].to_pylist()
    if "game" not in rows.column_names:
        return samples
    known = zip(rows["game"].to_pylist(), samples, strict=True)
    return [game or sample for game, sample in known]


def first(values: np.ndarray, count: int, groups: Sequence[Any] | None = None) -> np.ndarray:
    """The rows of the smallest finite values, in their order; of equal values the first row first.

    ``groups`` names a group per row, of which only one row is taken.
    """
    chosen: list[int] = []
    seen: set[Any] = set()
    values = np.where(np.isfinite(values), values, np.nan)  # which is sorted behind all others
    for row in np.argsort(values, kind="stable"):
        if len(chosen) == count or np.isnan(values[row]):
            break
        group = row if groups is None else groups[row]
        if group not in seen:
            seen.add(group)
            chosen.append(int(row))
    return np.array(chosen, np.int64)


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
