"""The 8 symmetries of a board, numbered as in KataGo's engine, on named axes of any array.

Of symmetry s, bit 0 flips y, then bit 1 flips x, then bit 2 exchanges y and x, on rectangles, too. 5 and 6
are each other's inverses, all others their own. KataGo's Python counts otherwise: its 0 to 7 are the engine's
0, 6, 3, 5, 4, 2, 7, 1.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

COUNT = 8


def turn(array: Any, y: int, x: int, symmetry: int) -> Any:
    """The array turned; ``y`` and ``x`` are the numbers of its axes."""
    xp = array_namespace(array)
    flips = tuple(axis for axis, bit in ((y, 1), (x, 2)) if symmetry & bit)
    array = xp.flip(array, axis=flips) if flips else array
    return _exchanged(array, y, x) if symmetry & 4 else array


def turn_back(array: Any, y: int, x: int, symmetry: int) -> Any:
    """What ``turn`` was given."""
    xp = array_namespace(array)
    array = _exchanged(array, y, x) if symmetry & 4 else array
    flips = tuple(axis for axis, bit in ((y, 1), (x, 2)) if symmetry & bit)
    return xp.flip(array, axis=flips) if flips else array


def turn_point(y: int, x: int, size: tuple[int, int], symmetry: int) -> tuple[int, int]:
    """Where a point of a board of this size comes to lie."""
    y = size[0] - 1 - y if symmetry & 1 else y
    x = size[1] - 1 - x if symmetry & 2 else x
    return (x, y) if symmetry & 4 else (y, x)


def _exchanged(array: Any, y: int, x: int) -> Any:
    order = list(range(array.ndim))
    order[y], order[x] = x, y
    return array_namespace(array).permute_dims(array, tuple(order))
