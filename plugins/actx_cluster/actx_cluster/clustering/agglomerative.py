"""Agglomerative clustering: one tree of merges, cut into as many clusters as asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.cluster.hierarchy import linkage

from actx_cluster.clustering.analyzer import Clusterer
from actx_cluster.clustering.budget import FIXED, fits, refuse, rows_bytes, said, table_bytes
from actx_cluster.clustering.config import AgglomerativeConfig
from actx_cluster.clustering.leaders import LEADER_BYTES, cuts
from actx_cluster.clustering.leading import lead
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.pictures import dendrogram
from actx_cluster.clustering.report import Found
from actx_cluster.clustering.ward import counted, ward
from actx_cluster.rows import Rows
from actx_core import Result

LEADERS = 4000
"""Leaders that Ward's tree is made of where one of all rows does not fit in memory."""
PAIR_BYTES = 8
"""Memory for each of n x n pairs: scipy holds half of them in float64, twice."""
NUMBER_BYTES = 8
"""Memory for each number beside the rows: Ward's centroids and their copy, or scipy's float64."""


class Agglomerative(Clusterer[AgglomerativeConfig]):
    """Exact Ward without a matrix of distances; average, complete and single linkage by scipy."""

    led = False

    def prepare(self, rows: Rows, size: int) -> Iterator[str]:
        options = self.config
        base = FIXED + rows_bytes(rows, size) + table_bytes(rows, len(options.k))
        exact = base + rows.count * size * NUMBER_BYTES
        needed = exact + (options.linkage != "ward") * PAIR_BYTES * rows.count**2
        if fits(needed, options.memory):
            return
        small = base + self._leaders(rows) * size * LEADER_BYTES
        if options.memory is None or options.linkage != "ward" or not fits(small, options.memory):
            if fits(small, options.memory):
                fitting = 'linkage = "ward"' if fits(exact, options.memory) else "leaders"
            else:
                fitting = 'kmeans with algorithm = "minibatch"'
            raise refuse(
                f'linkage = "{options.linkage}" of {rows.count} rows',
                needed,
                options.memory,
                where=rows.data.name,
                hint=f"{fitting} fits; caps or [rows] sample leave out rows",
            )
        self.led = True
        yield (
            f"Ward's tree of {self._leaders(rows)} leaders at most: one of all {rows.count} rows"
            f" needs about {said(needed)}, more than memory = {said(options.memory)}"
        )

    def _leaders(self, rows: Rows) -> int:
        return min(max(LEADERS, self.least), rows.count)

    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        labels = np.arange(len(matrix))
        if self.led:
            led = lead(matrix, order, most=max(LEADERS, self.least), least=self.least)
            tree, labels = counted(ward(led.means, led.weights)), led.labels
        elif self.config.linkage == "ward":
            tree = ward(matrix)
        elif len(matrix) == 1:
            tree = np.empty((0, 4))
        else:
            tree = linkage(matrix.astype(np.float64), self.config.linkage)
        return [Solution(mine[labels], k, model=tree) for k, mine in cuts(tree, self.config.k)]

    def extra(self, found: Found) -> Result:
        tree = found.partitions[0].solution.model
        if not len(tree):
            return Result()
        return Result(
            arrays={"linkage": (tree, ("merge", "column"))},
            figures={
                "dendrogram": dendrogram(tree, self.config.k, "leader" if self.led else "row")
            },
        )
