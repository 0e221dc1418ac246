"""What poolers share: axes found by name, masks and counts, packed activations sample by sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from actx_core.errors import ModelError, TapError
from actx_core.types import SAMPLE, Activation, Tap

if TYPE_CHECKING:
    import numpy as np


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _checked(over: tuple[str, ...]) -> tuple[str, ...]:
    if not over:
        raise ValueError("expected at least one axis")
    if SAMPLE in over:
        raise ValueError(f"samples are never pooled together: name other axes than '{SAMPLE}'")
    if len(set(over)) < len(over):
        raise ValueError("an axis is named twice")
    return over


Over = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_tuple, json_schema_input_type=str | tuple[str, ...]),
    AfterValidator(_checked),
]
"""Names of the axes a pooler works on; one may stand alone."""


def _one(axis: str) -> str:
    return _checked((axis,))[0]


Axis = Annotated[str, AfterValidator(_one)]
"""The name of one axis, not that of the samples."""


def numbers(axes: Sequence[str], over: Sequence[str], where: str = "") -> tuple[int, ...]:
    """Where the axes ``over`` stand. Raises TapError for those that are not there."""
    missing = [axis for axis in over if axis not in axes]
    if missing:
        there = [axis for axis in axes if axis != SAMPLE]
        raise TapError(
            f"expected the axes {_list(over)}, found {_list(there)}: no {_list(missing)}",
            where=where,
            hint=f"name some of {_list(there)} instead, or write pool = [] to keep the tap whole",
        )
    return tuple(axes.index(axis) for axis in over)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def float_dtype(tap: Tap) -> str:
    """The dtype of means, deviations and projections: float64 stays, else float32."""
    if tap.dtype.startswith("complex"):
        raise TapError(
            f"expected real values, found {tap.dtype}", where=tap.name, hint="write pool = []"
        )
    return "float64" if tap.dtype == "float64" else "float32"


def resized(tap: Tap, sizes: Mapping[str, int | None], dtype: str) -> Tap:
    """The tap with new axes; ``kind`` is forgotten where other axes vary than before."""
    after = replace(tap, axes=(SAMPLE, *sizes), shape=tuple(sizes.values()), dtype=dtype)
    return after if after.varying == tap.varying else replace(after, kind="")


def accumulator(xp: Any, array: Any) -> Any:
    """The dtype in which an array is summed, as ``float_dtype`` says."""
    return xp.float64 if array.dtype == xp.float64 else xp.float32


def numeric(xp: Any, array: Any) -> Any:
    """``array``, but bool as uint8: the standard knows no sum or maximum of bool."""
    return xp.astype(array, xp.uint8) if xp.isdtype(array.dtype, "bool") else array


def to_device(xp: Any, host: np.ndarray, like: Any) -> Any:
    """A host array on the device of ``like``."""
    import numpy as np
    from array_api_compat import device

    # torch refuses negative strides and warns about arrays that cannot be written.
    return xp.asarray(np.require(host, requirements=["C", "W"]), device=device(like))


def scalar(xp: Any, value: float, like: Any) -> Any:
    """A 0-d array of the dtype and on the device of ``like``."""
    from array_api_compat import device

    return xp.asarray(value, dtype=like.dtype, device=device(like))


def filled(xp: Any, array: Any, mask: np.ndarray | None, value: float) -> Any:
    """``array`` with ``value`` where it is masked: even NaN does not leak."""
    if mask is None:
        return array
    return xp.where(to_device(xp, mask, array), array, scalar(xp, value, array))


def some(mask: np.ndarray, axes: Sequence[int], keepdims: bool = False) -> np.ndarray:
    """Where any value along ``axes`` is real."""
    import numpy as np

    return np.asarray(mask.any(axis=tuple(axes), keepdims=keepdims))


def zeros(xp: Any, array: Any, axes: Sequence[int]) -> Any:
    """Zeros like ``array``, but with size 1 along ``axes``."""
    from array_api_compat import device

    shape = tuple(1 if a in axes else n for a, n in enumerate(array.shape))
    return xp.zeros(shape, dtype=array.dtype, device=device(array))


def count(mask: np.ndarray | None, shape: Sequence[int], axes: Sequence[int]) -> np.ndarray:
    """How many real values lie along ``axes``, which stay with size 1; on the host."""
    import numpy as np

    if mask is None:
        return np.full((1,) * len(shape), math.prod(shape[a] for a in axes))
    repeated = math.prod(shape[a] for a in axes if mask.shape[a] == 1)
    return np.asarray(mask.sum(axis=tuple(axes), keepdims=True) * repeated)


def divide(xp: Any, total: Any, n: np.ndarray) -> Any:
    """``total / n``, and NaN where ``n`` is not positive."""
    import numpy as np

    host = np.where(n > 0, n, np.nan)
    if host.size == 1:
        return total / host.item()
    dtype = np.float64 if total.dtype == xp.float64 else np.float32
    return total / to_device(xp, host.astype(dtype), total)


def blank(xp: Any, array: Any, empty: np.ndarray) -> Any:
    """``array`` with NaN where ``empty``. Raises ModelError if its dtype has no NaN."""
    if not empty.any():
        return array
    if not xp.isdtype(array.dtype, "real floating"):
        raise ModelError(
            f"a sample has nothing to pool: all is masked, and {array.dtype} has no NaN to say so",
            hint="pool with mean, which gives float32, or keep more points",
        )
    return xp.where(to_device(xp, empty, array), scalar(xp, math.nan, array), array)


def derived(
    activation: Activation,
    array: Any,
    axes: Sequence[str],
    mask: np.ndarray | None,
    gone: Collection[str],
) -> Activation:
    """A new activation of the same samples, without columns of the axes ``gone`` or an idle mask."""
    columns = {axis: c for axis, c in activation.columns.items() if axis not in gone}
    if mask is not None and mask.all():
        mask = None
    return Activation(array, tuple(axes), mask, activation.offsets, columns)


def samplewise(
    activation: Activation, over: Sequence[str], pool: Callable[[Activation], Activation]
) -> Activation:
    """``pool``, sample by sample where the packed axis of a packed activation is among ``over``."""
    if activation.offsets is None or activation.axes[0] not in over:
        return pool(activation)
    return _joined(activation, [pool(one) for one in _unpacked(activation)], over)


def _unpacked(activation: Activation) -> Iterator[Activation]:
    """Each sample of a packed activation as a batch of one."""
    from array_api_compat import array_namespace

    xp = array_namespace(activation.array)
    assert activation.offsets is not None
    for start, stop in pairwise(map(int, activation.offsets)):
        array = xp.expand_dims(activation.array[start:stop, ...], axis=0)
        mask = activation.mask
        if mask is not None:
            mask = (mask if mask.shape[0] == 1 else mask[start:stop])[None]
        yield Activation(array, (SAMPLE, *activation.axes), mask)


def _joined(packed: Activation, parts: Sequence[Activation], over: Sequence[str]) -> Activation:
    """Batches of one as one batch."""
    import numpy as np
    from array_api_compat import array_namespace

    xp = array_namespace(packed.array)
    array = xp.concat([part.array for part in parts], axis=0)
    mask = None
    if any(part.mask is not None for part in parts):
        free = np.ones((1,) * array.ndim, bool)
        masks = [free if part.mask is None else part.mask for part in parts]
        shape = np.broadcast_shapes(*(m.shape for m in masks))
        mask = np.concatenate([np.broadcast_to(m, shape) for m in masks])
    return derived(replace(packed, offsets=None), array, parts[0].axes, mask, over)
