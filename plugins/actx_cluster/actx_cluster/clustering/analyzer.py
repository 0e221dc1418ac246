"""What all clusterings do: read rows, find clusters, measure them, and tell about them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from actx_cluster import costs
from actx_cluster.clustering.caps import capped
from actx_cluster.clustering.config import ClusterConfig
from actx_cluster.clustering.partition import Partition, Solution, partition
from actx_cluster.clustering.quality import JUDGED, silhouettes, stability
from actx_cluster.clustering.report import PLANE_BYTES, Found, result
from actx_cluster.clustering.space import TILE, Space
from actx_cluster.figures import SHOWN_ROWS
from actx_cluster.rows import Rows, row_keys
from actx_cluster.shape import Shape
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result

C = TypeVar("C", bound=ClusterConfig)
SAMPLE = 2000
"""Rows on which stability is measured, at most; ten times the largest k if that is more."""
ROW, SOLUTION = 120, 60
"""Bytes for each row of the input: its order and name, and what each solution says of it."""


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

    @abstractmethod
    def prepare(self, shape: Shape) -> tuple[int, str]:
        """Choose how to work within ``memory``: the bytes it takes at most, and a sentence or none.

        Raises AnalysisError where nothing fits.
        """

    @property
    def counts(self) -> tuple[int, ...]:
        """Clusters of each solution, at most."""
        return getattr(self.config, "k", None) or (1,)

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        shape = Shape.of(inputs[0])
        self._enough(shape)
        try:
            return self.prepare(shape)[0]
        except AnalysisError:
            if self.config.caps is None:
                raise
            return None  # caps may leave few enough rows

    def needed(self, shape: Shape, held: int, working: Callable[[int], int]) -> int:
        """Bytes where so many rows are held; ``working`` tells what ``solve`` takes beside some rows."""
        size, options = self.size(shape), self.config
        row, clusters = size * shape.itemsize, self.counts
        sample = min(shape.count, self.sampled) if options.stability else 0
        most = options.silhouette
        judged = min(shape.count, JUDGED, JUDGED if most == "exact" else most)
        steps = (
            working(held),
            2 * sample * row + working(sample),
            judged * (3 * row + 8 * (sum(clusters) + 2 * max(clusters)))
            + 4 * shape.itemsize * min(TILE, judged * shape.count),
            4 * row * min(shape.count, SHOWN_ROWS, PLANE_BYTES // (8 * size)),
        )
        begin = costs.reading(shape)
        if size < shape.size:
            begin = max(begin, costs.spectrum(shape, size))
        told = shape.stored * (ROW + SOLUTION * len(clusters))
        return costs.FIXED + max(begin, held * row + told + max(steps))

    def extra(self, found: Found) -> Result:
        """Tables, arrays and figures that only this method has, for all rows."""
        return Result()

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        rows, notes = self._rows(inputs[0])
        _, note = self.prepare(rows.shape)
        notes += [note] if note else []
        moments = rows.moments()
        space = Space(rows, rows.scaler(self.config.preprocess, moments), self.config.seed)
        if not space.variance.any():
            raise AnalysisError(
                "expected rows that differ, but"
                f' preprocess = "{self.config.preprocess}" makes all equal',
                where=rows.data.name,
                hint="use another preprocess",
            )
        rows.squarable(float(space.variance.sum()))
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
        self._enough(rows.shape)
        return rows, notes

    def _enough(self, shape: Shape) -> None:
        if shape.count < self.least:
            least = f"{'k = ' if hasattr(self.config, 'k') else ''}{self.least}"
            raise AnalysisError(
                f"expected at least {least} rows, found {shape.count}",
                where=shape.name,
                hint="ask for fewer or smaller clusters, or extract more samples",
            )

    def size(self, shape: Shape) -> int:
        """Numbers of a row after preprocessing, at most."""
        components = self.config.preprocess.partition(":")[2]
        return min(shape.size, int(components)) if components else shape.size

    @property
    def sampled(self) -> int:
        """Rows on which stability is measured, at most."""
        return max(SAMPLE, 10 * self.least)

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
        numbers = np.sort(space.order[: self.sampled])
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
