"""Mean, maximum and standard deviation over named axes; masked values are left out."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pydantic import Field

from actx_core.contracts import Pooler
from actx_core.poolers._shared import (
    Over,
    accumulator,
    blank,
    count,
    derived,
    divide,
    filled,
    float_dtype,
    numbers,
    numeric,
    resized,
    samplewise,
    scalar,
    some,
    zeros,
)
from actx_core.types import Activation, Batch, Tap

if TYPE_CHECKING:
    import numpy as np


class _Reduction(Pooler):
    """Reduces the axes ``over`` to nothing."""

    over: Over
    """Axes to reduce, such as ["y", "x"] or "token"."""

    def tap(self, tap: Tap) -> Tap:
        numbers(tap.axes, self.over, tap.name)
        sizes = zip(tap.axes[1:], tap.shape, strict=True)
        return resized(tap, {a: n for a, n in sizes if a not in self.over}, self._dtype(tap))

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        return samplewise(activation, self.over, self._dense)

    def _dense(self, activation: Activation) -> Activation:
        from array_api_compat import array_namespace

        xp = array_namespace(activation.array)
        over = numbers(activation.axes, self.over)
        array = numeric(xp, activation.array)
        array = xp.squeeze(self._reduce(xp, array, activation.mask, over), axis=over)
        if xp.isdtype(activation.array.dtype, "bool") and xp.isdtype(array.dtype, "integral"):
            array = xp.astype(array, xp.bool)
        axes = [axis for axis in activation.axes if axis not in self.over]
        mask = None if activation.mask is None else some(activation.mask, over)
        return derived(activation, array, axes, mask, self.over)

    def _dtype(self, tap: Tap) -> str:
        return float_dtype(tap)

    @abstractmethod
    def _reduce(self, xp: Any, array: Any, mask: np.ndarray | None, over: tuple[int, ...]) -> Any:
        """``array`` with size 1 along ``over``."""


class Mean(_Reduction):
    """Arithmetic mean over the named axes.

    Summed in float32 (float64 for float64), which is also the result's dtype. NaN where a sample
    has nothing real to average.
    """

    def _reduce(self, xp: Any, array: Any, mask: np.ndarray | None, over: tuple[int, ...]) -> Any:
        return _mean(xp, array, mask, over)


class Max(_Reduction):
    """Maximum over the named axes, in the tap's own dtype; NaN wins, as in numpy.

    NaN where a sample has nothing real. Raises ModelError for that if the dtype is an integer's.
    """

    def _dtype(self, tap: Tap) -> str:
        float_dtype(tap)
        return tap.dtype

    def _reduce(self, xp: Any, array: Any, mask: np.ndarray | None, over: tuple[int, ...]) -> Any:
        lowest = -math.inf
        if xp.isdtype(array.dtype, "integral"):
            lowest = xp.iinfo(array.dtype).min
        if 0 in (array.shape[a] for a in over):
            result = zeros(xp, array, over)
        else:
            result = xp.max(filled(xp, array, mask, lowest), axis=over, keepdims=True)
        return blank(xp, result, count(mask, array.shape, over) == 0)


class Std(_Reduction):
    """Standard deviation over the named axes; dtypes as for the mean.

    Two passes, the second corrected for the rounding of the mean (Chan, Golub & LeVeque 1983,
    eq. 1.7). NaN where a sample has no more than ``ddof`` real values.
    """

    ddof: int = Field(default=0, ge=0)
    """Subtracted from the number of values: 0 for the population, 1 for a sample of it."""

    def _reduce(self, xp: Any, array: Any, mask: np.ndarray | None, over: tuple[int, ...]) -> Any:
        import numpy as np

        array = xp.astype(array, accumulator(xp, array), copy=False)
        n = count(mask, array.shape, over)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite values: NaN, without a word
            apart = filled(xp, array - _mean(xp, array, mask, over), mask, 0.0)
            rest = xp.sum(apart, axis=over, keepdims=True)
            squares = xp.sum(apart * apart, axis=over, keepdims=True)
            variance = divide(xp, squares - divide(xp, rest * rest, n), n - self.ddof)
        return xp.sqrt(xp.where(variance < 0, scalar(xp, 0.0, variance), variance))


def _mean(xp: Any, array: Any, mask: np.ndarray | None, over: tuple[int, ...]) -> Any:
    array = filled(xp, array, mask, 0)
    total = xp.sum(array, axis=over, dtype=accumulator(xp, array), keepdims=True)
    return divide(xp, total, count(mask, array.shape, over))
