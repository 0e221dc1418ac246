"""What the formats share: where arrays go, the shape they need, and what can be wrong with a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from actx_core import Input, StoreError

if TYPE_CHECKING:
    from actx_core import TapArray

BLOCK = 1 << 26
"""Bytes handled at a time."""


def below(path: Path, tap: TapArray) -> Path:
    """``path/source/model/tap``: the folder of one array among several."""
    parts = (tap.spec.source, tap.spec.model, tap.spec.tap)
    return path.joinpath(*(quote(part, safe=" ") for part in parts))


def expect_folder(path: Path) -> None:
    """Raise StoreError where the folder to write to is a file."""
    if path.exists() and not path.is_dir():
        hint = "give the path of a folder"
        raise StoreError("expected a folder, found a file", where=str(path), hint=hint)


def width(tap: TapArray) -> int:
    """The length of a row. Raises StoreError where a row has other axes than one."""
    if len(tap.shape) != 2:
        raise StoreError(
            f"expected rows with one axis, found {list(tap.axes[1:])}",
            where=tap.name,
            hint="pool the tap, or flatten it: pool = { type = 'flatten', over = […] }",
        )
    return tap.shape[1]


def flaws(read: Callable[[], Sequence[Input]]) -> list[str]:
    """One sentence if a file cannot be read, else one for each array with values that are not finite."""
    try:
        return [line for one in read() for line in _not_finite(one)]
    except StoreError as error:
        return [str(error)]


def _not_finite(one: Input) -> list[str]:
    count, channels = one.array.shape
    step = max(1, BLOCK // (4 * max(1, channels)))
    bad, first = 0, -1
    for start in range(0, count, step):
        found = ~np.isfinite(one.array[start : start + step]).all(axis=1)
        if found.any():
            first = start + int(found.argmax()) if first < 0 else first
            bad += int(found.sum())
    return [f"{one.name}: {bad} rows hold NaN or infinity, the first is row {first}"] if bad else []
