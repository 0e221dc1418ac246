"""Stored dtypes; bfloat16 against torch."""

from __future__ import annotations

import numpy as np
import pytest

from actx_core import dtypes
from actx_core.errors import StoreError

torch = pytest.importorskip("torch")

EDGES = np.array(
    [0.0, -0.0, np.inf, -np.inf, 3.4e38, -3.4e38, 3.39e38, 1e-45, -1e-45, 1e-38, 65504, 1.00390625],
    np.float32,
)


def bits_by_torch(array: np.ndarray) -> np.ndarray:
    return torch.from_numpy(array).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)


def some_floats() -> np.ndarray:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, dtype=np.uint32)
    random = bits.view(np.float32)
    halves = (np.arange(1 << 16, dtype=np.uint32) << 16) | 0x8000  # every tie there is
    values = np.concatenate([random, halves.view(np.float32), EDGES])
    return values[~np.isnan(values)]


def test_bfloat16_rounds_as_torch_does():
    values = some_floats()
    np.testing.assert_array_equal(dtypes.encode(values, "bfloat16"), bits_by_torch(values))
    assert dtypes.encode(values, "bfloat16").dtype == np.uint16


def test_float64_and_float16_round_as_torch_does():
    rng = np.random.default_rng(1)
    double = rng.standard_normal(50_000) * 10.0 ** rng.integers(-60, 60, 50_000)
    np.testing.assert_array_equal(dtypes.encode(double, "bfloat16"), bits_by_torch(double))
    half = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(dtypes.encode(half, "bfloat16"), bits_by_torch(half))


def test_every_nan_stays_nan():
    low = np.arange(1, 1 << 16, dtype=np.uint32) | 0x7F800000  # those that would be cut to infinity
    nans = np.concatenate([low, low | 0x80000000, [0x7FFFFFFF, 0xFFFFFFFF]]).astype(np.uint32)
    back = dtypes.decode(dtypes.encode(nans.view(np.float32), "bfloat16"), "bfloat16")
    assert np.isnan(back).all()
    np.testing.assert_array_equal(np.signbit(back), nans >> 31 == 1)


def test_bfloat16_reads_back_exactly():
    bits = np.arange(1 << 16, dtype=np.uint16)
    values = dtypes.decode(bits, "bfloat16")
    expected = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).float().numpy()
    np.testing.assert_array_equal(values, expected)
    finite = ~np.isnan(values)
    np.testing.assert_array_equal(dtypes.encode(values, "bfloat16")[finite], bits[finite])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 4)])
def test_shapes_and_strides_are_kept(shape):
    array = np.random.default_rng(0).standard_normal(shape[::-1]).astype(np.float32).T
    stored = dtypes.encode(array, "bfloat16")
    assert stored.shape == dtypes.decode(stored, "bfloat16").shape == shape
    np.testing.assert_allclose(dtypes.decode(stored, "bfloat16"), array, rtol=2**-8)


@pytest.mark.parametrize("logical", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_other_dtypes_are_numpys(logical):
    array = np.arange(5, dtype=np.float64)
    stored = dtypes.encode(array, logical)
    assert stored.dtype == dtypes.storage(logical) == np.dtype(logical)
    assert dtypes.itemsize(logical) == np.dtype(logical).itemsize
    np.testing.assert_array_equal(stored, array.astype(logical))
    assert dtypes.decode(stored, logical) is stored


def test_nothing_is_copied_without_need():
    array = np.ones(3, np.float32)
    assert dtypes.encode(array, "float32") is array


def test_too_large_values_become_infinite_in_silence():
    assert dtypes.encode(np.array([1e300]), "float16")[0] == np.inf
    assert dtypes.encode(np.array([1e300]), "bfloat16")[0] == 0x7F80


@pytest.mark.parametrize("logical", ["bfloat8", "complex64", "object", "U5", "longdouble", ""])
def test_other_names_are_refused(logical):
    with pytest.raises(StoreError, match="real number"):
        dtypes.storage(logical)


@pytest.mark.parametrize("axis", [None, 1, 2])
def test_int8_has_a_scale_per_channel(axis):
    array = np.random.default_rng(0).standard_normal((7, 3, 5)).astype(np.float32)
    array[:, 1, 2] = 0
    stored, scale = dtypes.quantize(array, axis)
    assert stored.dtype == np.int8
    assert scale.shape == tuple(n if i == axis else 1 for i, n in enumerate(array.shape))
    assert np.abs(stored * scale - array).max() <= scale.max() / 2 * 1.0001
    assert np.abs(stored).max() == 127


def test_int8_of_zeros_and_of_no_rows():
    stored, scale = dtypes.quantize(np.zeros((4, 2), np.float32), 1)
    assert (stored == 0).all()
    assert (scale == 1).all()
    stored, scale = dtypes.quantize(np.zeros((0, 2), np.float32), 1)
    assert stored.shape == (0, 2)
    assert scale.shape == (1, 2)


def test_int8_of_the_smallest_and_the_largest_numbers():
    """Dead neurons are subnormal; 127 times a rounded scale must not become infinite."""
    largest = np.finfo(np.float32).max
    array = np.array([[1e-44, largest], [3e-45, -largest]], np.float32)
    stored, scale = dtypes.quantize(array, 1)
    np.testing.assert_allclose(stored * scale, array, rtol=1e-6, atol=1e-45)
