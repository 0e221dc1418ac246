"""The rows as NMF sees them: scaled, and without negative values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actx_cluster.parts.config import NmfConfig
from actx_cluster.rows import Rows
from actx_core import AnalysisError

Negative = Literal["error", "relu", "split", "semi"]


def relu(block: np.ndarray) -> np.ndarray:
    positive: np.ndarray = np.maximum(block, 0)
    return positive


def split(block: np.ndarray) -> np.ndarray:
    """What is positive, and beside it what is negative, without its sign."""
    return np.concatenate([np.maximum(block, 0), np.maximum(-block, 0)], axis=1)


def same(block: np.ndarray) -> np.ndarray:
    return block


POLICIES: dict[Negative, Callable[[np.ndarray], np.ndarray]] = {
    "error": same,
    "relu": relu,
    "split": split,
    "semi": same,
}


@dataclass(frozen=True, slots=True)
class Sums:
    """Over all values: the sum of squares, that around the mean of each dimension, mean, and mean size."""

    squares: float
    around: float
    mean: float
    size: float


class Data:
    """Blocks of (rows, ``size``); ``size`` is twice the dimensions where negative values have their own.

    Raises AnalysisError for rows that are not finite or all equal, for negative values that are not
    expected, and where nothing but zeros is left.
    """

    def __init__(self, rows: Rows, options: NmfConfig) -> None:
        self.rows, self.count, self.dtype = rows, rows.count, rows.dtype
        self.policy = POLICIES[options.negative]
        self.free = options.negative == "semi"
        moments = rows.moments()
        self.scale = moments.scale.astype(rows.dtype) if options.scale == "std" else None
        self.size = rows.size * (2 if options.negative == "split" else 1)
        self.sums = self._sums(options.negative)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows in order."""
        for at, block in self.rows.blocks():
            yield at, self.policy(block if self.scale is None else block / self.scale)

    def matrix(self, numbers: np.ndarray) -> np.ndarray:
        """Some rows, by their numbers in ascending order."""
        found = np.empty((len(numbers), self.size), self.dtype)
        for at, block in self.blocks():
            first, last = np.searchsorted(numbers, (at.start, at.stop))
            found[first:last] = block[numbers[first:last] - at.start]
        return found

    def _sums(self, negative: Negative) -> Sums:
        squares, size, sums = 0.0, 0.0, np.zeros(self.size)
        bad: list[int] = []
        for at, block in self.blocks():
            if negative == "error":
                bad += (np.flatnonzero((block < 0).any(axis=1)) + at.start).tolist()
            squares += float(np.einsum("ij,ij->", block, block, dtype=np.float64))
            sums += block.sum(axis=0, dtype=np.float64)
            size += float(np.abs(block).sum(dtype=np.float64))
        if bad:
            raise AnalysisError(
                f"expected values of at least 0, but {len(bad)} of {self.count} rows hold negative ones:"
                f" {self.rows.named(bad)}",
                where=self.rows.data.name,
                hint='say what they mean: negative = "relu" drops them, "split" gives them dimensions of'
                ' their own, "semi" allows them in the parts',
            )
        if squares == 0:
            raise AnalysisError(
                "no value is above 0",
                where=self.rows.data.name,
                hint='negative values were set to 0: "split" or "semi" keeps them',
            )
        self.rows.squarable(squares / self.count)
        around = squares - float(sums @ sums) / self.count
        values = self.count * self.size
        return Sums(squares, around, float(sums.sum()) / values, size / values)
