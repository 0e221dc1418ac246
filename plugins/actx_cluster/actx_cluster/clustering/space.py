"""Rows in the space where distances are measured: block by block, or all in memory once they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from actx_cluster.rows import Rows
from actx_cluster.scaling import Scaler

TILE = 2**22
"""Numbers in one tile of distances: 16 MB of float32."""


class Space:
    """The rows of an input after preprocessing: (count, size), float32 or float64.

    ``order`` is the seeded order of :meth:`Rows.order`, which shuffling the rows does not change.
    """

    def __init__(self, rows: Rows, scaler: Scaler, seed: int) -> None:
        self.rows, self.scaler, self.seed = rows, scaler, seed
        self.count, self.size = rows.count, scaler.size(rows.size)
        self.held = False

    @cached_property
    def matrix(self) -> np.ndarray:
        """All rows in memory."""
        matrix = self.rows.gathered(self.scaler)
        self.held = True
        return matrix

    @cached_property
    def order(self) -> np.ndarray:
        return self.rows.order(self.seed)

    def blocks(self, step: int = 4096) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows in order, at most ``step`` at a time; read again unless they are in memory."""
        if self.held:
            yield from _cut(slice(0, self.count), self.matrix, step)
        else:
            for at, block in self.rows.scaled(self.scaler):
                yield from _cut(at, block, step)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows, in the order asked for."""
        if self.held:
            found: np.ndarray = self.matrix[numbers]
            return found
        taken = np.empty((len(numbers), self.size), self.rows.dtype)
        order = np.argsort(numbers, kind="stable")
        ordered = numbers[order]
        for at, block in self.blocks():
            first, last = np.searchsorted(ordered, (at.start, at.stop))
            taken[order[first:last]] = block[ordered[first:last] - at.start]
        return taken

    @cached_property
    def variance(self) -> np.ndarray:
        """Of each dimension, divided by the number of rows, float64."""
        shift = None
        total = squares = np.zeros(self.size)
        for _, block in self.blocks():
            # around the mean of some rows, sums of squares keep their digits
            shift = block.mean(axis=0, dtype=np.float64) if shift is None else shift
            values = block - shift
            total = total + values.sum(axis=0)
            squares = squares + np.einsum("ij,ij->j", values, values)
        variance: np.ndarray = squares / self.count - (total / self.count) ** 2
        return variance.clip(0)


def _cut(at: slice, block: np.ndarray, step: int) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(block), step):
        part = block[start : start + step]
        yield slice(at.start + start, at.start + start + len(part)), part


def squared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (left, right), by a matrix product, in the dtype of the rows.

    Both must lie around zero: differences of large numbers lose their digits.
    """
    tile: np.ndarray = (left * left.dtype.type(-2)) @ right.T
    tile += squares(left)[:, None]
    tile += squares(right)
    np.maximum(tile, 0, out=tile)
    return tile


def squares(vectors: np.ndarray) -> np.ndarray:
    """The squared length of each row."""
    found: np.ndarray = np.einsum("ij,ij->i", vectors, vectors)
    return found
