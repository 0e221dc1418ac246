"""k-means: rows grouped around k centres, started from the clusters of leaders unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from warnings import catch_warnings

import numpy as np
from sklearn import cluster
from sklearn.exceptions import ConvergenceWarning

from actx_cluster.clustering.analyzer import Clusterer, single_threaded
from actx_cluster.clustering.budget import fits, refuse, said
from actx_cluster.clustering.config import KMeansConfig
from actx_cluster.clustering.leaders import LEADER_BYTES, cut_centers
from actx_cluster.clustering.leading import nearest
from actx_cluster.clustering.partition import Solution
from actx_cluster.clustering.space import Space
from actx_cluster.shape import Shape

STARTERS = 1000
"""Leaders from which the centres start; four times the largest k if that is more."""
DRAWN = 20_000
"""Rows whose leaders start the centres where not all rows are held in memory."""
TOLERANCE = 1e-4
"""Share of the variance by which the centres may move in a last pass, as in scikit-learn."""

Blocks = Callable[[], Iterable[tuple[slice, np.ndarray]]]


class KMeans(Clusterer[KMeansConfig]):
    """scikit-learn's k-means (Lloyd 1957) or bisecting k-means, or mini-batches (Sculley 2010).

    On one thread, so that the number of threads does not change the result.
    """

    streams = False

    def prepare(self, shape: Shape) -> tuple[int, str]:
        options, size = self.config, self.size(shape)
        row = size * shape.itemsize
        # scikit-learn centres a copy; bisecting makes another of each part
        copies = 2 if options.algorithm == "bisecting" else 1

        def working(rows: int) -> int:
            return copies * rows * row + min(rows, self.starters) * size * LEADER_BYTES

        streamed = self.needed(shape, min(shape.count, self.drawn), working)
        self.streams = options.algorithm == "minibatch"
        needed = streamed if self.streams else self.needed(shape, shape.count, working)
        if fits(needed, options.memory):
            return needed, ""
        changes = options.algorithm == "lloyd" and options.memory is not None
        if changes and fits(streamed, options.memory):
            self.streams = True
            return streamed, (
                f'algorithm = "minibatch": "lloyd" needs about {said(needed)}, more than memory ='
                f" {said(options.memory or 0)}"
            )
        other = "" if self.streams or changes else 'algorithm = "minibatch" holds no rows, '
        raise refuse(
            f"k-means of {shape.count} x {size} numbers",
            streamed if changes else needed,
            options.memory,
            where=shape.name,
            hint=f'{other}preprocess = "pca:50" makes them shorter, caps leave some out',
        )

    @property
    def starters(self) -> int:
        """Leaders from which the centres start, at most."""
        return max(STARTERS, 4 * self.least)

    @property
    def drawn(self) -> int:
        """Rows whose leaders start the centres of mini-batches, at most."""
        return max(DRAWN, 10 * self.least)

    def fit(self, space: Space) -> list[Solution]:
        if not self.streams:
            return super().fit(space)
        drawn = space.order[: self.drawn]
        return self._minibatch(space.take(drawn), np.arange(len(drawn)), space.blocks)

    def solve(self, matrix: np.ndarray, order: np.ndarray) -> list[Solution]:
        if self.streams:
            return self._minibatch(matrix, order, lambda: [(slice(0, len(matrix)), matrix)])
        options = self.config
        if options.algorithm == "bisecting":
            return [self._bisecting(matrix, k) for k in options.k]
        starts = self._starts(matrix, order)
        found = [self._lloyd(matrix, k, start) for k, start in zip(options.k, starts, strict=True)]
        return [
            Solution(
                one.labels_,
                k,
                one.cluster_centers_,
                one.n_iter_,
                moving=one.n_iter_ >= options.max_iter,
            )
            for k, one in zip(options.k, found, strict=True)
        ]

    def _starts(self, matrix: np.ndarray, order: np.ndarray) -> list[np.ndarray | None]:
        """Centres to start from, for each k; None where scikit-learn draws them."""
        if self.config.init != "leaders":
            return [None] * len(self.config.k)
        return list(cut_centers(matrix, order, self.config.k, self.starters))

    def _lloyd(self, matrix: np.ndarray, k: int, start: np.ndarray | None) -> cluster.KMeans:
        """scikit-learn's k-means, fitted."""
        options = self.config
        method = cluster.KMeans(
            k if start is None else len(start),
            init=options.init if start is None else start,
            n_init=options.n_init if start is None else 1,
            max_iter=options.max_iter,
            random_state=options.seed,
        )
        with catch_warnings(action="ignore", category=ConvergenceWarning), single_threaded():
            return method.fit(matrix)  # empty clusters are told later

    def _bisecting(self, matrix: np.ndarray, k: int) -> Solution:
        options = self.config
        method = cluster.BisectingKMeans(
            k,
            init="random" if options.init == "random" else "k-means++",
            n_init=options.n_init,
            max_iter=options.max_iter,
            random_state=options.seed,
        )
        with catch_warnings(action="ignore", category=ConvergenceWarning), single_threaded():
            method.fit(matrix)
        return Solution(method.labels_, k, method.cluster_centers_)

    def _minibatch(self, sample: np.ndarray, order: np.ndarray, blocks: Blocks) -> list[Solution]:
        """Batches of rows as they are read, until the centres rest; they start at those of a sample."""
        options = self.config
        rest = TOLERANCE * float(sample.var(axis=0, dtype=np.float64).sum())
        found = []
        for k, start in zip(options.k, self._starts(sample, order), strict=True):
            centers = self._lloyd(sample, k, start).cluster_centers_
            method = cluster.MiniBatchKMeans(
                len(centers),
                init=centers,
                n_init=1,
                random_state=options.seed,
                reassignment_ratio=0,
            )
            with single_threaded():
                turns, moving = _passes(method, sample, blocks, options.max_iter, rest)
            labels = [nearest(block, method.cluster_centers_)[0] for _, block in blocks()]
            found.append(
                Solution(np.concatenate(labels), k, method.cluster_centers_, turns, moving)
            )
        return found


def _passes(
    method: cluster.MiniBatchKMeans, sample: np.ndarray, blocks: Blocks, most: int, rest: float
) -> tuple[int, bool]:
    """Passes over all rows until the centres rest; their number, and whether they still moved."""
    method.partial_fit(sample)
    for turn in range(1, most + 1):
        before = method.cluster_centers_.copy()
        for _, block in blocks():
            method.partial_fit(block)
        if ((method.cluster_centers_ - before) ** 2).sum(axis=1).mean() <= rest:
            return turn, False
    return most, True
