"""Leaders, and Leaders→Ward: Ward's clusters of rows that each stand for many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from actx_cluster.clustering.analyzer import Clusterer
from actx_cluster.clustering.budget import FIXED, fits, limit, refuse, rows_bytes, said, table_bytes
from actx_cluster.clustering.config import LeadersConfig
from actx_cluster.clustering.leading import Leaders, lead
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.pictures import dendrogram
from actx_cluster.clustering.report import Found, spread_out
from actx_cluster.clustering.space import Space
from actx_cluster.clustering.ward import counted, cut, ward
from actx_cluster.rows import Rows
from actx_core import Result

LEADER_BYTES = 48
"""Memory for each number of a leader: it, its mean, and Ward's centroids."""


class LeadersWard(Clusterer[LeadersConfig]):
    """Clusters of leaders, weighted by the rows they stand for; without ``k`` the leaders themselves."""

    most = 0
    """Leaders, where ``tau`` is not given."""
    tau: float | None = None
    """The radius of the fit, with which stability is measured too."""

    def prepare(self, rows: Rows, size: int) -> Iterator[str]:
        options = self.config
        self.most = min(max(options.leaders, self.least), rows.count)
        base = FIXED + rows_bytes(rows, size) + table_bytes(rows, len(options.k or (1,)))
        needed = base + self.most * size * LEADER_BYTES
        if fits(needed, options.memory):
            return
        room = ((limit(options.memory) or 0) - base) // (size * LEADER_BYTES)
        if options.tau is not None or room < max(self.least, 2):
            raise refuse(
                f"holding {rows.count} x {size} numbers and their leaders",
                needed,
                options.memory,
                where=rows.data.name,
                hint='kmeans with algorithm = "minibatch" holds no rows,'
                ' preprocess = "pca:50" makes them shorter',
            )
        self.most = room
        yield f"at most {room} leaders: more do not fit in memory = {said(limit(options.memory) or 0)}"

    def fit(self, space: Space) -> list[Solution]:
        solutions = super().fit(space)
        self.tau = solutions[0].model[0].tau
        return solutions

    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        tau = self.config.tau if self.tau is None else self.tau
        led = lead(matrix, order, tau=tau, most=self.most, least=self.least)
        if self.config.k is None:
            return [Solution(led.labels, model=(led, None))]
        tree = counted(ward(led.means, led.weights))
        return [
            Solution(labels[led.labels], k, model=(led, tree))
            for k, labels in cuts(tree, self.config.k)
        ]

    def extra(self, found: Found) -> Result:
        led, tree = found.partitions[0].solution.model
        rows = found.space.rows
        arrays = {"leaders": (led.means, ("leader", found.axis))}
        figures = {}
        if tree is not None and len(tree):
            arrays["linkage"] = (tree, ("merge", "column"))
            figures["dendrogram"] = dendrogram(tree, self.config.k or (), "leader")
        return Result(
            tables={
                "assignments": {"leader": spread_out(rows, led.labels)},
                "leaders": {
                    "leader": list(range(len(led.numbers))),
                    "row": rows.numbers[led.numbers].tolist(),
                    "rows": led.weights.tolist(),
                },
            },
            arrays=arrays,
            figures=figures,
            notes=list(_notes(led, rows.count)),
            metrics={"leaders": len(led.numbers), "tau": led.tau},
        )


def cuts(tree: np.ndarray, ks: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The clusters of a tree for each k; as many as it has leaves where k is more."""
    for k in ks:
        yield k, cut(tree, min(k, len(tree) + 1))


def cut_centers(
    matrix: np.ndarray, order: np.ndarray, ks: Sequence[int], leaders: int
) -> Iterator[np.ndarray]:
    """Means of the clusters of Leaders→Ward for each k, (k, dimensions), from one tree."""
    led = lead(matrix, order, most=leaders, least=max(ks))
    for _, labels in cuts(ward(led.means, led.weights), ks):
        sums = np.zeros((labels.max() + 1, matrix.shape[1]))
        np.add.at(sums, labels, led.means * led.weights[:, None])
        yield sums / np.bincount(labels, led.weights)[:, None]


def _notes(led: Leaders, rows: int) -> Iterator[str]:
    yield f"{len(led.numbers)} leaders stand for {rows} rows, tau = {led.tau:.4g}"
    if led.added:
        yield (
            f"warning: tau = {led.tau:.4g} gives fewer leaders than k; {led.added} were added, each the"
            " row farthest from all others"
        )
