"""The suite for stores: what was written comes back, bit for bit, and damage is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core.contracts import Store
from actx_core.dtypes import encode
from actx_core.errors import StoreError
from actx_core.testing.suite import Suite, again, check_config
from actx_core.types import ArraySpec

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "uint8")
SHAPES = ((), (3,), (2, 1, 5))


class StoreTests(Suite):
    """Define the fixture ``store``."""

    @pytest.fixture
    def store(self) -> Store[Any]:
        raise NotImplementedError("define a fixture `store` that returns the store to test")

    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_what_is_written_comes_back(
        self, store: Store[Any], tmp_path: Path, dtype: str, shape: tuple[int, ...]
    ) -> None:
        spec = _spec(dtype, shape)
        for rows in (11, 1, 0):
            array = _rows(spec, rows)
            path = tmp_path / f"{rows}{store.suffix}"
            store.write(path, array, spec)
            found = again(store).open(path, spec)
            assert (tuple(found.shape), found.dtype) == (array.shape, array.dtype)
            for place in (slice(None), slice(2, 9), slice(rows, None)):
                _equal(found[place], array[place])

    def test_rows_by_number(self, store: Store[Any], tmp_path: Path) -> None:
        spec = _spec("float32", (3,))
        array = _rows(spec, 11)
        store.write(tmp_path / f"x{store.suffix}", array, spec)
        found = store.open(tmp_path / f"x{store.suffix}", spec)
        _equal(found[np.array([7, 0, 7, 10])], array[[7, 0, 7, 10]])
        _equal(found[4], array[4])

    def test_the_same_rows_are_the_same_bytes(self, store: Store[Any], tmp_path: Path) -> None:
        spec = _spec("float32", (3,))
        for name in ("a", "b"):
            again(store).write(tmp_path / name, _rows(spec, 9), spec)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_parts_join(self, store: Store[Any], tmp_path: Path, dtype: str) -> None:
        spec = _spec(dtype, (2, 3))
        array = _rows(spec, 10)
        parts = _written(store, tmp_path, spec, [array[:4], array[4:4], array[4:5], array[5:]])
        whole, two, rest = (tmp_path / f"{name}{store.suffix}" for name in ("whole", "two", "rest"))
        store.join(parts, whole, spec)
        _equal(store.open(whole, spec)[:], array)
        store.join(parts[:3], two, spec)
        store.join([two, parts[3]], rest, spec)
        assert rest.read_bytes() == whole.read_bytes(), "joined in two steps, the bytes differ"

    def test_damage_is_noticed(self, store: Store[Any], tmp_path: Path) -> None:
        spec = _spec("float32", (3,))
        path = tmp_path / f"x{store.suffix}"
        store.write(path, _rows(spec, 9), spec)
        whole = path.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(StoreError):
                store.open(path, spec)[:]
        path.write_bytes(whole)
        for other in (replace(spec, row_shape=(4,)), replace(spec, dtype="float64")):
            with pytest.raises(StoreError):
                store.open(path, other)

    def test_config(self, store: Store[Any]) -> None:
        check_config(store.config)


def _spec(dtype: str, shape: tuple[int, ...]) -> ArraySpec:
    axes = ("row", "channel", "y", "x")[: len(shape) + 1]
    return ArraySpec("source", "model", "blocks.0/ä %2F:1@in", axes, shape, dtype)


def _rows(spec: ArraySpec, rows: int) -> np.ndarray:
    """Stored values, awkward ones among them."""
    values = np.random.default_rng(0).normal(size=(rows, *spec.row_shape)) * 50
    if "float" not in spec.dtype:
        return encode(np.abs(values), spec.dtype)
    values.flat[:4] = [np.nan, np.inf, -0.0, 1e-40][: values.size]
    return encode(values, spec.dtype)


def _equal(found: Any, expected: np.ndarray) -> None:
    assert isinstance(found, np.ndarray | np.generic)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.tobytes() == expected.tobytes()


def _written(
    store: Store[Any], folder: Path, spec: ArraySpec, parts: Sequence[np.ndarray]
) -> list[Path]:
    paths = [folder / f"{n:06d}{store.suffix}" for n in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        store.write(path, np.ascontiguousarray(part), spec)
    return paths
