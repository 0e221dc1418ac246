"""How good clusters are: silhouettes, exact or of a sample, and stability when some rows are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import adjusted_rand_score

from actx_cluster.clustering.leading import one_hot
from actx_cluster.clustering.partition import NOISE
from actx_cluster.clustering.space import TILE, Space, squared
from actx_cluster.rows import row_keys

JUDGED = 4096
"""Rows whose silhouettes are gathered in one pass over all rows."""
LEFT_OUT = 0.02
"""Share of the rows that a repetition leaves out."""


@dataclass(frozen=True, slots=True)
class Silhouettes:
    """Silhouettes (Rousseeuw 1987) of the rows ``judged``, each over all clustered rows.

    Empty where undefined: one cluster, or as many as rows.
    """

    judged: np.ndarray
    values: np.ndarray
    rows: int

    @property
    def mean(self) -> float | None:
        return float(self.values.mean()) if len(self.values) else None

    @property
    def error(self) -> float | None:
        """Standard error of the mean; 0 where every row was judged."""
        few = len(self.values)
        if few < 2:
            return None
        unseen = 1 - few / self.rows
        return float(self.values.std(ddof=1) * np.sqrt(unseen / few))

    def of_clusters(self, labels: np.ndarray, clusters: int) -> list[float | None]:
        """The mean for each cluster; None for one without judged rows."""
        mine = labels[self.judged]
        count = np.bincount(mine, minlength=clusters)
        total = np.bincount(mine, self.values, minlength=clusters)
        return [float(t / n) if n else None for t, n in zip(total, count, strict=True)]


def silhouettes(
    space: Space, labellings: Sequence[np.ndarray], most: int | None
) -> list[Silhouettes]:
    """Silhouettes of at most ``most`` rows for each labelling; None judges all. NOISE takes no part.

    The rows judged are a seeded sample that does not change when rows are shuffled. Distances are made in
    tiles of float32 (float64 where the rows are), once for all labellings.
    """
    judged = np.arange(space.count)
    if most is not None and most < space.count:
        judged = np.sort(space.order[:most])
    values = [np.empty(len(judged)) for _ in labellings]
    for start in range(0, len(judged), JUDGED):
        part = judged[start : start + JUDGED]
        for found, scores in zip(_silhouettes(space, labellings, part), values, strict=True):
            scores[start : start + JUDGED] = found
    results = []
    for labels, scores in zip(labellings, values, strict=True):
        mine = labels[judged] != NOISE
        rows, clusters = int((labels != NOISE).sum()), len(np.unique(labels[labels != NOISE]))
        defined = mine if 1 < clusters < rows else np.zeros_like(mine)
        results.append(Silhouettes(judged[defined], scores[defined], rows))
    return results


def _silhouettes(
    space: Space, labellings: Sequence[np.ndarray], judged: np.ndarray
) -> list[np.ndarray]:
    vectors = space.take(judged)
    middle = vectors.mean(axis=0, dtype=np.float64).astype(vectors.dtype)
    vectors = vectors - middle
    sizes = [np.bincount(labels[labels != NOISE]) for labels in labellings]
    sums = [np.zeros((len(size), len(judged))) for size in sizes]
    for at, block in space.blocks(max(1, TILE // len(judged))):
        tile = np.sqrt(squared(block - middle, vectors))
        inside = np.flatnonzero((judged >= at.start) & (judged < at.stop))
        tile[judged[inside] - at.start, inside] = 0  # a row's distance to itself, but for rounding
        for labels, total in zip(labellings, sums, strict=True):
            total += one_hot(labels[at], len(total), tile.dtype.type) @ tile
    return [
        _scores(total, size, labels[judged])
        for total, size, labels in zip(sums, sizes, labellings, strict=True)
    ]


def _scores(sums: np.ndarray, sizes: np.ndarray, mine: np.ndarray) -> np.ndarray:
    """Silhouettes from the sums of distances (clusters, rows) to all rows of each cluster."""
    if len(sizes) < 2:
        return np.zeros(len(mine))
    columns = np.arange(len(mine))
    own = np.where(mine == NOISE, 0, mine)
    within = sums[own, columns] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes[:, None]
    means[own, columns] = np.inf
    other = means.min(axis=0)
    larger = np.maximum(within, other)
    scores = np.divide(other - within, larger, out=np.zeros(len(mine)), where=larger > 0)
    return np.where(sizes[own] == 1, 0.0, scores)


def stability(
    matrix: np.ndarray,
    solve: Callable[[np.ndarray], Sequence[np.ndarray]],
    times: int,
    seed: int,
) -> np.ndarray:
    """Mean adjusted Rand index of the clusters of all rows with those found when 2 % are left out.

    ``solve`` gives one or several labellings of a matrix; there is a mean for each. Rows left out are chosen
    by their content.
    """
    order = np.argsort(row_keys(matrix, seed), kind="stable")
    whole = solve(matrix)
    few = max(1, round(len(matrix) * LEFT_OUT))
    scores = []
    for time in range(times):
        left_out = order.take(range(time * few, (time + 1) * few), mode="wrap")
        without = np.delete(np.arange(len(matrix)), left_out)
        scores.append(
            [
                adjusted_rand_score(full[without], part)
                for full, part in zip(whole, solve(matrix[without]), strict=True)
            ]
        )
    found: np.ndarray = np.mean(scores, axis=0)
    return found
