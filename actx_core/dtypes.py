"""How logical dtypes are stored: bfloat16 as its bits, int8 per channel with scales, others as in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np

from actx_core.errors import StoreError

BFLOAT16 = "bfloat16"
INT8 = "int8_per_channel"
"""Whole numbers from -127 to 127, times a scale that each channel has in each shard."""


def storage(logical: str) -> np.dtype[Any]:
    """The numpy dtype, little-endian, in which a logical dtype is stored: uint16 for bfloat16."""
    if logical in (BFLOAT16, INT8):
        return np.dtype("<u2" if logical == BFLOAT16 else "i1")
    try:
        dtype = np.dtype(logical)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise StoreError(
            f"expected a real number type, found dtype {logical!r}",
            hint="set dtype under [store], such as dtype = 'float32'",
        )
    return dtype.newbyteorder("<")


def gathered(logical: str) -> np.dtype[Any]:
    """The dtype in which rows wait until their shard is complete: int8 needs all of them for its scale."""
    return np.dtype("<f4") if logical == INT8 else storage(logical)


def itemsize(logical: str) -> int:
    """Bytes of one stored value."""
    return storage(logical).itemsize


def encode(array: np.ndarray, logical: str) -> np.ndarray:
    """Values as they are gathered for a shard; too large ones become infinite.

    bfloat16 rounds to nearest, ties to even, by way of float32 as torch does; NaN stays NaN.
    """
    with np.errstate(over="ignore"):
        if logical != BFLOAT16:
            return array.astype(gathered(logical), copy=False)
        bits = array.astype("<f4", order="C").view("<u4")
    # Half of what is cut off, less one bit where the last kept bit is even: a tie goes to even.
    rounded = ((bits >> 16) & 1) + np.uint32(0x7FFF)
    rounded += bits
    rounded >>= 16
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    rounded = np.where(
        nan, bits >> 16 | 0x40, rounded
    )  # the quiet bit, or NaN could become infinity
    return rounded.astype("<u2")


def decode(stored: np.ndarray, logical: str) -> np.ndarray:
    """Stored values as numpy can calculate with them: bfloat16 becomes float32, exactly."""
    if logical != BFLOAT16:
        return stored
    bits = stored.astype("<u4", order="C")
    bits <<= 16
    return bits.view("<f4")


def quantize(array: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """int8, and float32 scales that broadcast to ``array``: one per index of the axis, or only one.

    ``array`` is finite. The largest magnitude of each becomes 127; where all values are 0 the scale is 1.
    A scale is at least the smallest float32, and at most such that 127 times it is finite.
    """
    others = tuple(i for i in range(array.ndim) if i != axis)
    largest = np.abs(array).max(axis=others, initial=0, keepdims=True).astype(np.float32)
    most = np.nextafter(np.finfo(np.float32).max / np.float32(127), np.float32(0))
    scale = np.clip(largest / np.float32(127), np.finfo(np.float32).smallest_subnormal, most)
    scale = np.where(largest > 0, scale, np.float32(1))
    return np.clip(np.rint(array / scale), -127, 127).astype(np.int8), scale
