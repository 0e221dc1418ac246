"""Search: the distances of an array's rows to a vector, exactly and in bounded memory."""

from __future__ import annotations

from typing import Literal

import numpy as np

from actx_core import AnalysisError, TapArray

Metric = Literal["cosine", "euclidean"]
BLOCK = 1 << 22
"""Bytes of rows in memory at a time, about."""


def distances(array: TapArray, vector: np.ndarray, metric: Metric = "cosine") -> np.ndarray:
    """Of each row, in float64: 1 - cosine, or the Euclidean length of the difference.

    NaN where a row is not finite, or has no direction. Raises AnalysisError for such a vector, and for one
    of another shape than a row.
    """
    query = np.asarray(vector, np.float64)
    if query.shape != array.spec.row_shape:
        raise AnalysisError(
            f"expected a vector of the shape {array.spec.row_shape}, found {query.shape}",
            where=array.name,
        )
    query = _directed(query.reshape(1, -1), metric)
    if not np.isfinite(query).all():
        raise AnalysisError(
            f"the position has no {metric} distance: its vector is zero or not finite",
            where=array.name,
            hint="take another metric, tap or pooling",
        )
    found = np.empty(len(array))
    for at, block in array.blocks(BLOCK):
        rows = _directed(block.reshape(len(block), -1).astype(np.float64), metric)
        found[at] = np.linalg.norm(rows - query, axis=1)
    found[~np.isfinite(found)] = np.nan
    # of unit vectors, half the squared difference is 1 - cosine, without the loss near 0
    return found if metric == "euclidean" else found**2 / 2


def _directed(rows: np.ndarray, metric: Metric) -> np.ndarray:
    """What the distance is the difference of: the rows, or their directions; NaN where there is none."""
    if metric == "euclidean":
        return rows
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where((length > 0) & np.isfinite(length), length, np.nan)
