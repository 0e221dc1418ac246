"""Leaders: rows that stand for all rows near them, found in an order that only their content decides.

After Hartigan (1975), with three differences. Rows come in a seeded order of their content, so shuffling
changes nothing; in the end every row joins its nearest leader; and where a number of leaders is asked for,
the radius grows whenever there are more, as in the doubling algorithm of Charikar et al. (1997), so the
work always ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from actx_cluster.clustering.space import TILE, squared

STEP = 256
"""Rows that are compared with all leaders at once."""


@dataclass(frozen=True, slots=True)
class Leaders:
    """``numbers`` of the leaders' rows; of each row the place of its leader, ``labels``, and the distance.

    ``means`` (leaders, dimensions) are float64 means of the rows they stand for, ``weights`` their number.
    ``tau`` is the radius in the end, ``added`` counts leaders that were put in to reach a minimum.
    """

    numbers: np.ndarray
    labels: np.ndarray
    distances: np.ndarray
    means: np.ndarray
    weights: np.ndarray
    tau: float
    added: int


def lead(
    matrix: np.ndarray,
    order: np.ndarray,
    *,
    tau: float | None = None,
    most: int,
    least: int = 1,
) -> Leaders:
    """Leaders of the rows of a finite matrix; without ``tau``, at most ``most`` of them.

    ``order`` must have equal rows side by side. Where there are fewer than ``least``, the rows farthest from
    theirs are added while rows differ.
    """
    distinct = order[first_of_kind(matrix, order)]
    mean = _mean(matrix, distinct)
    if tau is None and len(distinct) <= most:
        numbers, tau = distinct, 0.0
    else:
        cover = _Cover(matrix.shape[1], matrix.dtype, tau, most)
        for start in range(0, len(distinct), STEP):
            rows = distinct[start : start + STEP]
            cover.see(rows, matrix[rows] - mean, left=1 - start / len(distinct))
        numbers, tau = cover.numbers, float(cover.tau)
    labels, distances = nearest(matrix, matrix[numbers])
    before = len(numbers)
    if before < least:
        numbers = _topped(matrix, order, numbers, distances, least)
        labels, distances = nearest(matrix, matrix[numbers])
    added = len(numbers) - before
    used = np.bincount(labels, minlength=len(numbers)) > 0
    if not used.all():  # rows that differ by less than rounding: all join one of them
        numbers, labels = numbers[used], (np.cumsum(used) - 1)[labels]
    means, weights = group_means(matrix, labels, len(numbers))
    return Leaders(numbers, labels, distances, means, weights, tau, added)


def _mean(matrix: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The mean of some rows, added up in their order: to the last bit the same wherever they lie."""
    sums = np.zeros(matrix.shape[1])
    for start in range(0, len(order), 4096):
        sums += matrix[order[start : start + 4096]].sum(axis=0, dtype=np.float64)
    return (sums / len(order)).astype(matrix.dtype)


class _Cover:
    """The leaders so far; ``tau`` grows where it was not given and they become more than ``most``."""

    def __init__(self, size: int, dtype: np.dtype, tau: float | None, most: int) -> None:
        self.tau, self.grows, self.most = tau or 0.0, tau is None, most
        self.numbers = np.empty(0, np.int64)
        self.vectors = np.empty((0, size), dtype)

    def see(self, rows: np.ndarray, vectors: np.ndarray, left: float) -> None:
        """Make leaders of the rows that are far from all; ``left`` is the share of the rows to come."""
        far = np.ones(len(rows), bool)
        for start in range(0, len(self.vectors), TILE // STEP):
            near = squared(vectors, self.vectors[start : start + TILE // STEP]).min(axis=1)
            far &= near > self.tau**2
        chosen = _apart(vectors[far], self.tau)
        self.numbers = np.concatenate([self.numbers, rows[far][chosen]])
        self.vectors = np.concatenate([self.vectors, vectors[far][chosen]])
        while self.grows and len(self.numbers) > self.most:
            self._thin(left)

    def _thin(self, left: float) -> None:
        """Let the radius grow to a quantile of the leaders' distances, and drop those inside."""
        near = np.empty(len(self.vectors), self.vectors.dtype)
        step = max(1, TILE // len(self.vectors))
        for start in range(0, len(near), step):
            tile = squared(self.vectors[start : start + step], self.vectors)
            mine = np.arange(len(tile))
            tile[mine, start + mine] = np.inf
            near[start : start + step] = tile.min(axis=1)
        # a later row is less likely to need room
        self.tau = max(self.tau, float(np.sqrt(np.quantile(near, 0.25 + 0.5 * left))))
        kept = _apart(self.vectors, self.tau)
        if len(kept) == len(self.vectors):  # by rounding, none was inside
            self.tau, kept = float(np.nextafter(self.tau, np.inf)) * (1 + 1e-6), kept[: self.most]
        self.numbers, self.vectors = self.numbers[kept], self.vectors[kept]


def _apart(vectors: np.ndarray, tau: float) -> np.ndarray:
    """Places of the vectors that are farther than tau from all those kept before them."""
    kept = np.empty(0, np.int64)
    for start in range(0, len(vectors), STEP):
        block = vectors[start : start + STEP]
        free = np.ones(len(block), bool)
        if len(kept):
            free &= squared(block, vectors[kept]).min(axis=1) > tau**2
        far = squared(block, block) > tau**2
        mine = []
        for place in np.flatnonzero(free):
            if free[place]:
                mine.append(start + place)
                free &= far[place]
        kept = np.concatenate([kept, np.array(mine, np.int64)])
    return kept


def first_of_kind(matrix: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which places of an order hold a row that differs from the one before."""
    new = np.ones(len(order), bool)
    for start in range(1, len(order), 4096):
        now = order[start : start + 4096]
        before = order[start - 1 : start - 1 + len(now)]
        new[start : start + len(now)] = (matrix[now] != matrix[before]).any(axis=1)
    return new


def _topped(
    matrix: np.ndarray, order: np.ndarray, numbers: np.ndarray, distances: np.ndarray, least: int
) -> np.ndarray:
    """The leaders and, one after the other, the row farthest from all."""
    chosen, far = numbers.tolist(), distances.copy()
    far[numbers] = 0
    while len(chosen) < least:
        row = int(order[far[order].argmax()])
        if far[row] == 0:
            break
        chosen.append(row)
        far = np.minimum(far, np.linalg.norm(matrix - matrix[row], axis=1))
        far[row] = 0
    return np.array(chosen)


def nearest(matrix: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the place of its nearest centre, and the distance in float64."""
    labels, distances = np.empty(len(matrix), np.int64), np.empty(len(matrix))
    middle = centers.mean(axis=0, dtype=np.float64).astype(matrix.dtype)
    around = np.asarray(centers - middle, matrix.dtype)
    step = max(1, TILE // len(centers))
    for start in range(0, len(matrix), step):
        at = slice(start, start + step)
        block = matrix[at]
        labels[at] = squared(block - middle, around).argmin(axis=1)
        distances[at] = np.linalg.norm(block.astype(np.float64) - centers[labels[at]], axis=1)
    return labels, distances


def group_means(
    matrix: np.ndarray, labels: np.ndarray, groups: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the rows of each group in float64, (groups, dimensions), and the number of its rows."""
    sums = np.zeros((groups, matrix.shape[1]))
    for start in range(0, len(matrix), 4096):
        part = labels[start : start + 4096]
        sums += one_hot(part, groups) @ matrix[start : start + 4096].astype(np.float64)
    weights = np.bincount(labels, minlength=groups)
    return sums / np.maximum(weights, 1)[:, None], weights


def one_hot(labels: np.ndarray, groups: int, dtype: type = np.float64) -> csr_array:
    """A sparse matrix (groups, rows) that sums rows by group; labels below 0 belong to none."""
    inside = np.flatnonzero(labels >= 0)
    ones: np.ndarray = np.ones(len(inside), dtype)
    return csr_array((ones, (labels[inside], inside)), shape=(groups, len(labels)))
