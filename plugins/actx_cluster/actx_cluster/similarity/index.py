"""Approximate neighbours by an inverted-file index of faiss; imported only where it is installed."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from actx_cluster.similarity.distances import Distances

faiss = import_module("faiss")  # without types, and not everywhere
BLOCK = 65_536
PER_LIST = 39
"""Training rows per list, which faiss asks for at least."""
PROBED = 64


def search(distances: Distances, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of all rows: numbers (rows, k) int64, and distances float32, nearest first.

    All rows are held in the index, in float32.
    """
    points = distances.points
    lists = int(max(1, min(4 * np.sqrt(points.count), points.count // PER_LIST)))
    cosine = distances.metric == "cosine"
    coarse = faiss.IndexFlatIP(points.size) if cosine else faiss.IndexFlatL2(points.size)
    kind = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
    index = faiss.IndexIVFFlat(coarse, points.size, lists, kind)
    index.nprobe = min(PROBED, lists)
    index.train(_sample(distances, lists * PER_LIST))
    for start in range(0, points.count, BLOCK):
        index.add(distances.vectors(start, min(start + BLOCK, points.count)))
    near = np.empty((points.count, k), np.int64)
    far = np.empty((points.count, k), np.float32)
    for start in range(0, points.count, BLOCK):
        stop = min(start + BLOCK, points.count)
        values, numbers = index.search(distances.vectors(start, stop), k + 1)
        # a row is its own nearest; where an equal row stands before it, that is left out instead
        own = numbers == np.arange(start, stop)[:, None]
        own[~own.any(axis=1), -1] = True
        near[start:stop] = numbers[~own].reshape(-1, k)
        far[start:stop] = values[~own].reshape(-1, k)
    far = 1 - far if cosine else np.sqrt(np.maximum(far, 0))
    return near, far.astype(np.float32)


def _sample(distances: Distances, count: int) -> np.ndarray:
    """About so many rows in evenly spaced runs of 64, so that few places are read."""
    points = distances.points
    if count >= points.count:
        return distances.vectors(0, points.count)
    starts = np.linspace(0, points.count - 64, -(-count // 64)).astype(int)
    return np.concatenate([distances.vectors(int(s), int(s) + 64) for s in np.unique(starts)])
