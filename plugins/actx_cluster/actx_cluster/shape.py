"""The shape of an input's rows: all that the memory of an analysis is foretold from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actx_core import AnalysisError, ArraySpec

WIDE = ("float64", "int64", "uint64", "int32", "uint32")
"""Stored types that are read as float64; all others are read as float32."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Of ``stored`` rows, ``count`` take part, each a vector of ``size`` numbers of ``itemsize`` bytes."""

    name: str
    stored: int
    count: int
    size: int
    itemsize: int = 4

    @classmethod
    def of(cls, spec: ArraySpec) -> Shape:
        """That of an array whose number of rows is known. Raises AnalysisError where rows are not vectors."""
        rows = spec.rows or 0
        size = vector_size(spec.name, spec.axes, spec.row_shape)
        return cls(spec.name, rows, rows, size, 8 if spec.dtype in WIDE else 4)

    @property
    def bytes(self) -> int:
        """The rows that take part, in memory."""
        return self.count * self.size * self.itemsize


def vector_size(name: str, axes: Sequence[str], row_shape: Sequence[int]) -> int:
    """The numbers of a row. Raises AnalysisError where rows have several axes."""
    if len(row_shape) < 2:
        return (*row_shape, 1)[0]
    names = axes[1:]
    keep = "channel" if "channel" in names else names[-1]
    over = ", ".join(f'"{axis}"' for axis in names if axis != keep)
    every = ", ".join(f'"{axis}"' for axis in names)
    sizes = " x ".join(f"{axis} {n}" for axis, n in zip(names, row_shape, strict=True))
    raise AnalysisError(
        f"expected rows that are vectors, but each has the axes {sizes}",
        where=name,
        hint=f'pool the tap with {{ type = "mean", over = [{over}] }},'
        f' or keep every value with {{ type = "flatten", over = [{every}] }}',
    )
