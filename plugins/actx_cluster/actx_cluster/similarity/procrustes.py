"""Procrustes distance between taps and models: what is left after the best rotation of one onto the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.linalg import eigh, svdvals

from actx_cluster import costs
from actx_cluster.shape import Shape as Stored
from actx_cluster.similarity.cka import paired, pairs_result, refuse_equal
from actx_cluster.similarity.config import ProcrustesConfig
from actx_cluster.similarity.points import Points
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result

WIDEST = 4096
"""Rows or dimensions, whichever are fewer, at most: singular values are found of matrices of that size."""
READ_BYTES = 2**26


class Procrustes(Analyzer[ProcrustesConfig]):
    """Array ``distance``, (tap, other), and the table ``pairs``; rows are matched by name."""

    many: ClassVar[bool] = True

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        every, notes = paired(inputs, self.config.by)
        for points in every:
            _refuse_size(points)
        step = max(1, READ_BYTES // (8 * max(points.size for points in every)))
        shapes = [_shape(points, step) for points in every]
        refuse_equal(every, np.array([shape.size == 0 for shape in shapes]))
        nuclear = np.eye(len(every))
        for i, one in enumerate(shapes):
            for j, other in enumerate(shapes[:i]):
                nuclear[i, j] = nuclear[j, i] = _nuclear(one, other)
        nuclear = np.minimum(nuclear, 1)
        angular = self.config.distance == "angular"
        distance = np.arccos(nuclear) if angular else 2 - 2 * nuclear
        measure = "angle (radians)" if angular else "Procrustes distance"
        return pairs_result("distance", distance, every, notes, measure)

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        shapes = [Stored.of(spec) for spec in inputs]
        count, size = min(s.count for s in shapes), max(s.size for s in shapes)
        if min(count, size) > WIDEST:
            return None  # such inputs are refused, unless they have few rows in common
        told = costs.conditions(shapes, self.config.by)
        blocks = 4 * min(READ_BYTES, 8 * count * size)
        factors = 8 * count**2 * len(shapes) if size > count else 0
        work = factors + blocks + 32 * min(count, size) ** 2
        return costs.FIXED + told + max(work, costs.matrix(len(shapes)))


@dataclass(frozen=True, slots=True)
class Shape:
    """An input less its mean, scaled to size 1; or, where it has fewer rows than dimensions, an equal of it.

    A factor of its kernel, (rows, rows), has the same angles between rows, so a rotation tells no difference.
    """

    points: Points
    mean: np.ndarray
    size: float
    step: int
    factor: np.ndarray | None = None

    def blocks(self) -> Iterator[np.ndarray]:
        """The rows in order, ``step`` at a time, float64."""
        for start in range(0, self.points.count, self.step):
            stop = min(start + self.step, self.points.count)
            if self.factor is not None:
                yield self.factor[start:stop]
            else:
                yield (self.points.block(start, stop) - self.mean) / self.size


def _shape(points: Points, step: int) -> Shape:
    """Mean and size of an input; the size is 0 where all rows are equal."""
    whole = Shape(points, np.zeros(points.size), 1.0, step)
    mean = np.sum([block.sum(axis=0) for block in whole.blocks()], axis=0) / points.count
    centred = Shape(points, mean, 1.0, step)
    squares = sum(float(np.vdot(block, block)) for block in centred.blocks())
    rounding = np.finfo(np.float32).eps * float(np.abs(mean).max())
    if squares <= points.count * points.size * rounding**2:
        return Shape(points, mean, 0.0, step)
    shape = Shape(points, mean, float(np.sqrt(squares)), step)
    if points.size <= points.count:
        return shape
    kernel = np.block([[a @ b.T for b in shape.blocks()] for a in shape.blocks()])
    values, vectors = eigh(kernel)
    factor = vectors * np.sqrt(np.maximum(values, 0))
    return Shape(points, mean, shape.size, step, factor)


def _nuclear(one: Shape, other: Shape) -> float:
    """Sum of the singular values of X'Y: how well the best rotation fits, 1 for a perfect fit."""
    product = sum(a.T @ b for a, b in zip(one.blocks(), other.blocks(), strict=True))
    return float(svdvals(product).sum())


def _refuse_size(points: Points) -> None:
    smaller = min(points.count, points.size)
    if smaller > WIDEST:
        raise AnalysisError(
            f"expected at most {WIDEST} rows or dimensions, found {points.count} and {points.size}",
            where=points.input,
            hint="compare the scores of a pca",
        )
