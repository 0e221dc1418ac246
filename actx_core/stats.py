"""Streaming statistics of a tap: exact counts, mean, variance, row norm, smallest and largest value.

Each shard is read once, in blocks that stay in the cache, and shards are merged in order, so that the same
shards give the same figures wherever they were computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from actx_core.dtypes import decode

_BLOCK = 1 << 17
"""Values per block: as float64, 1 MB."""

_CANCELLATION = 1e5
"""Where the squares exceed the deviations by this factor, their difference is not taken."""


@dataclass(slots=True)
class _Moments:
    """Count, mean and sum of squared deviations of finite values."""

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    def add(self, n: int, mean: float, m2: float) -> None:
        """Merge two sets (Chan, Golub & LeVeque 1979)."""
        if n == 0:
            return
        total = self.n + n
        delta = mean - self.mean
        self.m2 += m2 + delta * delta * (self.n * n / total)
        self.mean += delta * (n / total)
        self.n = total


def shard_stats(array: np.ndarray, logical: str) -> dict[str, float]:
    """Statistics of one shard's stored rows (bfloat16 as uint16).

    ``rows`` and ``values`` count; ``nonfinite`` counts NaN and infinities, which are left out of the rest.
    ``mean``, ``variance`` (population), ``min`` and ``max`` are over values, ``norm`` is the mean Euclidean
    norm of a row. They are absent where there is no finite value, or where float64 overflows. Rows that
    lose precision when they are stored get an ``error``: see ``relative_error``.
    """
    rows = array.reshape(len(array), -1 if array.size else 0)
    moments, norms, nonfinite = _Moments(), 0.0, 0
    low, high = math.inf, -math.inf
    width = rows.shape[1]
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, len(rows) if array.size else 0, step):
        squares = np.zeros(len(rows[start : start + step]))
        for left in range(0, width, _BLOCK):
            block = decode(rows[start : start + step, left : left + _BLOCK], logical)
            part, smallest, largest, bad = _block(block, squares)
            moments.add(part.n, part.mean, part.m2)
            low, high = min(low, smallest), max(high, largest)
            nonfinite += bad
        norms += float(np.sqrt(squares).sum())
    return _figures(len(array), array.size, nonfinite, moments, norms, low, high)


def first_nonfinite(array: np.ndarray, logical: str) -> tuple[int, int]:
    """Row, and place in the flattened row, of the first value that is NaN or infinite; there must be one."""
    rows = array.reshape(len(array), -1)
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        bad = ~np.isfinite(decode(rows[start : start + step], logical))
        if bad.any():
            row, place = np.argwhere(bad)[0].tolist()
            return start + row, place
    raise ValueError("all values are finite")


def _block(values: np.ndarray, squares: np.ndarray) -> tuple[_Moments, float, float, int]:
    """Moments, extremes and non-finite count of one block; its rows' squares are added to ``squares``."""
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if not (math.isfinite(low) and math.isfinite(high)):  # NaN and infinities reach the extremes
        finite = np.isfinite(wide)
        kept = wide[finite]
        bad = wide.size - kept.size
        low, high = (float(kept.min()), float(kept.max())) if kept.size else (math.inf, -math.inf)
        wide[~finite] = 0.0
    else:
        kept, bad = wide, 0
    with np.errstate(over="ignore", invalid="ignore"):
        own = np.einsum("ij,ij->i", wide, wide)
        squares += own
        total = float(own.sum())
        mean = float(kept.sum()) / kept.size if kept.size else 0.0
        m2 = total - kept.size * mean * mean
        if not total < _CANCELLATION * m2:
            kept = kept.ravel() - mean
            m2 = float(np.einsum("i,i->", kept, kept))
    return _Moments(kept.size, mean, m2), low, high, bad


def _figures(
    rows: int,
    values: int,
    nonfinite: int,
    moments: _Moments,
    norms: float,
    low: float,
    high: float,
) -> dict[str, float]:
    figures: dict[str, float] = {"rows": rows, "values": values, "nonfinite": nonfinite}
    if not moments.n:
        return figures
    more = {
        "mean": moments.mean,
        "variance": moments.m2 / moments.n,
        "norm": norms / rows,
        "min": low,
        "max": high,
    }
    return figures | {name: value for name, value in more.items() if math.isfinite(value)}


def relative_error(array: np.ndarray, stored: np.ndarray, scale: np.ndarray) -> float:
    """Root of the squared differences to ``stored * scale`` over that of the squares, of a shard's rows."""
    wrong = squares = 0.0
    step = max(1, _BLOCK // max(1, array[:1].size))
    for start in range(0, len(array), step):
        block = array[start : start + step].astype(np.float64)
        squares += float(np.square(block).sum())
        wrong += float(np.square(block - stored[start : start + step] * scale).sum())
    return math.sqrt(wrong / squares) if squares else 0.0


def merge(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The statistics of several shards together; give them in shard order."""
    moments, norms = _Moments(), 0.0
    rows = values = nonfinite = 0
    low, high = math.inf, -math.inf
    wrong = squares = 0.0
    measured = False
    for part in parts:
        n = int(part["values"] - part["nonfinite"])
        variance = part.get("variance", math.inf)
        if "error" in part:
            measured = True
            size = n * (variance + part["mean"] ** 2) if n else 0.0
            squares, wrong = squares + size, wrong + size * part["error"] ** 2
        moments.add(n, part.get("mean", math.inf), n * variance if n else 0.0)
        norms += part["rows"] * part.get("norm", math.inf) if n else 0.0
        rows, values = rows + int(part["rows"]), values + int(part["values"])
        nonfinite += int(part["nonfinite"])
        low, high = min(low, part.get("min", low)), max(high, part.get("max", high))
    figures = _figures(rows, values, nonfinite, moments, norms, low, high)
    if measured:
        figures["error"] = math.sqrt(wrong / squares) if squares else 0.0
    return figures
