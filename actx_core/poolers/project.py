"""Sparse random projection: a few dimensions that keep the distances between samples."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import Field

from actx_core.contracts import Pooler
from actx_core.poolers._shared import (
    Over,
    accumulator,
    derived,
    filled,
    float_dtype,
    numbers,
    resized,
    some,
)
from actx_core.poolers.select import Flatten
from actx_core.types import Activation, Batch, Tap

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20
"""Values gathered at a time: 4 MB as float32, so that they stay in the cache."""

FEATURE = "feature"


class Projection(Pooler):
    """Very sparse random projection of the named axes to ``dim`` values.

    Each entry of the matrix is ±1/sqrt(density · dim) with probability ``density`` / 2 each, else 0,
    so that squared norms are kept in expectation (Achlioptas 2003; Li, Hastie & Church 2006, whose
    density of 1/sqrt(size) is the default). The matrix depends on the size, ``dim``, ``density`` and
    ``seed`` only, not on the platform. Masked values count as 0. Dtypes as for the mean.
    """

    dim: int = Field(ge=1)
    """Size of the result."""
    seed: int = Field(default=0, ge=0)
    """Seed of the matrix."""
    over: Over | None = None
    """Axes to project, flattened in this order; all but the samples by default."""
    density: float | None = Field(default=None, ge=1e-5, le=1)
    """Share of the matrix that is not zero."""

    def tap(self, tap: Tap) -> Tap:
        flat = self._flatten.tap(tap)
        sizes = dict(zip(flat.axes[1:], flat.shape, strict=True))
        return resized(flat, {**sizes, FEATURE: self.dim}, float_dtype(tap))

    @property
    def _flatten(self) -> Flatten:
        return Flatten(over=self.over, name=FEATURE)

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        from array_api_compat import array_namespace, device

        xp = array_namespace(activation.array)
        array = filled(xp, activation.array, activation.mask, 0)
        flat = self._flatten(replace(activation, array=array), batch)
        (axis,) = numbers(flat.axes, [FEATURE])
        array = xp.moveaxis(flat.array, axis, 0)
        size, rest = array.shape[0], array.shape[1:]
        wide = accumulator(xp, array) == xp.float64
        density = self.density or 1 / math.sqrt(max(size, 1))
        matrix = _matrix(size, self.dim, self.seed, density, xp, device(array), wide)
        columns = xp.reshape(xp.reshape(array, (-1,)), (size, math.prod(rest)))  # contiguous
        array = _multiplied(xp, *matrix, columns)
        array = xp.moveaxis(xp.reshape(array, (self.dim, *rest)), 0, axis)
        mask = None if flat.mask is None else some(flat.mask, [axis], keepdims=True)
        return derived(flat, array, flat.axes, mask, [FEATURE])


def _multiplied(xp: Any, index: Any, weight: Any, columns: Any) -> Any:
    """The matrix times ``columns`` (size, n): gathers a few rows of the result at a time."""
    dim, width = index.shape
    n = columns.shape[1]
    step = max(1, _CHUNK // max(1, width * n))
    parts = []
    for start in range(0, dim, step):
        stop = min(start + step, dim)
        rows = index[start:stop, :]
        picked = xp.reshape(xp.take(columns, xp.reshape(rows, (-1,)), axis=0), (*rows.shape, n))
        signed = xp.astype(picked, weight.dtype, copy=False) * weight[start:stop, :, None]
        parts.append(xp.sum(signed, axis=1))
    return xp.concat(parts, axis=0)


@lru_cache(maxsize=128)
def _matrix(
    size: int, dim: int, seed: int, density: float, xp: Any, device: Any, wide: bool
) -> tuple[Any, Any]:
    """``entries`` on a device, with the weights in the dtype of the sums."""
    import numpy as np

    index, sign = entries(size, dim, seed, density)
    scale = 1 / math.sqrt(density * dim)
    weight = (sign * scale).astype(np.float64 if wide else np.float32)
    return xp.asarray(index, device=device), xp.asarray(weight, device=device)


def entries(size: int, dim: int, seed: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Where each of the ``dim`` rows of the matrix is not zero (int64), and its signs (int8).

    Rows are filled up to the longest with sign 0. Only the raw bits of PCG64, whose stream numpy
    keeps (NEP 19), and exactly rounded arithmetic are used, so every platform gets the same.
    """
    import numpy as np

    bits = np.random.PCG64(seed)
    # Walks over size x dim cells from one non-zero to the next: geometric gaps, by inversion.
    survival = np.cumprod(np.full(int(37 / density) + 1, 1 - density))  # until below 2**-53
    place, sign, end = [], [], -1
    while end < size * dim:
        raw = bits.random_raw(int(size * dim * density * 1.01) + 64)
        gap = np.searchsorted(-survival, -((raw >> 11) * 2.0**-53), side="left")
        place.append(end + np.cumsum(gap + 1))
        sign.append((raw & 1).astype(np.int8) * 2 - 1)
        end = int(place[-1][-1])
    places, signs = np.concatenate(place), np.concatenate(sign)
    inside = places < size * dim
    row, column = np.divmod(places[inside], max(size, 1))
    counts = np.bincount(row, minlength=dim)
    slot = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.zeros((dim, int(counts.max())), np.int64)
    filled_signs = np.zeros(index.shape, np.int8)
    index[row, slot], filled_signs[row, slot] = column, signs[inside]
    return index, filled_signs
