"""Makes an analyzer's input from a plain array, and watches how it is read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from actx_core import Input


class Watched:
    """A lazy array that hands out slices of rows only and notes the largest."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        block = self.array[rows]
        self.largest = max(self.largest, len(block))
        return block


@pytest.fixture
def make_input():
    def make(array, axes=("row", "channel"), name="photos/net/layer", **columns):
        columns.setdefault("sample", [f"img{row:04d}.png" for row in range(len(array))])
        return Input(
            name=name,
            array=Watched(np.asarray(array)),
            axes=axes,
            rows=pa.table(columns),
            digest="",
            preview=lambda rows: [None] * len(rows),
        )

    return make
