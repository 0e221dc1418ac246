"""The columns of an array: the numbers of a row, or planes where rows keep the points of the board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from actx_core import AnalysisError, Input
from actx_katago.outputs.arrays import number_names
from actx_katago.outputs.marks import Point

BLOCK = 1 << 22
"""Bytes of rows in memory at a time, about."""
PLANE = ("y", "x")

End = Literal["largest", "smallest"]


class Columns:
    """Columns of an analyzer's input, read in blocks.

    A column is a number of a row, in C order. Where all boards have the size that rows keep, a column is a
    plane: its value is that of its largest (smallest) point. ``plane`` is then its size (y, x).
    """

    def __init__(self, data: Input) -> None:
        self.data = data
        self.plane = _plane(data)
        axes = list(zip(data.axes[1:], data.array.shape[1:], strict=True))
        columns = [(a, n) for a, n in axes if self.plane is None or a not in PLANE]
        self.names = number_names([a for a, _ in columns], [n for _, n in columns])

    def variances(self) -> np.ndarray:
        """Of each column's finite numbers. Raises AnalysisError where there are none."""
        total, count, squares = np.zeros((3, len(self.names)))
        for _, rows in self._blocks():
            finite = np.isfinite(rows)
            total += np.where(finite, rows, 0).sum(axis=(0, 2))
            count += finite.sum(axis=(0, 2))
        if not count.any():
            raise AnalysisError("expected finite values, found none", where=self.data.name)
        count = np.maximum(count, 1)
        mean = (total / count)[:, None]
        for _, rows in self._blocks():
            squares += np.where(np.isfinite(rows), (rows - mean) ** 2, 0).sum(axis=(0, 2))
        return squares / count

    def values(self, columns: Sequence[int], end: End) -> np.ndarray:
        """(rows, columns) in float64; of a plane, its largest or smallest number."""
        found = np.empty((self.data.array.shape[0], len(columns)))
        most = np.fmax if end == "largest" else np.fmin
        for at, rows in self._blocks():
            found[at] = most.reduce(rows[:, columns], axis=2)
        return found

    def strongest(self, row: int, column: int, end: End, count: int) -> list[Point]:
        """The points of a plane with the largest (smallest) values, the most extreme first."""
        if self.plane is None:
            return []
        values = self._matrix(self.data.array[row : row + 1])[0, column]
        order = np.argsort(-values if end == "largest" else values, kind="stable")
        places = [divmod(int(i), self.plane[1]) for i in order if np.isfinite(values[i])]
        return places[:count]

    def _blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows in order, as (rows, columns, points of the plane)."""
        count, *shape = self.data.array.shape
        step = max(1, BLOCK // (8 * max(1, int(np.prod(shape)))))
        for start in range(0, count, step):
            rows = self._matrix(self.data.array[start : start + step])
            yield slice(start, start + len(rows)), rows

    def _matrix(self, rows: np.ndarray) -> np.ndarray:
        wide = np.asarray(rows, np.float64)
        if self.plane is not None:
            wide = np.moveaxis(wide, [self.data.axes.index(axis) for axis in PLANE], [-2, -1])
        points = 1 if self.plane is None else self.plane[0] * self.plane[1]
        return wide.reshape(len(wide), len(self.names), points)


def _plane(data: Input) -> tuple[int, int] | None:
    """The size that all boards have, where rows keep all points of it; a grid has fewer."""
    sizes = dict(zip(data.axes, data.array.shape, strict=True))
    boards = [f"board_{axis}" for axis in PLANE]
    if not ({*PLANE} <= sizes.keys() and {*boards} <= {*data.rows.column_names}):
        return None
    whole = all(
        data.rows[board].unique().to_pylist() == [sizes[axis]]
        for board, axis in zip(boards, PLANE, strict=True)
    )
    return (sizes["y"], sizes["x"]) if whole else None
