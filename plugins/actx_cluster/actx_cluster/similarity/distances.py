"""Distances between all pairs of conditions, in tiles of matrix products, written row by row to a file.

``correlation`` and ``cosine`` multiply unit vectors in float32: errors stay below 1e-6. The Euclidean family
multiplies in float64, because differences of large squares would lose what lies between near neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from actx_cluster.shape import Shape
from actx_cluster.similarity.config import Metric
from actx_cluster.similarity.points import READ_BYTES, Points
from actx_core import AnalysisError

HELD_BYTES = 2**28
"""Vectors that are held, and distances that are gathered before they are written; each at most."""
TILE = 2048
"""Conditions on each side of a tile of distances."""
WIDEST = 8192
"""Dimensions up to which a covariance is made."""

Prepare = Callable[[int, int], np.ndarray]
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Distances:
    """One metric on the conditions of one input.

    ``vectors`` reads and prepares conditions as float32; ``tile`` gives the distances of some to others.
    """

    def __init__(self, points: Points, metric: Metric, shrinkage: float = 0.0) -> None:
        self.points = points
        self.metric = metric
        if not self._by_direction:
            # Any point near the cloud will do: what is far from zero has fewer digits for differences.
            first = points.block(0, min(points.count, max(1, READ_BYTES // (4 * points.size))))
            self._shift = first.mean(axis=0, dtype=np.float64).astype(first.dtype)
        self._root: np.ndarray | None = None
        if metric == "mahalanobis":
            self._root = _whitener(points, self._shift, shrinkage)

    @property
    def _by_direction(self) -> bool:
        return self.metric in ("correlation", "cosine")

    def vectors(self, start: int, stop: int) -> np.ndarray:
        """Conditions ``start`` to ``stop`` in the space where ``tile`` compares them."""
        block = self.points.block(start, stop)
        if self._by_direction:
            return self._directions(block, start)
        block = block - self._shift
        if self._root is not None:
            block = solve_triangular(self._root, block.T, lower=True, check_finite=False).T
        return np.ascontiguousarray(block, np.float32)

    def _directions(self, block: np.ndarray, start: int) -> np.ndarray:
        """Rows of length 1, for the correlation less their mean."""
        mean = np.zeros((len(block), 1), block.dtype)
        if self.metric == "correlation":
            mean[:, 0] = block.mean(axis=1, dtype=np.float64)
        vectors = np.subtract(block, mean, dtype=block.dtype)
        with np.errstate(over="ignore"):
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        # Rare rows whose squares leave the range, or of which rounding may be all that is left.
        odd = (lengths < 1e-15) | (lengths > 1e15)
        odd |= lengths < 1e-5 * np.abs(mean[:, 0]) * np.sqrt(block.shape[1])
        self._refuse_equal(block, np.flatnonzero(odd), start)
        for row in np.flatnonzero(odd):
            exact = block[row].astype(np.float64)
            exact -= exact.mean() if self.metric == "correlation" else 0
            vectors[row] = exact / np.linalg.norm(exact)
            lengths[row] = 1
        vectors /= lengths[:, None]
        return np.asarray(vectors, np.float32)

    def _refuse_equal(self, block: np.ndarray, odd: np.ndarray, start: int) -> None:
        if self.metric == "correlation":
            equal, why = np.ptp(block[odd], axis=1) == 0, "constant: no correlation exists"
        else:
            equal, why = ~block[odd].any(axis=1), "zero: no direction exists"
        if equal.any():
            which = odd[equal] + start
            raise AnalysisError(
                f"{len(which)} conditions are {why}: {self.points.named(which)}",
                where=self.points.input,
                hint='leave these samples out, or use metric = "euclidean"',
            )

    def tile(self, some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Distances (some, others) as float32."""
        if self._by_direction:
            found = some @ others.T
            np.subtract(np.float32(1), found, out=found)
            return np.asarray(np.clip(found, 0, 2, out=found))
        wide, other = some.astype(np.float64), others.astype(np.float64)
        found = wide @ other.T
        found *= -2
        found += np.einsum("ij,ij->i", wide, wide)[:, None]
        found += np.einsum("ij,ij->i", other, other)
        np.maximum(found, 0, out=found)
        if self.metric != "sqeuclidean":
            np.sqrt(found, out=found)
        return found.astype(np.float32)


def condensed(distances: Distances, path: Path) -> np.ndarray:
    """All distances as scipy's condensed vector, float32: a map of the file ``path``.

    The file grows by whole sections of rows; where it already holds some, the work goes on behind them.
    """
    points = distances.points
    count = points.count
    if count < 2:
        raise AnalysisError(
            f"expected at least 2 conditions, found {count}",
            where=points.input,
            hint="extract more samples, or average over another column",
        )
    with path.open("r+b" if path.exists() else "wb") as file:
        size = file.seek(0, 2) // 4
        for start, stop in _sections(count, points.size):
            begin, end = _offset(start, count), _offset(stop, count)
            if end <= size:
                continue
            file.truncate(begin * 4)
            file.seek(begin * 4)
            file.write(_section(distances, start, stop).data)
            file.flush()
    return np.memmap(path, np.float32, mode="r", shape=(count * (count - 1) // 2,))


def working(shape: Shape, metric: Metric) -> int:
    """Bytes that :func:`condensed` takes at most: vectors as they are made, a section, and tiles."""
    count, size = shape.count, shape.size
    vectors = 3 * min(HELD_BYTES, count * size * max(4, shape.itemsize))
    section = min(HELD_BYTES, 2 * count**2)
    tile = min(count, TILE)
    covariance = 40 * size**2 if metric == "mahalanobis" and size <= WIDEST else 0
    return vectors + section + tile * (20 * tile + 16 * size) + covariance


def _section(distances: Distances, start: int, stop: int) -> np.ndarray:
    """The distances of the conditions ``start`` to ``stop`` to all that follow them."""
    count = distances.points.count
    base = _offset(start, count)
    section = np.empty(_offset(stop, count) - base, np.float32)
    held = distances.vectors(start, stop)
    _fill(section, distances, start, held, start, held)
    for first in range(stop, count, len(held)):
        other = distances.vectors(first, min(first + len(held), count))
        _fill(section, distances, start, held, first, other)
    return section


def _fill(
    section: np.ndarray,
    distances: Distances,
    start: int,
    held: np.ndarray,
    first: int,
    other: np.ndarray,
) -> None:
    """Put the distances of held conditions (from ``start``) to others (from ``first``) where they belong."""
    count, base = distances.points.count, _offset(start, distances.points.count)
    for top in range(0, len(held), TILE):
        some = held[top : top + TILE]
        for left in range(max(0, start + top - first), len(other), TILE):
            # on the diagonal both are the same memory: BLAS then makes one triangle only
            tile = distances.tile(some, other[left : left + TILE])
            for row, line in enumerate(tile, start + top):
                begin = max(first + left, row + 1)
                line = line[begin - first - left :]
                at = _offset(row, count) - base + begin - row - 1
                section[at : at + len(line)] = line


def _sections(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Runs of conditions whose vectors and whose distances to all later ones are small enough to hold."""
    start = 0
    most = max(1, HELD_BYTES // (4 * size))
    while start < count:
        stop = min(start + most, count)
        while stop > start + 1 and _offset(stop, count) - _offset(start, count) > HELD_BYTES // 4:
            stop = start + (stop - start + 1) // 2
        yield start, stop
        start = stop


def _offset(row: int, count: int) -> int:
    """Where the pairs of a row begin in the condensed vector."""
    return row * count - row * (row + 1) // 2


def _whitener(points: Points, shift: np.ndarray, shrinkage: float) -> np.ndarray:
    """The lower Cholesky factor of the covariance, (size, size).

    Where conditions are means of rows, of the rows around them (noise); otherwise of all rows, as in scipy.
    """
    size = points.size
    if size > WIDEST:
        raise AnalysisError(
            f"expected at most {WIDEST} dimensions for mahalanobis, found {size}",
            where=points.input,
            hint="analyse the scores of a pca",
        )
    scatter = np.zeros((size, size))
    total = np.zeros(size)
    for residuals in _residuals(points, shift):
        scatter += residuals.T @ residuals
        total += residuals.sum(axis=0)
    if points.averaged:
        freedom = len(points.members) - points.count
    else:
        freedom = points.count - 1
        scatter -= np.outer(total, total) / points.count
    covariance = scatter / max(1, freedom)
    spread = np.diag(covariance).copy()
    covariance *= 1 - shrinkage
    np.fill_diagonal(covariance, spread)
    try:
        root: np.ndarray = cholesky(covariance, lower=True)
    except LinAlgError:
        root = np.zeros((1, 1))
    if np.diag(root).min() ** 2 <= size * np.finfo(np.float32).eps * spread.max() / 100:
        raise AnalysisError(
            f"the covariance of {size} dimensions cannot be inverted"
            f" ({freedom} degrees of freedom)",
            where=points.input,
            hint="say shrinkage = 0.1, or analyse the scores of a pca with fewer components",
        )
    return root


def _residuals(points: Points, shift: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks of rows less the mean of their condition, or less ``shift`` where conditions are rows."""
    rows = Points(
        points.rows, [""] * len(points.members), points.members, np.arange(len(points.members) + 1)
    )
    step = max(1, HELD_BYTES // (32 * points.size))
    for start in range(0, rows.count, step):
        stop = min(start + step, rows.count)
        block = rows.block(start, stop).astype(np.float64)
        if points.averaged:
            owner = np.searchsorted(points.bounds, np.arange(start, stop), "right") - 1
            yield block - points.block(owner[0], owner[-1] + 1)[owner - owner[0]]
        else:
            yield block - shift
