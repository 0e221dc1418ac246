"""HDBSCAN: clusters where rows are dense, and noise between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn import cluster

from actx_cluster.clustering.analyzer import Clusterer
from actx_cluster.clustering.budget import fits, refuse
from actx_cluster.clustering.config import HdbscanConfig
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.report import Found
from actx_cluster.shape import Shape
from actx_core import Result

if TYPE_CHECKING:
    import numpy as np

MANY = 50
"""Dimensions beyond which trees of neighbours find nothing sooner than comparing all pairs."""
NUMBER_BYTES, ROW_BYTES = 24, 400
"""Memory beside the rows: float64 copies of each number, and trees of neighbours and of merges."""
CLUSTERS = 200
"""Clusters that memory is foretold for, where there can be so many."""


class Hdbscan(Clusterer[HdbscanConfig]):
    """scikit-learn's HDBSCAN (Campello, Moulavi & Sander 2013)."""

    @property
    def least(self) -> int:
        """Rows that make a cluster, and that make one dense."""
        return max(self.config.min_cluster_size, self.config.min_samples or 1)

    @property
    def counts(self) -> tuple[int, ...]:
        return (CLUSTERS,)

    def prepare(self, shape: Shape) -> tuple[int, str]:
        options, size = self.config, self.size(shape)
        near = 16 * (options.min_samples or options.min_cluster_size)

        def working(rows: int) -> int:
            return rows * (size * NUMBER_BYTES + near + ROW_BYTES)

        needed = self.needed(shape, shape.count, working)
        if not fits(needed, options.memory):
            raise refuse(
                f"HDBSCAN of {shape.count} x {size} numbers",
                needed,
                options.memory,
                where=shape.name,
                hint='kmeans with algorithm = "minibatch" holds no rows,'
                ' preprocess = "pca:20" makes them shorter',
            )
        note = (
            f"density says little in {size} dimensions, and takes long;"
            ' preprocess = "pca:20" or less often finds more'
        )
        return needed, note if size > MANY else ""

    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        options = self.config
        method = cluster.HDBSCAN(
            min_cluster_size=options.min_cluster_size,
            min_samples=options.min_samples,
            cluster_selection_method=options.cluster_selection_method,
            cluster_selection_epsilon=options.cluster_selection_epsilon,
            copy=True,
        )
        method.fit(matrix)
        return [Solution(method.labels_, model=method.probabilities_)]

    def extra(self, found: Found) -> Result:
        column = found.space.rows.spread_out(found.partitions[0].solution.model)
        notes = []
        if not len(found.partitions[0].sizes):
            notes = ["warning: no cluster is dense enough; lower min_cluster_size or min_samples"]
        return Result(tables={"assignments": {"probability": column}}, notes=notes)
