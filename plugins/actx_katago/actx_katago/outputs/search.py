"""Search: the rows of an array that are nearest to a vector, exactly and in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from actx_core import AnalysisError, TapArray

Metric = Literal["cosine", "euclidean", "correlation"]
METRICS: tuple[Metric, ...] = ("cosine", "euclidean", "correlation")
BLOCK = 1 << 24
"""Bytes of rows in memory at a time, about."""


def search(
    array: TapArray,
    vector: np.ndarray,
    *,
    top: int = 10,
    metric: Metric = "cosine",
    among: np.ndarray | None = None,
    groups: Sequence[Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``top`` rows nearest to ``vector``, which has the shape of one row: (rows, distances).

    ``among`` is a mask of the rows that count, ``groups`` names a group per row, of which at most one is
    given. The nearest comes first, of equals the first row; rows without a distance never come.

    Raises AnalysisError as ``distances`` does.
    """
    return nearest(distances(array, vector, metric), top=top, among=among, groups=groups)


def nearest(
    found: np.ndarray,
    *,
    top: int,
    among: np.ndarray | None = None,
    groups: Sequence[Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the ``top`` smallest distances; the rest as in ``search``."""
    order = np.argsort(found, kind="stable")
    wanted = np.isfinite(found) if among is None else np.isfinite(found) & among
    chosen: list[int] = []
    seen: set[Any] = set()
    for row in order[wanted[order]].tolist():
        if len(chosen) == top:
            break
        group = row if groups is None else groups[row]
        if group not in seen:
            seen.add(group)
            chosen.append(row)
    rows = np.array(chosen, np.int64)
    return rows, found[rows]


def distances(array: TapArray, vector: np.ndarray, metric: Metric = "cosine") -> np.ndarray:
    """Of each row, in float64: 1 - cosine, the Euclidean length, or 1 - Pearson's correlation.

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
            f"the position has no {metric} distance: its vector is constant or not finite",
            where=array.name,
            hint="take another metric, tap or pooling",
        )
    found = np.empty(len(array))
    for at, block in array.blocks(BLOCK):
        rows = _directed(block.reshape(len(block), -1).astype(np.float64), metric)
        found[at] = np.linalg.norm(rows - query, axis=1)
    # of unit vectors, half the squared difference is 1 - cosine, without the loss near 0
    return found if metric == "euclidean" else found**2 / 2


def _directed(rows: np.ndarray, metric: Metric) -> np.ndarray:
    """What the distance is the difference of: the rows, or their directions; NaN where there is none."""
    if metric == "euclidean":
        return rows
    if metric == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, np.nan)
