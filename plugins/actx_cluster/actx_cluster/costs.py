"""Bytes that steps of several analyzers take at most, foretold from shapes."""

from __future__ import annotations

from collections.abc import Sequence

from actx_cluster.rows import BLOCK_BYTES
from actx_cluster.shape import Shape
from actx_cluster.spectrum import EXACT, FEW, MEMORY, OVERSAMPLING

FIXED = 3 * 2**24
"""Figures, and what is small whatever the shape."""
HEATMAP = 200 * 2**20
"""A heat map across the whole report, which matplotlib resamples in float64."""
WIDE = 16
"""Names beside a heat map from which it is so wide."""
NUMBER, TEXT = 40, 120
"""A number and a name in a column of a table, while it is made and stored."""


def reading(shape: Shape) -> int:
    """A block of rows with what their moments take: wide copies, differences and squares."""
    return 3 * min(BLOCK_BYTES, 8 * shape.stored * shape.size)


def projecting(shape: Shape) -> int:
    """A block of rows and its product with something narrow."""
    return min(BLOCK_BYTES, 8 * shape.stored * shape.size)


def conditions(shapes: Sequence[Shape], by: Sequence[str] = ()) -> int:
    """The names of the conditions of each input and the rows of each; one after the other is matched."""
    matching = max(shape.count for shape in shapes) * (4 * TEXT + len(by) * TEXT // 2)
    return sum(shape.count for shape in shapes) * (TEXT + 32) + (matching if by else 0)


def matrix(names: int) -> int:
    """The figure of a matrix between so many named things."""
    return HEATMAP if names > WIDE else 0


def spectrum(shape: Shape, few: int) -> int:
    """The principal components of the rows, in the cases of :func:`spectrum.principal`."""
    count, size = shape.count, shape.size
    few = min(few, count, size)
    if size > count and count <= FEW and count * size * 8 <= MEMORY:
        return reading(shape) + 8 * count * (size + 3 * count) + 24 * few * size
    if size <= EXACT:
        return projecting(shape) + 24 * size**2 + 16 * few * size
    return reading(shape) + 40 * (few + OVERSAMPLING) * size
