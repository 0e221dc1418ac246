"""HDBSCAN: clusters where rows are dense, and noise between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sklearn import cluster

from actx_cluster.clustering.analyzer import Clusterer
from actx_cluster.clustering.budget import FIXED, fits, refuse, rows_bytes, table_bytes
from actx_cluster.clustering.config import HdbscanConfig
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.report import Found, spread_out
from actx_cluster.rows import Rows
from actx_core import Result

if TYPE_CHECKING:
    import numpy as np

MANY = 50
"""Dimensions beyond which trees of neighbours find nothing sooner than comparing all pairs."""


class Hdbscan(Clusterer[HdbscanConfig]):
    """scikit-learn's HDBSCAN (Campello, Moulavi & Sander 2013)."""

    @property
    def least(self) -> int:
        """Rows that make a cluster, and that make one dense."""
        return max(self.config.min_cluster_size, self.config.min_samples or 1)

    def prepare(self, rows: Rows, size: int) -> Iterator[str]:
        options = self.config
        needed = FIXED + 4 * rows_bytes(rows, size) + table_bytes(rows, 1)
        if not fits(needed, options.memory):
            raise refuse(
                f"HDBSCAN of {rows.count} x {size} numbers",
                needed,
                options.memory,
                where=rows.data.name,
                hint='kmeans with algorithm = "minibatch" holds no rows,'
                ' preprocess = "pca:20" makes them shorter',
            )
        if size > MANY:
            yield (
                f"density says little in {size} dimensions, and takes long;"
                ' preprocess = "pca:20" or less often finds more'
            )

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
        column = spread_out(found.space.rows, found.partitions[0].solution.model)
        notes = []
        if not len(found.partitions[0].sizes):
            notes = ["warning: no cluster is dense enough; lower min_cluster_size or min_samples"]
        return Result(tables={"assignments": {"probability": column}}, notes=notes)
