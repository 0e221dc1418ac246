"""One division of the rows into clusters, and what the rows tell of it: centres, distances, spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist, squareform

from actx_cluster.clustering.leading import one_hot
from actx_cluster.clustering.space import Space

NOISE = -1


@dataclass(frozen=True, slots=True)
class Solution:
    """What a method found: a label for each row, NOISE or 0 … k - 1, in any numbering.

    ``centers`` (k, dimensions) where the method has its own; ``asked`` is the number of clusters wanted, if
    one was; ``moving`` says that the iterations did not end by themselves. ``model`` is what else the
    method found: a tree, leaders, probabilities.
    """

    labels: np.ndarray
    asked: int | None = None
    centers: np.ndarray | None = None
    iterations: int | None = None
    moving: bool = False
    model: Any = None


@dataclass(frozen=True, slots=True)
class Partition:
    """Clusters numbered from the largest to the smallest; of equal size, from the middle outwards.

    ``centers`` (clusters, dimensions) are the method's own, or the means; ``means`` always the means.
    ``distances`` (rows) reach from each row to its cluster's centre, NaN for noise.
    """

    solution: Solution
    labels: np.ndarray
    sizes: np.ndarray
    centers: np.ndarray
    means: np.ndarray
    distances: np.ndarray

    @property
    def suffix(self) -> str:
        """Behind the names of columns: ``_k5``; empty where no number of clusters was asked for."""
        return "" if self.solution.asked is None else f"_k{self.solution.asked}"

    @property
    def inertia(self) -> float:
        """Sum of the squared distances of the rows to their centres."""
        return float(np.nansum(self.distances**2))

    @property
    def noise(self) -> int:
        """Rows in no cluster."""
        return int(np.isnan(self.distances).sum())


def partition(space: Space, solution: Solution) -> Partition:
    """Number the clusters, and measure their means and distances in one pass each over the rows."""
    numbers, first, labels = np.unique(solution.labels, return_index=True, return_inverse=True)
    noisy = int(numbers[0] == NOISE)
    clusters = len(numbers) - noisy
    labels = labels - noisy  # NOISE stays -1
    sizes = np.bincount(labels[labels != NOISE], minlength=clusters)
    means = _means(space, labels, sizes)
    # of equally large ones, that nearest the middle is first: the order of rows does not decide
    middle = np.linalg.norm(means - sizes @ means / max(1, sizes.sum()), axis=1)
    order = np.lexsort((first[noisy:], middle, -sizes))
    place = np.append(np.argsort(order), NOISE)
    labels, sizes, means = place[labels], sizes[order], means[order]
    centers = means
    if solution.centers is not None and clusters == len(solution.centers):
        centers = solution.centers[numbers[noisy:]][order].astype(np.float64)
    distances = np.full(space.count, np.nan)
    for at, block in space.blocks():
        mine = labels[at] != NOISE
        difference = block[mine].astype(np.float64) - centers[labels[at][mine]]
        distances[at][mine] = np.linalg.norm(difference, axis=1)
    return Partition(solution, labels, sizes, centers, means, distances)


def _means(space: Space, labels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    sums = np.zeros((len(sizes), space.size))
    for at, block in space.blocks():
        sums += one_hot(labels[at], len(sizes)) @ block.astype(np.float64)
    means: np.ndarray = sums / sizes[:, None]
    return means


def calinski_harabasz(found: Partition) -> float | None:
    """Caliński & Harabasz (1974): spread between over spread within clusters, per degree of freedom."""
    rows, k = int(found.sizes.sum()), len(found.sizes)
    if not 1 < k < rows:
        return None
    middle = found.sizes @ found.means / rows
    between = float(found.sizes @ ((found.means - middle) ** 2).sum(axis=1))
    shift = found.sizes @ ((found.centers - found.means) ** 2).sum(axis=1)
    within = found.inertia - float(shift)  # around the means
    return between / within * (rows - k) / (k - 1) if within > 0 else 1.0


def davies_bouldin(spreads: np.ndarray, means: np.ndarray) -> float | None:
    """Davies & Bouldin (1979): mean over clusters of the worst (spread + spread) / distance of the means.

    ``spreads`` are the mean distances of a cluster's rows to its mean.
    """
    if len(spreads) < 2:
        return None
    apart = squareform(pdist(means))
    apart[apart == 0] = np.inf  # a cluster and itself
    return float(((spreads[:, None] + spreads) / apart).max(axis=1).mean())


def spreads(space: Space, found: Sequence[Partition]) -> list[np.ndarray]:
    """Mean distance of each cluster's rows to its mean, for each partition, in one pass."""
    sums = [np.zeros(len(one.sizes)) for one in found]
    for at, block in space.blocks():
        for one, total in zip(found, sums, strict=True):
            labels = one.labels[at]
            mine = labels != NOISE
            far = np.linalg.norm(block[mine].astype(np.float64) - one.means[labels[mine]], axis=1)
            total += np.bincount(labels[mine], far, minlength=len(total))
    return [total / one.sizes for one, total in zip(found, sums, strict=True)]
