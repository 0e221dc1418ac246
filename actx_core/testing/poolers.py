"""The suite for poolers: one result on every kind of array, and no trace of what is masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from actx_core.contracts import Pooler
from actx_core.testing.suite import Suite, check_config
from actx_core.types import SAMPLE, Activation, Batch, Tap

LENGTHS = (5, 2, 4)
"""Sizes of the varying axes of three samples."""


class PoolerTests(Suite):
    """Define the fixtures ``pooler`` and ``tap``, a tap with floats that it fits.

    Give the tap an axis that varies (None in its shape) if the pooler takes such.
    """

    rtol = 1e-5
    """How much values may differ between kinds of arrays."""

    @pytest.fixture
    def pooler(self) -> Pooler:
        raise NotImplementedError("define a fixture `pooler` that returns the pooler to test")

    @pytest.fixture
    def tap(self) -> Tap:
        raise NotImplementedError("define a fixture `tap` that returns a tap the pooler fits")

    @pytest.mark.parametrize("kind", ["numpy", "array_api_strict", "torch"])
    def test_every_kind_of_array_as_predicted(self, pooler: Pooler, tap: Tap, kind: str) -> None:
        namespace = pytest.importorskip(kind)
        given = _padded(tap)
        expected = _pooled(pooler, given)
        array = namespace.asarray(given.array)
        result = _pooled(pooler, replace(given, array=array))
        assert type(result.array) is type(array), "the pooler moved the array to another namespace"
        _check_predicted(pooler.tap(tap), result)
        np.testing.assert_allclose(
            np.asarray(result.array), np.asarray(expected.array), rtol=self.rtol, atol=self.rtol
        )

    def test_masked_values_do_not_leak(self, pooler: Pooler, tap: Tap) -> None:
        given = _padded(tap)
        mask = _some(tap, given)
        hidden = [
            _real(
                _pooled(pooler, replace(given, array=np.where(mask, given.array, bad), mask=mask))
            )
            for bad in (0.0, np.nan, np.inf)
        ]
        np.testing.assert_array_equal(hidden[1], hidden[0], "NaN under the mask changes the result")
        np.testing.assert_array_equal(hidden[2], hidden[0], "infinity under the mask changes it")

    def test_a_sample_does_not_depend_on_its_batch(self, pooler: Pooler, tap: Tap) -> None:
        given = _padded(tap)
        together = _pooled(pooler, given)
        lead = together.axes.index(SAMPLE)
        for n, alone in enumerate(_apart(tap)):
            one = _pooled(pooler, alone)
            mask = None if together.mask is None else together.mask.take([n], lead)
            mine = replace(together, array=together.array.take([n], lead), mask=mask)
            np.testing.assert_allclose(_real(mine), _real(one), rtol=self.rtol, atol=self.rtol)

    def test_packed_is_padded(self, pooler: Pooler, tap: Tap) -> None:
        if tap.varying != tap.axes[1:2]:
            pytest.skip("only an activation whose first axis varies can be packed")
        array = np.concatenate([one.array[0] for one in _apart(tap)])
        offsets = np.cumsum([0, *LENGTHS])
        packed = _pooled(pooler, Activation(array, tap.axes[1:], None, offsets))
        assert (packed.offsets is None) == (SAMPLE in packed.axes)
        padded = _pooled(pooler, _padded(tap))
        np.testing.assert_allclose(_real(packed), _real(padded), rtol=self.rtol, atol=self.rtol)

    def test_config(self, pooler: Pooler) -> None:
        check_config(pooler)


def _pooled(pooler: Pooler, activation: Activation) -> Activation:
    offsets = activation.offsets
    n = activation.array.shape[0] if offsets is None else len(offsets) - 1
    return pooler(activation, Batch(None, range(n)))


def _apart(tap: Tap) -> Sequence[Activation]:
    """Three samples, each a batch of its own."""
    rng = np.random.default_rng(0)
    shapes = [[1, *(n if m is None else m for m in tap.shape)] for n in LENGTHS]
    return [Activation(rng.normal(size=s).astype(tap.dtype), tap.axes) for s in shapes]


def _padded(tap: Tap) -> Activation:
    """The three samples as one batch; masked where one is shorter than the longest."""
    apart = _apart(tap)
    shape = (len(apart), *np.max([one.array.shape[1:] for one in apart], axis=0, initial=0))
    array, mask = np.full(shape, 99, tap.dtype), np.zeros(shape, bool)
    for n, one in enumerate(apart):
        place: tuple[Any, ...] = (n, *(slice(size) for size in one.array.shape[1:]))
        array[place], mask[place] = one.array[0], True
    fixed = tuple(n for n, axis in enumerate(tap.axes) if axis in tap.row_axes)
    real = np.asarray(mask.any(fixed, keepdims=True))
    return Activation(array, tap.axes, real if tap.varying else None)


def _some(tap: Tap, given: Activation) -> np.ndarray:
    """A mask that hides a part of what is real, but not the first place of any axis."""
    over = (SAMPLE, *(tap.varying or tap.axes[1:2]))
    shape = [n if axis in over else 1 for axis, n in zip(tap.axes, given.array.shape, strict=True)]
    mask = np.random.default_rng(1).random(shape) < 0.6
    first: tuple[Any, ...] = (slice(None), *[0] * len(tap.shape))
    mask[first] = True
    return mask if given.mask is None else mask & given.mask


def _real(activation: Activation) -> np.ndarray:
    """The values that are not masked, flat."""
    array = np.asarray(activation.array)
    return np.asarray(
        array[np.broadcast_to(True if activation.mask is None else activation.mask, array.shape)]
    )


def _check_predicted(tap: Tap, activation: Activation) -> None:
    array: Any = activation.array
    assert activation.axes == tap.axes, f"predicted {tap.axes}, found {activation.axes}"
    sizes = zip(tap.shape, array.shape[1:], strict=True)
    assert all(n in (None, m) for n, m in sizes), f"predicted {tap.shape}, found {array.shape[1:]}"
    dtype = str(array.dtype).rpartition(".")[2]
    assert dtype == tap.dtype, f"predicted {tap.dtype}, found {dtype}"
