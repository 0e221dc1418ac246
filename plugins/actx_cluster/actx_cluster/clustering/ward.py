"""Exact Ward clustering without a matrix of distances: mutual nearest neighbours are merged in rounds.

Ward's criterion is reducible (Bruynooghe 1977): the union of two clusters that are each other's nearest is no
nearer to a third than they were. All mutual pairs can therefore be merged at once, and the tree is that of
the greedy algorithm. Memory is O(n d): distances are made in tiles, by matrix products, and forgotten.
"""

from __future__ import annotations

import numpy as np

from actx_cluster.clustering.leading import first_of_kind
from actx_cluster.clustering.search import Search, search
from actx_cluster.clustering.space import squares
from actx_cluster.rows import row_keys

BLOCK = 4096
"""Rows of the matrix that are centred at once."""


def ward(matrix: np.ndarray, weights: np.ndarray | None = None, device: str = "cpu") -> np.ndarray:
    """The tree of all merges in scipy's form, float64 of shape (n - 1, 4).

    ``matrix`` is (n, d) and finite; ``weights`` (n) tell how many observations a row stands for. Each line
    holds two clusters, the height, and the observations of their union. Heights are scipy's for
    ``method="ward"``: sqrt(2ab / (a + b)) times the distance of the centroids, a and b their weights.
    Neighbours are looked for on ``device``; :func:`search` says which there are.
    """
    weights = np.ones(len(matrix)) if weights is None else np.asarray(weights)
    forest = _Forest(matrix, weights, search(device))
    while len(forest.ids) > 1:
        forest.merge(*forest.mutual())
    return forest.tree()


def cut(tree: np.ndarray, k: int) -> np.ndarray:
    """The k clusters of a tree: a label for each row, numbered by their first row; k is met exactly."""
    n = len(tree) + 1
    parent = np.arange(2 * n - 1)
    for number, pair in enumerate(tree[: n - k, :2].astype(np.int64), n):
        parent[pair] = number
    while (parent != parent[parent]).any():
        parent = parent[parent]
    _, first, labels = np.unique(parent[:n], return_index=True, return_inverse=True)
    numbers: np.ndarray = np.argsort(np.argsort(first))[labels]
    return numbers


def counted(tree: np.ndarray) -> np.ndarray:
    """The same tree, but each line counts the leaves below it, as scipy wants it, and not their weights."""
    n = len(tree) + 1
    counts = np.ones(2 * n - 1)
    for number, (first, second) in enumerate(tree[:, :2].astype(np.int64), n):
        counts[number] = counts[first] + counts[second]
    return np.column_stack([tree[:, :3], counts[n:]])


class _Forest:
    """The clusters that are left, a column each; ``nearest`` is a place, ``distance`` Ward's, squared."""

    COLUMNS = ("ids", "weights", "heights", "centroids", "squares", "nearest", "distance")

    def __init__(self, matrix: np.ndarray, weights: np.ndarray, search: Search) -> None:
        self.search = search
        self.rows = self.made = len(matrix)
        self.merges = [np.empty((0, 4))]
        self.ids = np.arange(self.rows)
        self.weights = weights.astype(np.float64)
        self.heights = np.zeros(self.rows)
        self.centroids = _centred(matrix, self.weights)
        self.squares = squares(self.centroids)
        self.nearest = np.zeros(self.rows, np.int64)
        self.distance = np.full(self.rows, np.inf, np.float32)
        self._merge_equal()
        self._find(np.arange(len(self.ids)))

    def _merge_equal(self) -> None:
        """Merge equal rows: of a kind, the first two with the first two of the rest, and so on, as in rounds.

        By nearest neighbours, all of a kind would point at one of them, and only one pair a round merge.
        """
        order = np.argsort(row_keys(self.centroids, 0), kind="stable")
        kinds = np.empty(len(order), np.int64)
        kinds[order] = np.cumsum(first_of_kind(self.centroids, order))
        while len(np.unique(kinds)) < len(kinds):
            order = np.argsort(kinds, kind="stable")
            run = np.arange(len(order)) - np.searchsorted(kinds[order], kinds[order])
            second = np.flatnonzero(run % 2 == 1)
            keep = self._join(order[second - 1], order[second])
            kinds = kinds[keep]

    def mutual(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the pairs that are each other's nearest."""
        places = np.arange(len(self.ids))
        first = np.flatnonzero((self.nearest[self.nearest] == places) & (places < self.nearest))
        if not len(first):  # rounding can make a circle of nearly equal distances
            first = np.array([self.distance.argmin()])
        return first, self.nearest[first]

    def merge(self, first: np.ndarray, second: np.ndarray) -> None:
        """Merge pairs, and look again for the neighbours that this may have changed."""
        touched = np.zeros(len(self.ids), bool)
        touched[first] = touched[second] = True
        stale = touched | touched[self.nearest]
        keep = self._join(first, second)
        if len(self.ids) > 1:
            self._find(np.flatnonzero(stale[keep]))

    def _join(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Put the union of each pair in the place of its first; returns which places stay."""
        a, b = self.weights[first], self.weights[second]
        x, y = (self.centroids[i].astype(np.float64) for i in (first, second))
        heights = np.sqrt(2 * a * b / (a + b) * squares(x - y))
        # Rounding must not put a union below its parts.
        heights = np.maximum.reduce([heights, self.heights[first], self.heights[second]])
        self.merges.append(np.column_stack([self.ids[first], self.ids[second], heights, a + b]))
        self.ids[first] = self.made + np.arange(len(first))
        self.made += len(first)
        self.weights[first], self.heights[first] = a + b, heights
        self.centroids[first] = (a[:, None] * x + b[:, None] * y) / (a + b)[:, None]
        self.squares[first] = squares(self.centroids[first])
        keep = np.ones(len(self.ids), bool)
        keep[second] = False
        self.nearest = (np.cumsum(keep) - 1)[self.nearest]
        for name in self.COLUMNS:
            setattr(self, name, getattr(self, name)[keep])
        return keep

    def _find(self, places: np.ndarray) -> None:
        """The nearest neighbours of the clusters at some places."""
        found = self.search.nearest(self.centroids, self.squares, self.weights, places)
        self.nearest[places], self.distance[places] = found

    def tree(self) -> np.ndarray:
        """The merges in the order of their heights, clusters renumbered to match."""
        merges = np.concatenate(self.merges)
        order = np.argsort(merges[:, 2], kind="stable")
        number = np.arange(self.rows + len(merges))
        number[self.rows + order] = self.rows + np.arange(len(merges))
        tree = merges[order]
        tree[:, :2] = np.sort(number[tree[:, :2].astype(np.int64)], axis=1)
        return tree


def _centred(matrix: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rows around their mean, float32: differences of large numbers are exact only around zero."""
    blocks = [slice(start, start + BLOCK) for start in range(0, len(matrix), BLOCK)]
    mean = sum(weights[at] @ matrix[at] for at in blocks) / weights.sum()
    centred = np.empty(matrix.shape, np.float32)
    for at in blocks:
        centred[at] = matrix[at] - mean
    return centred
