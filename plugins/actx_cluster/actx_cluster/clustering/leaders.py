"""Leaders, and Leaders→Ward: Ward's clusters of rows that each stand for many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from actx_cluster.clustering.analyzer import Clusterer
from actx_cluster.clustering.budget import fits, limit, refuse, said
from actx_cluster.clustering.config import LeadersConfig
from actx_cluster.clustering.leading import Leaders, lead
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.pictures import dendrogram
from actx_cluster.clustering.report import Found
from actx_cluster.clustering.space import Space
from actx_cluster.clustering.ward import counted, cut, ward
from actx_cluster.shape import Shape
from actx_core import ArraySpec, Result

LEADER_BYTES = 48
"""Memory for each number of a leader: it, its mean, and Ward's centroids."""


class LeadersWard(Clusterer[LeadersConfig]):
    """Clusters of leaders, weighted by the rows they stand for; without ``k`` the leaders themselves."""

    most = 0
    """Leaders, where ``tau`` is not given."""
    tau: float | None = None
    """The radius of the fit, with which stability is measured too."""

    @property
    def counts(self) -> tuple[int, ...]:
        return self.config.k or (self.most,)

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        told = super().memory(inputs)
        return told if self.config.tau is None else None  # tau gives any number of leaders

    def prepare(self, shape: Shape) -> tuple[int, str]:
        options, size = self.config, self.size(shape)

        def needed(leaders: int) -> int:
            self.most = leaders
            return self.needed(
                shape, shape.count, lambda rows: min(rows, leaders) * size * LEADER_BYTES
            )

        wanted = min(max(options.leaders, self.least), shape.count)
        if fits(needed(wanted), options.memory):
            return needed(wanted), ""
        allowed = limit(options.memory) or 0
        room = bisect_right(range(wanted), allowed, key=needed) - 1
        if options.tau is not None or room < max(self.least, 2):
            raise refuse(
                f"holding {shape.count} x {size} numbers and their leaders",
                needed(wanted),
                options.memory,
                where=shape.name,
                hint='kmeans with algorithm = "minibatch" holds no rows,'
                ' preprocess = "pca:50" makes them shorter',
            )
        return needed(room), (
            f"at most {room} leaders: more do not fit in memory = {said(allowed)}"
        )

    def fit(self, space: Space) -> list[Solution]:
        solutions = super().fit(space)
        self.tau = solutions[0].model[0].tau
        return solutions

    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        tau = self.config.tau if self.tau is None else self.tau
        led = lead(matrix, order, tau=tau, most=self.most, least=self.least)
        if self.config.k is None:
            return [Solution(led.labels, model=(led, None))]
        tree = counted(ward(led.means, led.weights, self.config.device))
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
                "assignments": {"leader": rows.spread_out(led.labels)},
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
