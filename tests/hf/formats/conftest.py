"""Runs of text as the formats see them: arrays of tokens, some documents without any."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from actx_core import ArraySpec

COUNTS = {"doc/0": 3, "doc/1": 0, "doc/2": 5, "doc/3": 1, "doc/4": 4}
"""Tokens of each document."""


class FakeArray:
    """What the formats use of a TapArray: ``step`` rows to a block."""

    def __init__(self, name, array, rows=None, kind="token", step=4):
        source, model, tap = name.split("/")
        self.name, self.array, self.step = name, array, step
        self.shape, self.dtype = array.shape, array.dtype
        self.axes = ("row", *("channel", "extra")[: array.ndim - 1])
        dtype = str(array.dtype)
        self.spec = ArraySpec(
            source, model, tap, self.axes, array.shape[1:], dtype, len(array), kind
        )
        self.rows = rows if rows is not None else tokens(len(array))
        self.digest = hashlib.sha256(array.tobytes()).hexdigest()

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        return self.array[rows]

    def blocks(self, size=0):
        for start in range(0, len(self.array), self.step):
            rows = slice(start, start + self.step)
            yield rows, self.array[rows]


class FakeRun(dict):
    """What the formats use of a Run."""

    def __init__(self, *arrays):
        super().__init__({array.name: array for array in arrays})
        self.arrays = list(self)

    def samples(self, source):
        return pa.table({"sample": list(COUNTS), "replicate": [0] * len(COUNTS)})


def tokens(count):
    """Rows of kind token: ids, positions and words of documents."""
    owner = np.repeat(list(COUNTS), list(COUNTS.values()))[:count]
    place = np.concatenate([np.arange(n) for n in COUNTS.values()])[:count]
    return pa.table(
        {
            "sample": owner,
            "replicate": np.zeros(count, np.int64),
            "token": place,
            "token_id": np.arange(count) * 7 % 40000,
            "token_text": [f"w{i % 5}" for i in range(count)],
        }
    )


@pytest.fixture
def fake_array():
    return FakeArray


@pytest.fixture
def fake_run():
    return FakeRun


@pytest.fixture
def values():
    def make(rows=13, channels=6, dtype=np.float32, seed=0):
        return np.random.default_rng(seed).standard_normal((rows, channels)).astype(dtype)

    return make


@pytest.fixture
def counts():
    return COUNTS
