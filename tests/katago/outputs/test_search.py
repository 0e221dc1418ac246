"""Distances: those of numpy and scipy on all rows at once, in blocks that are much smaller."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from actx_core import AnalysisError
from actx_katago.outputs.arrays import first
from actx_katago.outputs.search import distances


class Blocks:
    """Stands for a stored array that gives its rows only in blocks."""

    def __init__(self, array: np.ndarray, size: int = 7) -> None:
        self.array, self.size = array, size
        self.spec = SimpleNamespace(row_shape=array.shape[1:])
        self.name = "src/net/tap"

    def __len__(self) -> int:
        return len(self.array)

    def blocks(self, size: int) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(self), self.size):
            at = slice(start, start + self.size)
            yield at, self.array[at]


def stored(array: np.ndarray) -> Any:
    return Blocks(array)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_distances_are_those_of_scipy(metric: Any, dtype: str):
    array = (np.random.default_rng(0).standard_normal((50, 3, 4)) + 2).astype(dtype)
    found = distances(stored(array), array[5], metric)
    flat = array.reshape(50, 12).astype(np.float64)
    expected = cdist(flat, flat[5:6], metric)[:, 0]
    assert found == pytest.approx(expected, abs=1e-12)
    assert first(found, 10).tolist() == np.argsort(expected, kind="stable")[:10].tolist()


def test_nearly_equal_directions_are_told_apart():
    """1 - cosine loses these differences in rounding."""
    array = np.array([[1, 0], [1, 1e-9], [1, 2e-9], [2, 1e-9]])
    found = distances(stored(array), array[0])
    assert found == pytest.approx([0, 5e-19, 2e-18, 1.25e-19], rel=1e-6)


def test_rows_without_a_distance_are_not_found():
    array = np.array([[0.0, 0], [np.nan, 1], [np.inf, 1], [1, 1], [3, 0]])
    assert np.isnan(distances(stored(array), np.array([1.0, 0]))).tolist() == [1, 1, 1, 0, 0]
    near = distances(stored(array), np.array([1.0, 0]), "euclidean")
    assert np.isnan(near).tolist() == [0, 1, 1, 0, 0]
    assert first(near, 9).tolist() == [0, 3, 4]


def test_a_vector_without_a_distance_is_refused():
    array = stored(np.ones((4, 2)))
    with pytest.raises(AnalysisError, match="no cosine distance: its vector is zero"):
        distances(array, np.zeros(2))
    with pytest.raises(AnalysisError, match="no euclidean distance"):
        distances(array, np.array([np.nan, 1]), "euclidean")
    with pytest.raises(AnalysisError, match=r"expected a vector of the shape \(2,\), found \(3,\)"):
        distances(array, np.ones(3))


def test_one_row_of_each_group():
    values = np.array([5.0, 1, 1, -np.inf, 0, np.nan, 2])
    assert first(values, 9).tolist() == [4, 1, 2, 6, 0]
    assert first(values, 9, ["a", "b", "b", "c", "a", "d", "b"]).tolist() == [4, 1]
    assert first(values, 2).tolist() == [4, 1]
    assert first(values[:0], 2).tolist() == []


def test_memory_does_not_grow_with_the_rows():
    class Made(Blocks):
        """Rows that are made when they are asked for: 123 MB of float32."""

        def __init__(self) -> None:
            super().__init__(np.broadcast_to(np.float32(1), (80_000, 384)))

        def blocks(self, size: int) -> Iterator[tuple[slice, np.ndarray]]:
            self.size = size // (4 * 384)
            for at, block in super().blocks(size):
                yield at, np.random.default_rng(at.start).random(block.shape, np.float32)

    rows: Any = Made()
    tracemalloc.start()
    found = first(distances(rows, np.ones(384)), 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 10
    assert peak < 40e6
