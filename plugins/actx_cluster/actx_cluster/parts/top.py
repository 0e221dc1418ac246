"""The rows with the largest values of each column, kept while blocks of rows go by."""

from __future__ import annotations

import numpy as np


class Top:
    """At most ``most`` rows for each of some columns, largest value first; equal values in row order."""

    def __init__(self, columns: int, most: int) -> None:
        self.most = most
        self.values = np.empty((0, columns))
        self.numbers = np.empty((0, columns), np.int64)

    def add(self, at: slice, values: np.ndarray) -> None:
        """Take in a block (rows, columns) that stands at ``at``."""
        most = min(self.most, len(values))
        if not most:
            return
        best = np.argsort(-values, axis=0, kind="stable")[:most]
        values = np.concatenate([self.values, np.take_along_axis(values, best, axis=0)])
        numbers = np.concatenate([self.numbers, best + at.start])
        order = np.argsort(-values, axis=0, kind="stable")[: self.most]
        self.values = np.take_along_axis(values, order, axis=0)
        self.numbers = np.take_along_axis(numbers, order, axis=0)

    def rows(self) -> list[list[int]]:
        """Row numbers for each column."""
        found: list[list[int]] = self.numbers.T.tolist()
        return found
