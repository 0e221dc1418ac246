"""A coarse picture of the plane: means over k x k cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from actx_core.contracts import Pooler
from actx_core.poolers._shared import (
    Over,
    accumulator,
    derived,
    divide,
    filled,
    float_dtype,
    numbers,
    numeric,
    resized,
    samplewise,
    some,
)
from actx_core.types import SAMPLE, Activation, Batch, Tap

if TYPE_CHECKING:
    import numpy as np


class Grid(Pooler):
    """Means over ``size`` cells along each named axis, edges as in torch's AdaptiveAvgPool2d.

    The cells divide what is real of each sample, from its first to its last unmasked index, so
    padding changes nothing; masked values are left out. Dtypes as for the mean; NaN where a cell has
    nothing real.
    """

    size: int = Field(ge=1)
    """Cells along each axis."""
    over: Over = ("y", "x")
    """The axes to divide."""

    def tap(self, tap: Tap) -> Tap:
        numbers(tap.axes, self.over, tap.name)
        sizes = zip(tap.axes[1:], tap.shape, strict=True)
        cells = {axis: self.size if axis in self.over else n for axis, n in sizes}
        return resized(tap, cells, float_dtype(tap))

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        return samplewise(activation, self.over, self._dense)

    def _dense(self, activation: Activation) -> Activation:
        import numpy as np
        from array_api_compat import array_namespace

        xp = array_namespace(activation.array)
        over = numbers(activation.axes, self.over)
        lead = activation.axes.index(SAMPLE) if SAMPLE in activation.axes else 0
        total = filled(xp, numeric(xp, activation.array), activation.mask, 0)
        dtype = accumulator(xp, total)
        real = np.ones((1,) * total.ndim, bool) if activation.mask is None else activation.mask
        shape = [n if a in over else real.shape[a] for a, n in enumerate(total.shape)]
        real = np.broadcast_to(real, shape)
        counts = real.astype(np.int64)
        for axis in over:
            edges = _edges(real, axis, lead, self.size)
            total = _summed(xp, total, axis, lead, dtype, *edges)
            counts = _summed(np, counts, axis, lead, np.int64, *edges)
        return derived(
            activation, divide(xp, total, counts), activation.axes, counts > 0, self.over
        )


def _edges(real: np.ndarray, axis: int, lead: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """First index and end of each cell along ``axis``: (samples, k), or (1, k) if all are alike."""
    import numpy as np

    line = some(np.moveaxis(real, (lead, axis), (0, 1)), range(2, real.ndim))
    place = np.arange(line.shape[1])
    first = np.where(line, place, len(place)).min(axis=1, keepdims=True, initial=len(place))
    end = np.where(line, place + 1, 0).max(axis=1, keepdims=True, initial=0)
    first = np.minimum(first, end)
    size, i = end - first, np.arange(k)
    starts, stops = first + i * size // k, first - (-(i + 1) * size // k)
    if (starts == starts[0]).all() and (stops == stops[0]).all():
        return starts[:1], stops[:1]
    return starts, stops


def _summed(
    xp: Any, array: Any, axis: int, lead: int, dtype: Any, starts: np.ndarray, stops: np.ndarray
) -> Any:
    """Sums over the cells along ``axis``."""
    import numpy as np

    cells = []
    for start, stop in zip(starts.T, stops.T, strict=True):
        low, high = int(start.min()), int(stop.max())
        part = array[(slice(None),) * axis + (slice(low, high), ...)]
        if len(start) > 1:
            place = np.arange(low, high)
            inside = (place >= start[:, None]) & (place < stop[:, None])
            shape = [1] * array.ndim
            shape[lead], shape[axis] = inside.shape
            part = filled(xp, part, (inside if lead < axis else inside.T).reshape(shape), 0)
        cells.append(xp.sum(part, axis=axis, dtype=dtype, keepdims=True))
    return xp.concat(cells, axis=axis)
