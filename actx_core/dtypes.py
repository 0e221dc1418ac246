"""How logical dtypes are stored: numpy knows all but bfloat16, which is kept as its 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from actx_core.errors import StoreError

BFLOAT16 = "bfloat16"


def storage(logical: str) -> np.dtype[Any]:
    """The numpy dtype, little-endian, in which a logical dtype is stored: uint16 for bfloat16."""
    if logical == BFLOAT16:
        return np.dtype("<u2")
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


def itemsize(logical: str) -> int:
    """Bytes of one stored value."""
    return storage(logical).itemsize


def encode(array: np.ndarray, logical: str) -> np.ndarray:
    """Values as they are stored; too large ones become infinite.

    bfloat16 rounds to nearest, ties to even, by way of float32 as torch does; NaN stays NaN.
    """
    with np.errstate(over="ignore"):
        if logical != BFLOAT16:
            return array.astype(storage(logical), copy=False)
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
