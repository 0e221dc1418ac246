"""The nearest neighbours of each row of a tap: exact in tiles, or by an index of faiss for very many rows."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from actx_cluster import costs
from actx_cluster.shape import Shape
from actx_cluster.similarity.config import NeighboursConfig
from actx_cluster.similarity.distances import HELD_BYTES, Distances
from actx_cluster.similarity.points import Points, points
from actx_cluster.similarity.saved import Saved
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, PluginError, Result

MANY = 1_000_000
BLOCK = 65_536
"""Rows that an index takes at a time."""
LISTED = 1_000_000
"""Lines of the table, at most; the arrays hold all."""
QUERIES, COLUMNS = 1024, 2048
JUDGED = 200
"""Rows whose exact neighbours tell how many an index finds."""


class Neighbours(Analyzer[NeighboursConfig]):
    """Arrays ``neighbours`` (row numbers, int64) and ``distances``, (row, rank); table ``neighbours``."""

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        found = points(inputs[0])
        k = self.config.k
        self._enough(found.rows.shape)
        distances = Distances(found, self.config.metric)
        if self._indexed(found.count):
            from actx_cluster.similarity.index import search

            near, far = search(distances, k)
            notes = [_recall(distances, near, self.config.seed)]
        else:
            near, far = exact(distances, np.arange(found.count), k, Saved(out / "found.npz"))
            notes = []
        lines = min(found.count, LISTED // k)
        if lines < found.count:
            notes.append(f"the table lists the first {lines} rows; the arrays hold all")
        generator = np.random.default_rng(self.config.seed)
        few = generator.choice(found.count, min(self.config.shown, found.count), replace=False)
        return Result(
            tables={"neighbours": _table(found, near[:lines], far[:lines])},
            arrays={"neighbours": (near, ("row", "rank")), "distances": (far, ("row", "rank"))},
            groups={
                f"nearest to {found.names[row]} (row {row})": [int(row), *near[row].tolist()]
                for row in np.sort(few)
            },
            notes=notes,
            metrics={"mean_distance": float(far.mean(dtype=np.float64))},
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        shape, k = Shape.of(inputs[0]), self.config.k
        self._enough(shape)
        count, row = shape.count, 4 * shape.size
        found = count * k * 36
        if self._indexed(count):
            held = count * (row + 8) + min(count, 4 * BLOCK) * (3 * row + 12 * k)
        else:
            held = 3 * min(HELD_BYTES, count * row) + COLUMNS * (4 * row + 32 * QUERIES)
        table = min(count * k, LISTED) * 5 * costs.NUMBER
        told = costs.conditions([shape])
        return costs.FIXED + told + found + max(held, table)

    def _enough(self, shape: Shape) -> None:
        k = self.config.k
        if k >= shape.count:
            raise AnalysisError(
                f"expected more than {k} rows for {k} neighbours, found {shape.count}",
                where=shape.name,
                hint=f"say k = {shape.count - 1} or less"
                if shape.count > 1
                else "extract more samples",
            )

    def _indexed(self, count: int) -> bool:
        installed = find_spec("faiss") is not None
        if self.config.index == "faiss" and not installed:
            raise PluginError(
                'index = "faiss" needs faiss, which is not installed',
                hint="install actx-cluster[faiss], or leave index out",
            )
        return installed and (
            self.config.index == "faiss" or (self.config.index == "auto" and count > MANY)
        )


def exact(
    distances: Distances, queries: np.ndarray, k: int, saved: Saved | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of some rows (ascending), themselves left out: numbers and distances, nearest first.

    Equally near rows come in the order of their numbers; which of them is the last may be any.
    """
    points = distances.points
    state = (saved.load() if saved else {}) or {
        "done": np.array(0),
        "near": np.zeros((len(queries), k), np.int64),
        "far": np.full((len(queries), k), np.inf, np.float32),
    }
    near, far = state["near"], state["far"]
    most = max(QUERIES, HELD_BYTES // (4 * points.size))
    for start in range(int(state["done"]), len(queries), most):
        mine = queries[start : start + most]
        held = _vectors(distances, mine)
        for first in range(0, points.count, COLUMNS):
            other = distances.vectors(first, min(first + COLUMNS, points.count))
            for top in range(0, len(mine), QUERIES):
                at = slice(start + top, min(start + top + QUERIES, start + len(mine)))
                tile = distances.tile(held[top : top + QUERIES], other)
                own = np.flatnonzero((queries[at] >= first) & (queries[at] < first + len(other)))
                tile[own, queries[at][own] - first] = np.inf
                near[at], far[at] = _best(near[at], far[at], tile, first)
        if saved:
            saved.save({"done": np.array(start + len(mine)), "near": near, "far": far})
    if saved:
        saved.remove()
    order = np.lexsort((near, far))
    return np.take_along_axis(near, order, 1), np.take_along_axis(far, order, 1)


def _vectors(distances: Distances, rows: np.ndarray) -> np.ndarray:
    if len(rows) == rows[-1] - rows[0] + 1:
        return distances.vectors(int(rows[0]), int(rows[-1]) + 1)
    return np.concatenate([distances.vectors(int(row), int(row) + 1) for row in rows])


def _best(
    near: np.ndarray, far: np.ndarray, tile: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest of what is known and of a new tile."""
    k = near.shape[1]
    if tile.shape[1] > k:
        picked = np.argpartition(tile, k - 1, axis=1)[:, :k]
        tile = np.take_along_axis(tile, picked, 1)
    else:
        picked = np.broadcast_to(np.arange(tile.shape[1]), tile.shape)
    numbers = np.concatenate([near, picked + first], axis=1)
    values = np.concatenate([far, tile], axis=1)
    few = np.argpartition(values, k - 1, axis=1)[:, :k]
    return np.take_along_axis(numbers, few, 1), np.take_along_axis(values, few, 1)


def _recall(distances: Distances, near: np.ndarray, seed: int) -> str:
    generator = np.random.default_rng(seed)
    count, k = near.shape
    rows = np.sort(generator.choice(count, min(JUDGED, count), replace=False))
    wanted, _ = exact(distances, rows, k)
    hits = [len(np.intersect1d(a, b)) for a, b in zip(near[rows], wanted, strict=True)]
    share = sum(hits) / wanted.size
    return (
        f"approximate, by faiss: {share:.1%} of the exact neighbours of {len(rows)} rows were found"
    )


def _table(found: Points, near: np.ndarray, far: np.ndarray) -> dict[str, Sequence[object]]:
    rows, k = near.shape
    names = np.array(found.names, dtype=object)
    return {
        "row": np.repeat(np.arange(rows), k).tolist(),
        "sample": np.repeat(names[:rows], k).tolist(),
        "rank": np.tile(np.arange(1, k + 1), rows).tolist(),
        "neighbour": near.reshape(-1).tolist(),
        "neighbour_sample": names[near.reshape(-1)].tolist(),
        "distance": far.reshape(-1).tolist(),
    }
