"""One k-means solution: the fit itself, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from warnings import catch_warnings

import numpy as np
from sklearn import cluster
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_samples

from actx_cluster.config import KMeansConfig

SILHOUETTE_ROWS = 5000
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Fit:
    """One k-means solution. ``silhouettes`` belong to the rows ``judged``; both empty where undefined."""

    k: int
    labels: np.ndarray
    distances: np.ndarray
    centers: np.ndarray
    sizes: np.ndarray
    iterations: int
    judged: np.ndarray
    silhouettes: np.ndarray

    @property
    def inertia(self) -> float:
        """Sum of the squared distances of the rows to their centres."""
        return float((self.distances**2).sum())

    @property
    def silhouette(self) -> float | None:
        """Mean silhouette of the rows judged."""
        return float(self.silhouettes.mean()) if len(self.silhouettes) else None

    def silhouette_of_clusters(self) -> list[float | None]:
        """The same for each cluster; None for one without judged rows."""
        labels = self.labels[self.judged]
        return [
            float(self.silhouettes[labels == number].mean()) if (labels == number).any() else None
            for number in range(self.k)
        ]


def fit(matrix: np.ndarray, k: int, options: KMeansConfig) -> Fit:
    """k-means++ and Lloyd's iterations; clusters are numbered from the largest to the smallest."""
    method = cluster.KMeans(
        k, n_init=options.n_init, max_iter=options.max_iter, random_state=options.seed
    )
    with catch_warnings(action="ignore", category=ConvergenceWarning):  # sizes of 0 say the same
        fitted = method.fit(matrix)
    sizes = np.bincount(fitted.labels_, minlength=k)
    order = np.argsort(-sizes, kind="stable")
    labels = np.argsort(order)[fitted.labels_]
    centers = fitted.cluster_centers_[order]
    judged, silhouettes = _silhouettes(matrix, labels, options.seed)
    return Fit(
        k=k,
        labels=labels,
        distances=_distances(matrix, labels, centers),
        centers=centers,
        sizes=sizes[order],
        iterations=fitted.n_iter_,
        judged=judged,
        silhouettes=silhouettes,
    )


def _distances(matrix: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Euclidean distance of each row to its centre, in float64."""
    distances = np.empty(len(matrix))
    for start in range(0, len(matrix), BLOCK):
        at = slice(start, start + BLOCK)
        difference = matrix[at].astype(np.float64) - centers[labels[at]]
        distances[at] = np.linalg.norm(difference, axis=1)
    return distances


def _silhouettes(
    matrix: np.ndarray, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Silhouettes (Rousseeuw 1987) of all rows, or of a seeded sample of many: row numbers and values."""
    judged = np.arange(len(matrix))
    if len(matrix) > SILHOUETTE_ROWS:
        generator = np.random.default_rng(seed)
        judged = np.sort(generator.choice(len(matrix), SILHOUETTE_ROWS, replace=False))
    if not 1 < len(np.unique(labels[judged])) < len(judged):
        return judged[:0], np.empty(0)
    return judged, silhouette_samples(matrix[judged], labels[judged])
