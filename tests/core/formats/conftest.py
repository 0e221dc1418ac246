"""Arrays of every kind for the tests of export formats, as a run gives them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from actx_core.types import ArraySpec


class FakeArray:
    """What the exports use of a TapArray."""

    def __init__(self, name, array, samples, step=3, kind="sample", **columns):
        source, model, tap = name.split("/", 2)
        self.name = name
        self.axes = ("row", *"abc"[: array.ndim - 1])
        self.spec = ArraySpec(
            source, model, tap, self.axes, array.shape[1:], str(array.dtype), len(array), kind
        )
        self.array, self.step = array, step
        self.shape, self.dtype = array.shape, array.dtype
        columns = {"replicate": np.zeros(len(samples), np.int64), "label": samples, **columns}
        self.rows = pa.table({"sample": pa.array(samples, pa.string()), **columns})

    def __len__(self):
        return len(self.array)

    def __getitem__(self, rows):
        return self.array[rows]

    def blocks(self, size=0):
        for start in range(0, len(self.array), self.step):
            rows = slice(start, start + self.step)
            yield rows, self.array[rows]


class FakeRun(dict):
    """What the exports use of a Run."""

    def __init__(self, *arrays):
        super().__init__({array.spec.name: array for array in arrays})
        self.arrays = list(self)


def values_(*shape, dtype=np.float32):
    return (np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)


IDS = ["b/1.jpg", "a", "ünï😀", "z z"]
ODD = {
    "flag": [True, None, False, True],
    "sure": [True, True, False, True],
    "place/x y": [1, 2, None, 4],
    "note": [None, "", 'é,"', "last"],
    "none": pa.nulls(4),
    "end": np.arange(4, dtype=np.float16),
    "a": [7, 8, 9, 9],
}


@pytest.fixture
def fake_array():
    return FakeArray


@pytest.fixture
def fake_run():
    return FakeRun


@pytest.fixture
def values():
    return values_


@pytest.fixture
def columns():
    """The row columns of an array, for formats without missing values: "" and NaN stand for them."""

    def columns(tap):
        found = {}
        for name, column in zip(tap.rows.column_names, tap.rows.columns):
            text = pa.types.is_string(column.type) or pa.types.is_null(column.type)
            found[name] = [("" if text else np.nan) if v is None else v for v in column.to_pylist()]
        return found

    return columns


@pytest.fixture
def same():
    """Compare a column with what ``columns`` says."""

    def same(found, wanted):
        if isinstance(wanted[0] if wanted else "", str):
            assert [str(v) for v in found] == wanted
        else:
            np.testing.assert_array_equal(np.asarray(found, float), np.asarray(wanted, float))

    return same


@pytest.fixture
def run():
    return FakeRun(
        FakeArray("photos/resnet50/layer1.0.conv1", values_(4, 2, 3, 5), IDS, **ODD),
        FakeArray("photos/resnet50/V4.output:3", values_(4, 7, dtype=np.float16), IDS, **ODD),
        FakeArray("photos/resnet50/rows.sample", values_(4, 2, dtype=np.float64), IDS, **ODD),
        FakeArray(
            "photos/vit/tokens", values_(9, 3), [IDS[i // 3] for i in range(9)], kind="token"
        ),
        FakeArray("photos/vit/part", values_(3), [IDS[0], IDS[2], IDS[3]]),
        FakeArray("photos/vit/whole", values_(4, 1, dtype=np.int64), IDS),
        FakeArray("texts/gpt/score", values_(2, dtype=bool), ["x", "y"]),
        FakeArray("empty/gpt/score", values_(0, 5), []),
    )
