"""Agglomerative clustering: one tree of merges, cut into as many clusters as asked for."""

from __future__ import annotations

import numpy as np
from scipy.cluster.hierarchy import linkage

from actx_cluster.clustering.analyzer import Clusterer
from actx_cluster.clustering.budget import fits, refuse, said
from actx_cluster.clustering.config import AgglomerativeConfig
from actx_cluster.clustering.leaders import LEADER_BYTES, cuts
from actx_cluster.clustering.leading import lead
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.pictures import dendrogram
from actx_cluster.clustering.report import Found
from actx_cluster.clustering.ward import counted, ward
from actx_cluster.shape import Shape
from actx_core import Result

LEADERS = 4000
"""Leaders that Ward's tree is made of where one of all rows does not fit in memory."""
PAIR_BYTES = 8
"""Memory for each of n x n pairs: scipy holds half of them in float64, twice."""
NUMBER_BYTES = 16
"""Memory for each number beside the rows: Ward's centroids, their copy and pairs, or scipy's float64."""


class Agglomerative(Clusterer[AgglomerativeConfig]):
    """Exact Ward without a matrix of distances; average, complete and single linkage by scipy."""

    led = False

    def prepare(self, shape: Shape) -> tuple[int, str]:
        options, size = self.config, self.size(shape)
        pairs = PAIR_BYTES * (options.linkage != "ward")
        every = shape.count

        def exact(rows: int) -> int:
            return rows * size * NUMBER_BYTES

        ward = self.needed(shape, every, exact)
        needed = self.needed(shape, every, lambda rows: exact(rows) + pairs * rows**2)
        small = self.needed(shape, every, lambda _: self._leaders(shape) * size * LEADER_BYTES)
        self.led = False
        if fits(needed, options.memory):
            return needed, ""
        if options.memory is None or options.linkage != "ward" or not fits(small, options.memory):
            if fits(small, options.memory):
                fitting = 'linkage = "ward"' if fits(ward, options.memory) else "leaders"
            else:
                fitting = 'kmeans with algorithm = "minibatch"'
            raise refuse(
                f'linkage = "{options.linkage}" of {every} rows',
                needed,
                options.memory,
                where=shape.name,
                hint=f"{fitting} fits; caps or [rows] sample leave out rows",
            )
        self.led = True
        return small, (
            f"Ward's tree of {self._leaders(shape)} leaders at most: one of all {every} rows"
            f" needs about {said(needed)}, more than memory = {said(options.memory)}"
        )

    def _leaders(self, shape: Shape) -> int:
        return min(max(LEADERS, self.least), shape.count)

    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        labels = np.arange(len(matrix))
        if self.led:
            led = lead(matrix, order, most=max(LEADERS, self.least), least=self.least)
            tree, labels = counted(ward(led.means, led.weights, self.config.device)), led.labels
        elif self.config.linkage == "ward":
            tree = ward(matrix, device=self.config.device)
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
