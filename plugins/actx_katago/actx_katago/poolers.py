"""Poolers that know the board: the activation at one point of it, and a row per chain of stones.

They read columns that the model gives with each batch: ``board_y``, ``board_x``, ``last_y`` and ``last_x``
of a position, and the ``stone`` on each of its points.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from actx_core import Activation, Batch, ModelError, Pooler, Tap, TapError

if TYPE_CHECKING:
    import numpy as np

    from actx_katago.chains import ChainsOf

LAST = "last"
_LETTERS = "ABCDEFGHJKLMNOPQRST"
_POINT = re.compile(rf"[{_LETTERS}]([1-9]|1[0-9])", re.IGNORECASE)


class At(Pooler):
    """The activation at one point of the board, in the tap's own dtype.

    NaN where a position has no such point: the board is smaller; there is no last move, or it is a pass.
    """

    point: str = LAST
    """``last``: where the last move was; or a point such as ``D4``: columns skip I, row 1 is lowest."""

    @field_validator("point")
    @classmethod
    def _is_point(cls, point: str) -> str:
        if point != LAST and not _POINT.fullmatch(point):
            raise ValueError(f"expected 'last' or a point from 'A1' to 'T19', found '{point}'")
        return point if point == LAST else point.upper()

    def tap(self, tap: Tap) -> Tap:
        return _rest(tap)

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        import numpy as np
        from array_api_compat import array_namespace, device

        xp = array_namespace(activation.array)
        flat, real = _points_first(xp, activation)
        y, x, there = self._places(_columns(batch, "sample", "board_y"))
        place = np.where(there, y * activation.array.shape[activation.axes.index("x")] + x, 0)
        there = there & np.take_along_axis(real, place[:, None], 1)[:, 0]
        where = device(activation.array)
        index = xp.asarray(place + np.arange(len(place)) * flat.shape[1], device=where)
        found = xp.take(xp.reshape(flat, (-1, *flat.shape[2:])), index, axis=0)
        if not there.all():
            keep = xp.asarray(there.reshape(-1, *[1] * (found.ndim - 1)), device=where)
            found = xp.where(keep, found, xp.asarray(np.nan, dtype=found.dtype, device=where))
        return Activation(found, _axes(activation), _other_mask(activation))

    def _places(self, columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """y, x and whether the point exists, for each position."""
        import numpy as np

        high, wide = (columns[name].astype(np.int64) for name in ("board_y", "board_x"))
        if self.point == LAST:
            y, x = (columns[name].astype(np.int64) for name in ("last_y", "last_x"))
        else:
            y = high - int(self.point[1:])
            x = np.full_like(y, _LETTERS.index(self.point[0]))
        return y, x, (y >= 0) & (y < high) & (x >= 0) & (x < wide)


class Chains(Pooler):
    """The mean over the stones of each chain: a row per chain, in reading order of their first stones.

    Columns of the rows: ``colour`` (own: of the player to move; opponent), ``size`` in stones,
    ``liberties``, and ``y``, ``x`` of the first stone. Dtypes as for core's mean.
    """

    def tap(self, tap: Tap) -> Tap:
        rest = _rest(tap)
        if rest.varying:
            raise TapError(
                f"expected no size but those of 'y' and 'x' to differ between boards, found"
                f" {list(rest.varying)}",
                where=tap.name,
                hint="pool those axes first, or set board_size",
            )
        sizes = dict(zip(tap.axes[1:], tap.shape, strict=True))
        y, x = sizes["y"], sizes["x"]
        return replace(
            rest,
            axes=("sample", "chain", *rest.axes[1:]),
            shape=(None, *rest.shape),
            dtype="float64" if tap.dtype == "float64" else "float32",
            kind="chain",
            rows_at_most=tap.rows_at_most if y is None or x is None else y * x,
        )

    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        import numpy as np
        from array_api_compat import array_namespace, device

        from actx_katago.chains import find_chains

        xp = array_namespace(activation.array)
        flat, real = _points_first(xp, activation)
        chains = find_chains(_columns(batch, "y", "stone")["stone"])
        wide = xp.float64 if flat.dtype == xp.float64 else xp.float32
        values = xp.astype(xp.reshape(flat, (*flat.shape[:2], -1)), wide)
        where = device(activation.array)
        values = xp.where(xp.asarray(real[..., None], device=where), values, xp.zeros_like(values))
        weights, row = _weights(chains, real)
        means = xp.matmul(xp.asarray(weights, dtype=wide, device=where), values)
        means = xp.take(
            xp.reshape(means, (-1, means.shape[-1])), xp.asarray(row, device=where), axis=0
        )
        means = xp.reshape(means, (len(row), *flat.shape[2:]))
        columns = {
            name: getattr(chains, name) for name in ("colour", "size", "liberties", "y", "x")
        }
        axes = ("chain", *_axes(activation)[1:])
        kept = np.bincount(chains.label.reshape(-1)[real.reshape(-1)] + 1, minlength=len(row) + 1)[
            1:
        ]
        mask = None if kept.all() else (kept > 0).reshape(-1, *[1] * (len(axes) - 1))
        return Activation(means, axes, mask, chains.offsets, {"chain": columns})


def _weights(chains: ChainsOf, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(positions, most chains, points): each chain's mean as weights; and where each chain stands in it."""
    import numpy as np

    counts = np.diff(chains.offsets)
    most = max(int(counts.max(initial=0)), 1)
    owner = np.repeat(np.arange(len(counts)), counts)
    row = owner * most + np.arange(len(owner)) - chains.offsets[owner]
    label = chains.label.reshape(len(counts), -1)
    position, point = np.nonzero((label >= 0) & real)
    weights = np.zeros((len(counts) * most, label.shape[1]), np.float32)
    weights[row[label[position, point]], point] = 1
    weights /= np.maximum(weights.sum(1, keepdims=True), 1)
    return weights.reshape(len(counts), most, -1), row


def _rest(tap: Tap) -> Tap:
    """A tap without the axes of the board. Raises TapError where it has none."""
    sizes = dict(zip(tap.axes[1:], tap.shape, strict=True))
    if not {"y", "x"} <= sizes.keys() or not tap.dtype.startswith(("float", "bfloat")):
        raise TapError(
            f"expected floats with the axes 'y' and 'x' of a board, found {tap.dtype} with"
            f" {list(tap.axes[1:])}",
            where=tap.name,
            hint="tap a convolution or a stream of the trunk, or write pool = []",
        )
    rest = {axis: n for axis, n in sizes.items() if axis not in ("y", "x")}
    return replace(tap, axes=("sample", *rest), shape=tuple(rest.values()), kind="")


def _axes(activation: Activation) -> tuple[str, ...]:
    """The axes after pooling the board away, samples first."""
    return ("sample", *(a for a in activation.axes if a not in ("sample", "y", "x")))


def _points_first(xp: Any, activation: Activation) -> tuple[Any, np.ndarray]:
    """The values as (positions, points, the other axes), and which points are real: (positions, points)."""
    import numpy as np

    axes = ("sample", "y", "x", *_axes(activation)[1:])
    order = tuple(activation.axes.index(axis) for axis in axes)
    array = xp.permute_dims(activation.array, order)
    n, y, x, *rest = array.shape
    real = np.ones((n, y, x), bool)
    if activation.mask is not None:
        real &= activation.mask.transpose(order).reshape(*_sizes(activation.mask, order)).any(-1)
    return xp.reshape(array, (n, y * x, *rest)), real.reshape(n, y * x)


def _other_mask(activation: Activation) -> np.ndarray | None:
    """What is real along the axes after pooling the board away: what attention reaches are points, too."""
    import numpy as np

    if activation.mask is None:
        return None
    order = [activation.axes.index(axis) for axis in ("y", "x", *_axes(activation))]
    mask = np.asarray(activation.mask.transpose(order).any(axis=(0, 1)))
    return None if mask.all() else mask


def _sizes(mask: np.ndarray, order: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a mask as (positions, y, x, everything else)."""
    return (*(mask.shape[i] for i in order[:3]), -1)


def _columns(batch: Batch, axis: str, name: str) -> dict[str, np.ndarray]:
    """The columns of an axis. Raises ModelError where the model gives no boards."""
    columns = dict(batch.columns.get(axis, {}))
    if name not in columns:
        raise ModelError(
            f"this pooler needs boards: the model gives no column '{name}'",
            hint="use it with the model 'katago', or pool with mean, max, std or grid",
        )
    return columns
