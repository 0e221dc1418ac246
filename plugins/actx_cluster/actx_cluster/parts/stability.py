"""How far parts can be trusted: whether others resemble them, and whether new fits find them again."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from actx_cluster.parts.config import NmfConfig
from actx_cluster.parts.data import Data
from actx_cluster.parts.hals import improve, penalties, solve

ROWS = 10_000
ITERATIONS = 100


def uniqueness(parts: np.ndarray) -> np.ndarray:
    """For each part of unit length, 1 - its cosine with the part most like it."""
    if len(parts) == 1:
        return np.ones(1)
    cosines = (parts @ parts.T).astype(np.float64)
    np.fill_diagonal(cosines, -1)
    found: np.ndarray = 1 - cosines.max(axis=1)
    return found


def stability(data: Data, parts: np.ndarray, options: NmfConfig) -> np.ndarray:
    """For each part, its cosine with its match in fits to other rows from other starts, on average.

    Each fit sees a random half of the rows (of a seeded sample of many) and begins at random; parts are
    matched one to one (Hungarian method). Empty without ``refits`` or for a single row.
    """
    if not options.refits or data.count < 2:
        return np.empty(0)
    random = np.random.default_rng(options.seed)
    rows = np.arange(data.count)
    if data.count > ROWS:
        rows = np.sort(random.choice(data.count, ROWS, replace=False))
    matrix = data.matrix(rows)
    found = np.zeros(len(parts))
    for _ in range(options.refits):
        half = random.choice(len(rows), (len(rows) + 1) // 2, replace=False)
        found += _matched(parts, _refit(matrix[half], len(parts), options, random))
    return found / options.refits


def _refit(
    matrix: np.ndarray, k: int, options: NmfConfig, random: np.random.Generator
) -> np.ndarray:
    """The parts of some rows in memory, from a random start."""
    count, size = matrix.shape
    free = options.negative == "semi"
    on_weights, on_parts = penalties(options, count, size)
    scale = np.sqrt(np.abs(matrix).mean(dtype=np.float64) / k)
    parts = (scale * random.standard_normal((k, size))).astype(matrix.dtype)
    parts = parts if free else np.abs(parts)
    weights = np.abs(scale * random.standard_normal((k, count))).astype(matrix.dtype)
    for _ in range(min(options.max_iter, ITERATIONS)):
        improve(weights, parts @ parts.T, parts @ matrix.T, on_weights)
        inner, outer = weights @ weights.T, weights @ matrix
        if free:
            parts = solve(inner, outer, on_parts).astype(matrix.dtype)
        else:
            improve(parts, inner, outer, on_parts)
    lengths = np.linalg.norm(parts, axis=1, keepdims=True)
    unit: np.ndarray = parts / np.where(lengths > 0, lengths, 1)
    return unit


def _matched(parts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine of each part with the one of the others that is its match."""
    cosines = (parts @ others.T).astype(np.float64)
    rows, columns = linear_sum_assignment(-cosines)
    found: np.ndarray = cosines[rows, columns]
    return found
