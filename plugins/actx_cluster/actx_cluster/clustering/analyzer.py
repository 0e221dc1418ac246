"""What all clusterings do: read rows, find clusters, measure them, and tell about them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from actx_cluster.clustering.caps import capped
from actx_cluster.clustering.config import ClusterConfig
from actx_cluster.clustering.partition import Partition, Solution, partition
from actx_cluster.clustering.quality import silhouettes, stability
from actx_cluster.clustering.report import Found, result
from actx_cluster.clustering.space import Space
from actx_cluster.rows import Rows, row_keys
from actx_core import AnalysisError, Analyzer, Input, Result

C = TypeVar("C", bound=ClusterConfig)
SAMPLE = 2000
"""Rows on which stability is measured, at most; ten times the largest k if that is more."""


class Clusterer(Analyzer[C]):
    """A clustering method. Subclasses say what they find on a matrix, and what memory they need."""

    @property
    def least(self) -> int:
        """Rows that there must be: the largest k."""
        return max(getattr(self.config, "k", None) or (1,))

    @abstractmethod
    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        """One solution, or one for each k, of a finite matrix; ``order`` is that of :meth:`Rows.order`."""

    def fit(self, space: Space) -> list[Solution]:
        """The solutions for all rows."""
        return self.solve(space.matrix, space.order)

    def prepare(self, rows: Rows, size: int) -> Iterator[str]:
        """Choose how to work within ``memory``, before the work; sentences about the choice.

        ``size`` is that of a row after preprocessing. Raises AnalysisError where nothing fits.
        """
        yield from ()

    def extra(self, found: Found) -> Result:
        """Tables, arrays and figures that only this method has, for all rows."""
        return Result()

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        rows, notes = self._rows(inputs[0])
        notes += self.prepare(rows, self._size(rows))
        moments = rows.moments()
        space = Space(rows, rows.scaler(self.config.preprocess, moments), self.config.seed)
        if not space.variance.any():
            raise AnalysisError(
                "expected rows that differ, but"
                f' preprocess = "{self.config.preprocess}" makes all equal',
                where=rows.data.name,
                hint="use another preprocess",
            )
        partitions = [partition(space, solution) for solution in self.fit(space)]
        for one in partitions:
            self._check(one, rows)
        options = self.config
        most = None if options.silhouette == "exact" else options.silhouette
        found = Found(
            space,
            partitions,
            silhouettes(space, [one.labels for one in partitions], most),
            self._stability(space),
            notes,
        )
        return result(found, options, self.extra(found))

    def _rows(self, data: Input) -> tuple[Rows, list[str]]:
        rows, notes = Rows(data), []
        if self.config.caps is not None:
            keep, note = capped(rows, self.config.caps, self.config.seed)
            rows, notes = Rows(data, keep), [note]
        if rows.count < self.least:
            least = f"{'k = ' if hasattr(self.config, 'k') else ''}{self.least}"
            raise AnalysisError(
                f"expected at least {least} rows, found {rows.count}",
                where=data.name,
                hint="ask for fewer or smaller clusters, or extract more samples",
            )
        return rows, notes

    def _size(self, rows: Rows) -> int:
        components = self.config.preprocess.partition(":")[2]
        return min(rows.size, int(components)) if components else rows.size

    def _check(self, found: Partition, rows: Rows) -> None:
        asked = found.solution.asked
        if asked is not None and len(found.sizes) < asked:
            raise AnalysisError(
                f"expected {asked} clusters, but the rows fall into {len(found.sizes)}",
                where=rows.data.name,
                hint="ask for fewer: too many rows are equal, or centres lost all their rows",
            )

    def _stability(self, space: Space) -> list[float | None]:
        """Of each solution; None where it is not asked for."""
        if not self.config.stability:
            return []
        few = max(SAMPLE, 10 * self.least)
        numbers = np.sort(space.order[:few])
        matrix = space.take(numbers)
        if self.least > len(matrix) * 0.9:
            return []

        def solve(part: np.ndarray) -> list[np.ndarray]:
            order = np.argsort(row_keys(part, self.config.seed), kind="stable")
            return [one.labels for one in self.solve(part, order)]

        found = stability(matrix, solve, self.config.stability, self.config.seed)
        return [float(value) for value in found]


def single_threaded() -> threadpool_limits:
    """For libraries that add partial sums of threads in an order that changes."""
    return threadpool_limits(1)
