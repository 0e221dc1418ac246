"""Makes named inputs whose arrays are read lazily, by slices or by ascending row numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from actx_cluster.similarity import figures
from actx_core import Input


class Lazy:
    """As h5py reads: slices, or row numbers in ascending order. Counts what is read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.largest = self.read = 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice) or (np.diff(rows) > 0).all()
        block = self.array[rows]
        self.largest = max(self.largest, len(block))
        self.read += len(block)
        return block


@pytest.fixture(scope="session")
def tap():
    def make(array, name="photos/net/layer", axes=("row", "channel"), **columns):
        columns.setdefault("sample", [f"img{row:04d}" for row in range(len(array))])
        columns.setdefault("replicate", [0] * len(array))
        return Input(name, Lazy(np.asarray(array)), axes, pa.table(columns), "")

    return make


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Draw figures only where they are looked at: each takes a third of a second."""
    if not request.module.__name__.endswith("test_figures"):
        for name in ("dissimilarities", "matrix", "depth", "tuning"):
            monkeypatch.setattr(figures, name, lambda *_: b"")
