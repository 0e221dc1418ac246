"""A tap as a matrix, read in blocks of rows that fit in memory and checked on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from actx_cluster.config import Preprocess
from actx_core import AnalysisError, Input

BLOCK_BYTES = 2**25


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and variance (divided by the number of rows) of each dimension, in float64.

    ``constant`` marks the dimensions that have one value in all rows.
    """

    mean: np.ndarray
    variance: np.ndarray
    constant: np.ndarray

    @property
    def scale(self) -> np.ndarray:
        """Standard deviations; 1 where the dimension is constant."""
        return np.where(self.constant, 1.0, np.sqrt(self.variance))


class Rows:
    """The rows of an input, each one vector of ``size`` numbers along ``axis``.

    ``dtype`` is float32, or float64 where the input needs it. Raises AnalysisError for rows that have
    several axes.
    """

    def __init__(self, data: Input) -> None:
        if len(data.array.shape) > 2:
            raise _not_vectors(data)
        self.data = data
        self.count, self.size = (*data.array.shape, 1)[:2]
        self.axis = (*data.axes, "value")[1]
        self.dtype = np.result_type(data.array.dtype, np.float32)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows in order: the place and the values of each block, as ``dtype``."""
        step = max(1, BLOCK_BYTES // max(1, 8 * self.size))
        for start in range(0, self.count, step):
            at = slice(start, min(start + step, self.count))
            yield at, np.asarray(self.data.array[at], self.dtype).reshape(-1, self.size)

    def moments(self) -> Moments:
        """One pass over all rows. Raises AnalysisError where values are not finite or all rows are equal."""
        count, mean, squares = 0, np.zeros(self.size), np.zeros(self.size)
        low, high = np.full(self.size, np.inf), np.full(self.size, -np.inf)
        broken: list[int] = []
        for at, block in self.blocks():
            finite = np.isfinite(block).all(axis=1)
            broken += (np.flatnonzero(~finite) + at.start).tolist()
            if broken:
                continue
            values = block.astype(np.float64)
            size, middle = len(values), values.mean(axis=0)
            shift = middle - mean
            # Chan, Golub, LeVeque (1983): merging blocks keeps the digits that a sum of squares loses
            squares += ((values - middle) ** 2).sum(axis=0) + shift**2 * count * size / (
                count + size
            )
            count += size
            mean += shift * size / count
            low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        if broken:
            raise AnalysisError(
                f"{len(broken)} of {self.count} rows hold NaN or infinite values:"
                f" {self.named(broken)}",
                where=self.data.name,
                hint="store the tap as float32 if it overflows float16, or leave these samples out",
            )
        constant = low == high
        if constant.all():
            raise AnalysisError(
                f"expected rows that differ, but all {self.count} rows are equal",
                where=self.data.name,
                hint="check that the tap depends on the input, and that the samples differ",
            )
        return Moments(mean, squares / count, constant)

    def matrix(self, preprocess: Preprocess, moments: Moments) -> np.ndarray:
        """All rows in memory, preprocessed. Raises AnalysisError for rows of zeros under ``l2``."""
        matrix = np.empty((self.count, self.size), self.dtype)
        for at, block in self.blocks():
            if preprocess == "center":
                block = block - moments.mean
            elif preprocess == "zscore":
                block = (block - moments.mean) / moments.scale
            elif preprocess == "l2":
                block = block / self._lengths(at, block)
            matrix[at] = block
        return matrix

    def _lengths(self, at: slice, block: np.ndarray) -> np.ndarray:
        lengths: np.ndarray = np.linalg.norm(block.astype(np.float64), axis=1, keepdims=True)
        if not lengths.all():
            zeros = (np.flatnonzero(lengths[:, 0] == 0) + at.start).tolist()
            raise AnalysisError(
                f"rows of zeros have no direction: {self.named(zeros)}",
                where=self.data.name,
                hint='use another preprocess than "l2", or leave these samples out',
            )
        return lengths

    def column(self, name: str) -> list[object] | None:
        """A column of the table of rows, if it has it."""
        table = self.data.rows
        return table.column(name).to_pylist() if name in table.column_names else None

    def named(self, rows: Sequence[int], most: int = 5) -> str:
        """Some rows, by the ids of their samples, for messages."""
        samples = self.column("sample")
        names = [
            f"sample '{samples[row]}' (row {row})" if samples else f"row {row}"
            for row in rows[:most]
        ]
        return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def dominant(variance: np.ndarray) -> str:
    """A warning where at most 5 dimensions (and a tenth of all) hold more than half of the variance.

    Residual streams of language models have such dimensions; distances then say little else.
    """
    order = np.argsort(-variance, kind="stable")
    shares = np.cumsum(variance[order]) / variance.sum()
    few = int(np.searchsorted(shares, 0.5, side="right")) + 1
    if few > 5 or few * 10 > len(variance):
        return ""
    dimensions = ", ".join(map(str, order[:few].tolist()))
    return (
        f"warning: {few} of {len(variance)} dimensions hold{'s' * (few == 1)} {shares[few - 1]:.0%}"
        f" of the variance (dimension {dimensions}), and the result follows them"
    )


def _not_vectors(data: Input) -> AnalysisError:
    axes = data.axes[1:]
    keep = "channel" if "channel" in axes else axes[-1]
    over = ", ".join(f'"{axis}"' for axis in axes if axis != keep)
    every = ", ".join(f'"{axis}"' for axis in axes)
    sizes = " x ".join(f"{axis} {n}" for axis, n in zip(axes, data.array.shape[1:], strict=True))
    return AnalysisError(
        f"expected rows that are vectors, but each has the axes {sizes}",
        where=data.name,
        hint=f'pool the tap with {{ type = "mean", over = [{over}] }},'
        f' or keep every value with {{ type = "flatten", over = [{every}] }}',
    )
