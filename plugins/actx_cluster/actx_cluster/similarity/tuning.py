"""Tuning curves: the mean response of each dimension over the values of a numeric or circular column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actx_cluster import costs
from actx_cluster.shape import Shape
from actx_cluster.similarity import figures
from actx_cluster.similarity.config import TuningConfig
from actx_cluster.similarity.points import Points, points, values
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result

BLOCK_BYTES = 2**24
MOST = 256
"""Different values up to which each may stand alone."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Means and standard errors, (values, dimensions).

    ``counts`` are the rows of each value, ``explained`` the share of a dimension's variance between values.
    """

    means: np.ndarray
    errors: np.ndarray
    counts: np.ndarray
    explained: np.ndarray


class Tuning(Analyzer[TuningConfig]):
    """Table ``tuning``, a line per dimension; arrays ``curves``, ``errors`` (value, dimension), ``values``.

    Selectivity compares the best value with the mean of the others (Morcos and Harvey 2016), for a circular
    column with the opposite value, (R_pref - R_orth) / (R_pref + R_orth). ``circular_variance`` is 1 less the
    length of the mean vector (Ringach et al. 2002), whose angle is ``mean_angle``. Both need responses above
    0: from a curve that falls below, its minimum is subtracted.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        found = points(inputs[0])
        places, codes = self._coded(found)
        curves = _curves(found, codes, len(places))
        lowest = curves.means.min(axis=0)
        positive = curves.means - np.minimum(lowest, 0)
        best = curves.means.argmax(axis=0)
        selectivity = _selectivity(positive, best, places, self.config.period)
        table: dict[str, Sequence[object]] = {
            "dimension": list(range(found.size)),
            "preferred": places[best].tolist(),
            "selectivity": _plain(selectivity),
            "explained": _plain(curves.explained),
            "lowest": lowest.tolist(),
            "highest": curves.means.max(axis=0).tolist(),
        }
        if self.config.period:
            variance, angle = _vector(positive, places, self.config.period)
            table |= {"circular_variance": _plain(variance), "mean_angle": _plain(angle)}
        axis = found.rows.axis
        return Result(
            tables={
                "tuning": table,
                "values": {"value": places.tolist(), "rows": curves.counts.tolist()},
            },
            arrays={
                "curves": (curves.means.astype(np.float32), ("value", axis)),
                "errors": (curves.errors.astype(np.float32), ("value", axis)),
                "values": (places, ("value",)),
            },
            figures={
                "tuning": figures.tuning(curves.means, places, selectivity, self.config.column)
            },
            notes=self._notes(lowest, curves, places),
            metrics={
                "selectivity": _mean(selectivity),
                "explained": _mean(curves.explained),
            },
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        shape = Shape.of(inputs[0])
        block = min(BLOCK_BYTES, 8 * shape.count * (shape.size + MOST))
        told = costs.conditions([shape]) + shape.count * 2 * costs.NUMBER
        curves = 8 * (self.config.bins or MOST) * shape.size * 8
        return costs.FIXED + 3 * block + told + curves

    def _coded(self, found: Points) -> tuple[np.ndarray, np.ndarray]:
        """The values of the curve, and for each row the number of its value."""
        column, period, bins = self.config.column, self.config.period, self.config.bins
        given = values(found.rows, column)
        where = found.input
        strange = [v for v in given if not isinstance(v, int | float) or isinstance(v, bool)]
        if strange:
            raise AnalysisError(
                f"expected numbers in column '{column}', found {strange[0]!r}", where=where
            )
        numbers = np.array(given, np.float64)
        if not np.isfinite(numbers).all():
            bad = np.flatnonzero(~np.isfinite(numbers)).tolist()
            raise AnalysisError(
                f"column '{column}' is not finite in rows {found.rows.named(bad)}", where=where
            )
        if period:
            numbers = numbers % period
        if bins:
            low, high = (0.0, period) if period else (numbers.min(), numbers.max())
            width = (high - low) / bins
            numbers = (
                np.minimum((numbers - low) // (width or 1), bins - 1) * width + low + width / 2
            )
        places, codes = np.unique(numbers, return_inverse=True)
        least = 3 if period else 2
        if len(places) < least or len(places) > MOST:
            raise AnalysisError(
                f"expected {least} to {MOST} different values in column '{column}', found"
                f" {len(places)}",
                where=where,
                hint="group them: bins = 12" if len(places) > MOST else "name another column",
            )
        return places, codes.reshape(-1)

    def _notes(self, lowest: np.ndarray, curves: Curves, places: np.ndarray) -> list[str]:
        notes = [
            f"{len(places)} values of {self.config.column}, {curves.counts.min()} rows or more each"
        ]
        below = int((lowest < 0).sum())
        if below:
            notes.append(
                f"{below} of {len(lowest)} curves fall below 0: their minimum was subtracted for"
                " the selectivity"
            )
        if self.config.period:
            gaps = np.diff(places, append=places[0] + self.config.period)
            if gaps.max() > 1.01 * gaps.min():
                notes.append(
                    "warning: the values are not evenly spaced: circular figures lean to dense ones"
                )
        return notes


def _curves(found: Points, codes: np.ndarray, count: int) -> Curves:
    """One pass over the rows; a shift keeps the digits of variances far from zero."""
    sums, squares = np.zeros((count, found.size)), np.zeros((count, found.size))
    rows = np.bincount(codes, minlength=count)
    step = max(1, BLOCK_BYTES // (8 * (found.size + count)))
    shift = found.block(0, min(step, found.count)).mean(axis=0, dtype=np.float64)
    for start in range(0, found.count, step):
        stop = min(start + step, found.count)
        block = found.block(start, stop) - shift
        member = (codes[start:stop] == np.arange(count)[:, None]).astype(np.float64)
        sums += member @ block
        squares += member @ block**2
    n = rows[:, None]
    means = sums / n
    within = np.maximum(squares - n * means**2, 0)
    errors = np.sqrt(within / np.maximum(n - 1, 1) / n)
    whole = squares.sum(axis=0) - sums.sum(axis=0) ** 2 / found.count
    rounding = squares.sum(axis=0) * 1e-12
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.where(whole > rounding, 1 - within.sum(axis=0) / whole, np.nan)
    return Curves(means + shift, errors, rows, explained)


def _selectivity(
    positive: np.ndarray, best: np.ndarray, places: np.ndarray, period: float | None
) -> np.ndarray:
    """Index from 0 to 1 of each dimension; NaN for one that never responds."""
    highest = np.take_along_axis(positive, best[None], 0)[0]
    if period:
        wanted = places[best] + period / 2
        away = np.abs((places[:, None] - wanted + period / 2) % period - period / 2)
        other = np.take_along_axis(positive, away.argmin(axis=0)[None], 0)[0]
    else:
        other = (positive.sum(axis=0) - highest) / (len(places) - 1)
    return _ratio(highest - other, highest + other)


def _vector(
    positive: np.ndarray, places: np.ndarray, period: float
) -> tuple[np.ndarray, np.ndarray]:
    """Circular variance, and the angle of the mean vector in units of the column."""
    turn = 2 * np.pi / period
    total = np.exp(1j * turn * places) @ positive
    length = _ratio(np.abs(total), positive.sum(axis=0))
    angle = np.where(length > 1e-9, np.angle(total) / turn % period, np.nan)
    return 1 - length, angle


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio


def _plain(numbers: np.ndarray) -> list[float | None]:
    return [None if np.isnan(x) else x for x in numbers.tolist()]


def _mean(numbers: np.ndarray) -> float:
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if len(known) else 0.0
