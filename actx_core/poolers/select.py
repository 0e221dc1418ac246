"""Poolers that choose or rearrange: one index of an axis, several axes as one, all as it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from actx_core.contracts import Pooler
from actx_core.errors import TapError
from actx_core.poolers._shared import (
    Axis,
    Over,
    blank,
    derived,
    numbers,
    resized,
    samplewise,
    some,
    to_device,
    zeros,
)
from actx_core.types import SAMPLE, Activation, Batch, Tap

if TYPE_CHECKING:
    import numpy as np


class Select(Pooler):
    """One index of an axis, in the tap's own dtype.

    NaN where a sample has no such index; ModelError for that if the dtype is an integer's.
    """

    axis: Axis = "token"
    """The axis to choose from."""
    index: Literal["cls", "first", "last"] | Annotated[int, Field(strict=True)]
    """Counts what is real in each sample: "first", "last", or a number (negative: from the end).
    "cls" is what stands first on the axis, masked or not."""

    def tap(self, tap: Tap) -> Tap:
        numbers(tap.axes, [self.axis], tap.name)
        sizes = dict(zip(tap.axes[1:], tap.shape, strict=True))
        size = sizes.pop(self.axis)
        if size is not None and not -size <= self._number < size:
            raise TapError(
                f"expected an index of '{self.axis}', which has size {size}, found {self.index}",
                where=tap.name,
                hint=f"choose from {-size} to {size - 1}",
            )
        return resized(tap, sizes, tap.dtype)

    @property
    def _number(self) -> int:
        if isinstance(self.index, int):
            return self.index
        return -1 if self.index == "last" else 0

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        return samplewise(activation, [self.axis], self._dense)

    def _dense(self, activation: Activation) -> Activation:
        import numpy as np
        from array_api_compat import array_namespace

        xp = array_namespace(activation.array)
        (axis,) = numbers(activation.axes, [self.axis])
        array, mask = activation.array, activation.mask
        index, found = self._place(activation, axis)
        if mask is not None:
            if self.index == "cls" or mask.shape[axis] <= 1:
                mask = some(mask, [axis])
            else:
                mask = np.take_along_axis(mask, index, axis).squeeze(axis)
        array = xp.squeeze(blank(xp, _taken(xp, array, index, axis), ~found), axis=axis)
        axes = [name for name in activation.axes if name != self.axis]
        return derived(activation, array, axes, mask, [self.axis])

    def _place(self, activation: Activation, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """The index along ``axis`` for each sample, and whether it exists; size 1 on other axes."""
        import numpy as np

        ndim, size = len(activation.axes), activation.array.shape[axis]
        lead = activation.axes.index(SAMPLE) if SAMPLE in activation.axes else 0
        if activation.mask is None or self.index == "cls":
            real = np.ones((1,) * ndim, bool)
        else:
            rest = tuple(a for a in range(ndim) if a not in (lead, axis))
            real = some(activation.mask, rest, keepdims=True)
        shape = [*real.shape]
        shape[axis] = size
        nth = np.broadcast_to(real, shape).cumsum(axis=axis)
        n = nth.max(axis=axis, keepdims=True, initial=0)
        want = self._number if self._number >= 0 else n + self._number
        found = (want >= 0) & (want < n)
        if not size:
            return np.zeros_like(n), found
        return np.where(found, (nth == want + 1).argmax(axis=axis, keepdims=True), 0), found


def _taken(xp: Any, array: Any, index: np.ndarray, axis: int) -> Any:
    """One entry along ``axis``; a copy, since a view would keep the whole array in memory."""
    if not array.shape[axis]:
        return zeros(xp, array, [axis])
    if (index == index.flat[0]).all():
        return xp.take(array, to_device(xp, index.reshape(-1)[:1], array), axis=axis)
    return xp.take_along_axis(array, to_device(xp, index, array), axis=axis)


class Flatten(Pooler):
    """Several axes as one, in the order given; it stands where the first of them stood.

    The result may share memory with the activation.
    """

    over: Over | None = None
    """Axes to join, all but the samples by default."""
    name: str = "feature"
    """What the new axis is called."""

    def tap(self, tap: Tap) -> Tap:
        over = tap.axes[1:] if self.over is None else self.over
        numbers(tap.axes, over, tap.name)
        varying = [axis for axis in over if axis in tap.varying]
        if varying:
            raise _varies(varying[0], tap.name)
        axes = _renamed(tap.axes, over, self.name, tap.name)
        sizes: dict[str, int | None] = dict(zip(tap.axes[1:], tap.shape, strict=True))
        sizes[self.name] = math.prod(n for a in over if (n := sizes[a]) is not None)
        return resized(tap, {axis: sizes[axis] for axis in axes[1:]}, tap.dtype)

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        from array_api_compat import array_namespace

        xp = array_namespace(activation.array)
        old, mask = activation.axes, activation.mask
        over = tuple(a for a in old if a != SAMPLE) if self.over is None else self.over
        joined = numbers(old, over)
        if activation.offsets is not None and old[0] in over:
            raise _varies(old[0])
        axes = _renamed(old, over, self.name)
        order = [n for a in axes for n in (joined if a == self.name else [old.index(a)])]
        array = xp.permute_dims(activation.array, tuple(order))
        at = axes.index(self.name)
        shape = (*array.shape[:at], math.prod(array.shape[at : at + len(over)]))
        array = xp.reshape(array, (*shape, *array.shape[at + len(over) :]))
        if mask is not None:
            mask = _flat_mask(mask, activation.array.shape, joined, order, at)
        return derived(activation, array, axes, mask, over)


def _varies(axis: str, where: str = "") -> TapError:
    return TapError(
        f"the size of '{axis}' differs between samples, so it cannot be joined with other axes",
        where=where,
        hint=f"reduce it first, as with {{ type = 'mean', over = ['{axis}'] }}, or name other axes in over",
    )


def _renamed(
    axes: tuple[str, ...], over: tuple[str, ...], name: str, where: str = ""
) -> tuple[str, ...]:
    """``axes`` with ``name`` in place of the first of ``over``, and without the others."""
    first = min((axes.index(a) for a in over), default=len(axes))
    rest = [a for a in axes if a not in over]
    if name in rest:
        raise TapError(f"there is already an axis '{name}'", where=where, hint="set another name")
    return (*rest[:first], name, *rest[first:])


def _flat_mask(
    mask: np.ndarray, shape: tuple[int, ...], joined: tuple[int, ...], order: list[int], at: int
) -> np.ndarray:
    """A mask whose axes ``joined`` become one, with size 1 if it says nothing along them."""
    import numpy as np

    if any(mask.shape[a] > 1 for a in joined):
        full = [shape[a] if a in joined else n for a, n in enumerate(mask.shape)]
        mask = np.broadcast_to(mask, full)
    mask = mask.transpose(order)
    size = math.prod(mask.shape[at : at + len(joined)])
    return mask.reshape(*mask.shape[:at], size, *mask.shape[at + len(joined) :])


class Identity(Pooler):
    """Everything as it is: keeps a tap whole where the pipeline's default would pool it."""

    def tap(self, tap: Tap) -> Tap:
        return tap

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        return activation
