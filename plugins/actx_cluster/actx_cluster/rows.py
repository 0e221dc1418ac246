"""A tap as a matrix, read in blocks of rows that fit in memory and checked on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa

from actx_cluster.config import Preprocess
from actx_cluster.scaling import Scaler
from actx_cluster.shape import Shape, vector_size
from actx_cluster.spectrum import principal
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

    ``dtype`` is float32, or float64 where the input needs it. ``keep`` narrows them to some rows of the
    input, in order; ``numbers`` are the rows' numbers in the input. Raises AnalysisError for rows that
    have several axes, and for complex numbers.
    """

    def __init__(self, data: Input, keep: np.ndarray | None = None) -> None:
        self.data = data
        self.size = vector_size(data.name, data.axes, data.array.shape[1:])
        self.numbers = np.arange(data.array.shape[0]) if keep is None else keep
        self.count = len(self.numbers)
        self.axis = (*data.axes, "value")[1]
        self.dtype = np.result_type(data.array.dtype, np.float32)
        if self.dtype.kind == "c":
            raise AnalysisError(
                f"expected real numbers, found {data.array.dtype}",
                where=data.name,
                hint="store real and imaginary parts, or sizes, as dimensions of their own",
            )

    @property
    def shape(self) -> Shape:
        """What the memory of an analysis is foretold from."""
        stored = self.data.array.shape[0]
        return Shape(self.data.name, stored, self.count, self.size, self.dtype.itemsize)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows in order: the place and the values of each block, as ``dtype``."""
        step = max(1, BLOCK_BYTES // max(1, 8 * self.size))
        stored = self.data.array.shape[0]
        edges = np.searchsorted(self.numbers, range(0, stored + step, step))
        for start, (first, last) in zip(
            range(0, stored, step), pairwise(edges.tolist()), strict=True
        ):
            if first < last:
                block = self.data.array[start : min(start + step, stored)]
                if last - first < len(block):
                    block = block[self.numbers[first:last] - start]
                yield (
                    slice(first, last),
                    np.asarray(block, self.dtype).reshape(-1, self.size),
                )

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
            raise self.not_finite(broken)
        constant = low == high
        if constant.all():
            raise AnalysisError(
                f"expected rows that differ, but all {self.count} rows are equal",
                where=self.data.name,
                hint="check that the tap depends on the input, and that the samples differ",
            )
        return Moments(mean, squares / count, constant)

    def not_finite(self, broken: Sequence[int]) -> AnalysisError:
        """The error that names rows with NaN or infinite values."""
        return AnalysisError(
            f"{len(broken)} of {self.count} rows hold NaN or infinite values: {self.named(broken)}",
            where=self.data.name,
            hint="store the tap as float32 if it overflows float16, or leave these samples out",
        )

    def squarable(self, square: float) -> None:
        """Raises AnalysisError where squares leave the range of ``dtype``; ``square`` is a row's mean one."""
        limits = np.finfo(self.dtype)
        large = not 4 * square * self.count < float(limits.max)
        if large or square < float(limits.tiny / limits.eps):
            raise AnalysisError(
                f"values are too {'large' if large else 'small'} for sums of squares in {self.dtype}",
                where=self.data.name,
                hint='scale the tap, by preprocess = "zscore" where there is that option, or store it as'
                " float64",
            )

    def scaler(self, preprocess: Preprocess, moments: Moments) -> Scaler:
        """The preprocessing fitted on these rows; ``pca:N`` and ``whiten:N`` take one more pass."""
        name, _, number = preprocess.partition(":")
        if name in ("pca", "whiten"):
            found = principal(self, int(number), seed=0)
            deviations = np.sqrt(found.energies / (self.count - 1))
            return Scaler(found.mean, deviations if name == "whiten" else None, found.directions)
        return Scaler(
            mean=moments.mean if name in ("center", "zscore") else None,
            scale=moments.scale if name == "zscore" else None,
            unit=name == "l2",
        )

    def scaled(self, scaler: Scaler) -> Iterator[tuple[slice, np.ndarray]]:
        """All blocks, preprocessed. Raises AnalysisError for rows of zeros that shall get unit length."""
        for at, block in self.blocks():
            if scaler.unit and not block.any(axis=1).all():
                zeros = (np.flatnonzero(~block.any(axis=1)) + at.start).tolist()
                raise AnalysisError(
                    f"rows of zeros have no direction: {self.named(zeros)}",
                    where=self.data.name,
                    hint='use another preprocess than "l2", or leave these samples out',
                )
            yield at, scaler(block)

    def matrix(self, preprocess: Preprocess, moments: Moments) -> np.ndarray:
        """All rows in memory, preprocessed. Raises AnalysisError for rows of zeros under ``l2``."""
        return self.gathered(self.scaler(preprocess, moments))

    def gathered(self, scaler: Scaler) -> np.ndarray:
        """All rows in memory, preprocessed by a fitted scaler."""
        matrix = np.empty((self.count, scaler.size(self.size)), self.dtype)
        for at, block in self.scaled(scaler):
            matrix[at] = block
        return matrix

    def order(self, seed: int) -> np.ndarray:
        """A seeded order of the rows that depends on what they hold, not on where they stand.

        Its first m rows are a sample that stays the same when rows are shuffled. Equal rows are neighbours.
        """
        keys = np.concatenate([row_keys(block, seed) for _, block in self.blocks()])
        return np.argsort(keys, kind="stable")

    def column(self, name: str) -> list[object] | None:
        """A column of the table of rows, if it has it."""
        table = self.data.rows
        if name not in table.column_names:
            return None
        column = table.column(name)
        values: list[object] = column.to_pylist()
        return values if self.count == len(values) else [values[n] for n in self.numbers]

    def assignments(self, columns: Mapping[str, np.ndarray]) -> dict[str, pa.Array]:
        """A line for each row of the input: its number, its sample, and ``columns`` spread out."""
        table = {"row": pa.array(np.arange(self.data.array.shape[0]))}
        if "sample" in self.data.rows.column_names:
            table["sample"] = self.data.rows.column("sample").combine_chunks()
        return table | {name: self.spread_out(values) for name, values in columns.items()}

    def spread_out(self, values: np.ndarray) -> pa.Array:
        """A value for each row of the input: null for rows that take no part, and instead of NaN."""
        every = np.zeros(self.data.array.shape[0], values.dtype)
        absent = np.ones(len(every), bool)
        every[self.numbers], absent[self.numbers] = values, values != values
        return pa.array(every, mask=absent)

    def named(self, rows: Sequence[int], most: int = 5) -> str:
        """Some rows, by the ids of their samples, for messages."""
        samples = self.column("sample")
        names = [
            f"sample '{samples[row]}' (row {self.numbers[row]})"
            if samples
            else f"row {self.numbers[row]}"
            for row in rows[:most]
        ]
        return ", ".join(names) + (f" and {len(rows) - most} more" if len(rows) > most else "")


def row_keys(block: np.ndarray, seed: int) -> np.ndarray:
    """A seeded number for each row, uint64, the same for equal rows."""
    salt = seed.to_bytes(8, "little")
    keys = bytearray()
    for start in range(0, len(block), 4096):
        plain = np.ascontiguousarray(block[start : start + 4096] + 0.0)  # -0.0 equals 0.0
        keys += b"".join(blake2b(row, digest_size=8, salt=salt).digest() for row in plain)
    return np.frombuffer(bytes(keys), np.uint64)


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
