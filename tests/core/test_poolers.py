from __future__ import annotations

import hashlib
import math
import warnings
from itertools import pairwise, product

import array_api_strict
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from actx_core.errors import ModelError, TapError
from actx_core.poolers import Flatten, Grid, Identity, Max, Mean, Projection, Select, Std
from actx_core.poolers.project import entries
from actx_core.types import Activation, Batch, Tap

BATCH = Batch(None, [])
SIZES = st.integers(1, 5)
few = settings(max_examples=20)
KINDS = [
    *product(["numpy", "strict"], ["float32", "float64"]),
    ("numpy", "float16"),
    *product(["torch"], ["float16", "bfloat16", "float32", "float64"]),
]


def to(kind: str, dtype: str, values: np.ndarray):
    """``values`` in a namespace and dtype, and what they became as float64."""
    if kind == "torch":
        array = torch.tensor(values).to(getattr(torch, dtype))
        return array, array.to(torch.float64).numpy()
    given = values.astype(dtype)
    return (array_api_strict.asarray(given) if kind == "strict" else given), given.astype(float)


def host(array) -> np.ndarray:
    if isinstance(array, torch.Tensor):
        return array.to(torch.float64 if array.is_floating_point() else array.dtype).numpy()
    return np.asarray(array)


def dtype_name(array) -> str:
    return str(array.dtype).rpartition(".")[2]


def close(pooled: Activation, expected: np.ndarray, dtype: str) -> None:
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(host(pooled.array), expected, rtol=tolerance, atol=tolerance)


def with_garbage(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The values with NaN and infinity wherever they are masked."""
    if mask is None:
        return values
    bad = np.resize([np.nan, np.inf, -np.inf], values.shape)
    return np.where(mask, values, bad)


@st.composite
def cases(draw, axes=("sample", "token", "y", "channel")):
    """Values, an optional mask that may be smaller than them, and the axes to pool."""
    shape = tuple(draw(SIZES) for _ in axes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = rng.normal(size=shape) * 3
    mask = None
    if draw(st.booleans()):
        mask = rng.random([n if draw(st.booleans()) else 1 for n in shape]) < draw(
            st.sampled_from([0.3, 0.8])
        )
    over = tuple(draw(st.lists(st.sampled_from(axes[1:]), min_size=1, unique=True)))
    return values, axes, mask, over


def masked(values: np.ndarray, mask: np.ndarray | None) -> np.ma.MaskedArray:
    hidden = np.zeros(values.shape, bool) if mask is None else ~np.broadcast_to(mask, values.shape)
    return np.ma.masked_array(values, hidden)


class TestReductions:
    @pytest.mark.parametrize(("kind", "dtype"), KINDS)
    @few
    @given(cases(), st.integers(0, 2))
    def test_equal_to_masked_numpy(self, kind, dtype, case, ddof):
        values, axes, mask, over = case
        array, exact = to(kind, dtype, with_garbage(values, mask))
        where = tuple(axes.index(a) for a in over)
        reference = masked(exact, mask)
        activation = Activation(array, axes, mask)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's own, for the std of nothing
            std = reference.std(where, ddof=ddof).filled(np.nan)
        n = (~reference.mask).sum(where)
        expected = np.where(n > ddof, std, np.nan)
        close(Std(over=over, ddof=ddof)(activation, BATCH), expected, dtype)
        close(Mean(over=over)(activation, BATCH), reference.mean(where).filled(np.nan), dtype)
        highest = Max(over=over)(activation, BATCH)
        assert dtype_name(highest.array) == dtype
        np.testing.assert_array_equal(host(highest.array), reference.max(where).filled(np.nan))

    @given(cases())
    def test_the_mask_that_is_left_tells_where_anything_was_real(self, case):
        values, axes, mask, over = case
        pooled = Mean(over=over)(Activation(values, axes, mask), BATCH)
        full = np.broadcast_to(True if pooled.mask is None else pooled.mask, pooled.array.shape)
        np.testing.assert_array_equal(full, ~np.isnan(pooled.array))
        assert pooled.mask is None or not pooled.mask.all()

    @pytest.mark.parametrize(("kind", "dtype"), KINDS)
    @few
    @given(case=cases(axes=("token", "y", "channel")), data=st.data())
    def test_packed_is_each_sample_by_itself(self, kind, dtype, case, data):
        values, axes, mask, over = case
        n = len(values)
        cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=3)))
        offsets = np.array([0, *cuts, n])
        over = tuple(dict.fromkeys(("token", *over)))
        array, exact = to(kind, dtype, with_garbage(values, mask))
        packed = Activation(array, axes, mask, offsets)
        reference = masked(exact, mask)
        where = tuple(axes.index(a) for a in over)
        expected = np.stack(
            [
                np.ma.filled(reference[a:b].mean(where), np.nan)
                if b > a
                else np.full([m for i, m in enumerate(exact.shape) if i not in where], np.nan)
                for a, b in pairwise(offsets)
            ]
        )
        pooled = Mean(over=over)(packed, BATCH)
        assert pooled.axes == ("sample", *(a for a in axes if a not in over))
        assert pooled.offsets is None
        close(pooled, expected, dtype)

    def test_other_axes_of_a_packed_activation_stay_packed(self):
        values = np.random.default_rng(0).normal(size=(7, 3, 4))
        offsets = np.array([0, 2, 7])
        packed = Activation(values, ("token", "head", "channel"), None, offsets)
        pooled = Mean(over="head")(packed, BATCH)
        assert pooled.axes == ("token", "channel")
        assert pooled.offsets is offsets
        np.testing.assert_allclose(pooled.array, values.mean(1))

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_half_types_are_summed_in_float32(self, dtype):
        values = np.full((1, 60_000), 3.0)
        array, _ = to("torch", dtype, values)
        pooled = Mean(over="token")(Activation(array, ("sample", "token")), BATCH)
        assert host(pooled.array) == 3.0  # the sum, 180,000, is out of float16's range

    def test_std_of_a_small_spread_around_a_large_mean(self):
        values = (10_000 + np.random.default_rng(0).normal(size=(3, 5_000))).astype("float32")
        pooled = Std(over="token")(Activation(values, ("sample", "token")), BATCH)
        np.testing.assert_allclose(pooled.array, values.astype(float).std(1), rtol=1e-5)
        constant = Std(over="token")(
            Activation(np.full((1, 999), 0.1, "float32"), ("sample", "token")), BATCH
        )
        assert constant.array == 0

    def test_real_infinity_and_nan_are_not_hidden(self):
        array = np.array([[1.0, np.inf], [np.nan, 2.0], [3.0, 4.0]])
        activation = Activation(array, ("sample", "token"))
        np.testing.assert_array_equal(
            Mean(over="token")(activation, BATCH).array, [np.inf, np.nan, 3.5]
        )
        np.testing.assert_array_equal(
            Max(over="token")(activation, BATCH).array, [np.inf, np.nan, 4]
        )
        np.testing.assert_array_equal(
            Std(over="token")(activation, BATCH).array, [np.nan, np.nan, 0.5]
        )

    @pytest.mark.parametrize("kind", ["numpy", "strict", "torch"])
    def test_integers_and_booleans(self, kind):
        numbers = np.array([[1, 5, 3], [-2, -7, -4]])
        for dtype in ("int64", "int32", "uint8", "bool"):
            given = (numbers > 0) if dtype == "bool" else abs(numbers).astype(dtype)
            array = {"numpy": np.asarray, "strict": array_api_strict.asarray, "torch": torch.tensor}
            activation = Activation(array[kind](given), ("sample", "token"))
            highest, mean = (
                Max(over="token")(activation, BATCH),
                Mean(over="token")(activation, BATCH),
            )
            np.testing.assert_array_equal(host(highest.array), given.max(1))
            np.testing.assert_allclose(host(mean.array), given.mean(1), rtol=1e-6)
            tap = Tap("ids", ("sample", "token"), (3,), dtype)
            assert Max(over="token").tap(tap).dtype == dtype_name(highest.array) == dtype
            assert Mean(over="token").tap(tap).dtype == dtype_name(mean.array) == "float32"

    def test_the_maximum_of_no_integers_is_an_error(self):
        activation = Activation(
            np.array([[1, 2], [3, 4]]),
            ("sample", "token"),
            np.array([[True, True], [False, False]]),
        )
        with pytest.raises(ModelError, match="all is masked, and int64 has no NaN"):
            Max(over="token")(activation, BATCH)

    def test_columns_of_pooled_axes_go_and_others_stay(self):
        columns = {a: {"c": np.zeros((2, 3))} for a in ("sample", "token", "y")}
        activation = Activation(np.zeros((2, 3, 3)), ("sample", "token", "y"), columns=columns)
        assert Mean(over="token")(activation, BATCH).columns.keys() == {"sample", "y"}

    def test_gradients_flow(self):
        array = torch.ones(2, 3, 4, requires_grad=True)
        mask = np.array([[[True], [True], [False]], [[True], [True], [True]]])
        pooled = Mean(over="token")(Activation(array, ("sample", "token", "channel"), mask), BATCH)
        pooled.array.sum().backward()
        expected = np.where(mask, 1 / mask.sum(1, keepdims=True), 0)
        np.testing.assert_allclose(
            array.grad.numpy(), np.broadcast_to(expected, array.shape), rtol=1e-6
        )


def real_places(
    mask: np.ndarray | None, sample: int, shape: tuple[int, ...], axis: int
) -> list[int]:
    """The indices along ``axis`` at which a sample has anything real."""
    if mask is None:
        return list(range(shape[axis]))
    full = np.broadcast_to(mask, shape)[sample]
    return [i for i in range(shape[axis]) if full.take(i, axis - 1).any()]


class TestSelect:
    @pytest.mark.parametrize(("kind", "dtype"), KINDS)
    @few
    @given(case=cases(), index=st.one_of(st.sampled_from(["first", "last"]), st.integers(-4, 4)))
    def test_counts_real_places_of_each_sample(self, kind, dtype, case, index):
        values, axes, mask, over = case
        array, exact = to(kind, dtype, values)
        axis = axes.index(over[0])
        n = {"first": 0, "last": -1}.get(index, index)
        expected = []
        for sample in range(len(values)):
            real = real_places(mask, sample, values.shape, axis)
            one = exact[sample].take(0, axis - 1)
            there = -len(real) <= n < len(real)
            expected.append(
                exact[sample].take(real[n], axis - 1) if there else np.full_like(one, np.nan)
            )
        pooled = Select(axis=over[0], index=index)(Activation(array, axes, mask), BATCH)
        assert dtype_name(pooled.array) == dtype
        np.testing.assert_array_equal(host(pooled.array), np.stack(expected))

    def test_cls_is_what_stands_first_even_if_masked(self):
        values = np.random.default_rng(0).normal(size=(2, 4, 3))
        mask = np.array([[False, True, True, True], [True, True, False, False]])[:, :, None]
        activation = Activation(values, ("sample", "token", "channel"), mask)
        np.testing.assert_array_equal(Select(index="cls")(activation, BATCH).array, values[:, 0])
        first = Select(index="first")(activation, BATCH).array
        np.testing.assert_array_equal(first, [values[0, 1], values[1, 0]])

    def test_the_mask_is_that_of_the_chosen_place(self):
        mask = np.array([[[False, True], [True, True]], [[True, False], [False, False]]])
        activation = Activation(np.zeros((2, 2, 2)), ("sample", "y", "x"), mask)
        pooled = Select(axis="y", index="last")(activation, BATCH)
        np.testing.assert_array_equal(pooled.mask, [[True, True], [True, False]])

    def test_packed(self):
        values = np.random.default_rng(0).normal(size=(6, 3))
        mask = np.array([True, True, False, False, True, True])[:, None]
        packed = Activation(values, ("token", "channel"), mask, np.array([0, 3, 3, 6]))
        pooled = Select(index="last")(packed, BATCH)
        assert pooled.axes == ("sample", "channel")
        np.testing.assert_array_equal(pooled.array, [values[1], np.full(3, np.nan), values[5]])

    def test_what_is_kept_does_not_hold_the_whole_array(self):
        array = np.zeros((2, 1000, 3))
        pooled = Select(index="cls")(Activation(array, ("sample", "token", "channel")), BATCH)
        assert not np.shares_memory(pooled.array, array)

    def test_an_index_outside_a_fixed_axis(self):
        tap = Tap("t", ("sample", "token", "channel"), (3, 8))
        with pytest.raises(
            TapError, match="expected an index of 'token', which has size 3, found 3"
        ):
            Select(index=3).tap(tap)
        with pytest.raises(TapError, match="found -4"):
            Select(index=-4).tap(tap)
        assert Select(index=-3).tap(tap).axes == ("sample", "channel")


class TestFlatten:
    @pytest.mark.parametrize("kind", ["numpy", "strict", "torch"])
    @few
    @given(case=cases())
    def test_order_is_that_of_over(self, kind, case):
        values, axes, mask, over = case
        array, exact = to(kind, "float32", values)
        pooled = Flatten(over=over, name="f")(Activation(array, axes, mask), BATCH)
        assert pooled.axes[min(axes.index(a) for a in over)] == "f"
        at = pooled.axes.index("f")
        sizes = [range(exact.shape[axes.index(a)]) for a in over]
        full = np.broadcast_to(True if mask is None else mask, exact.shape)
        left = np.broadcast_to(True if pooled.mask is None else pooled.mask, pooled.array.shape)
        for i, place in enumerate(product(*sizes)):
            pick = tuple(place[over.index(a)] if a in over else slice(None) for a in axes)
            np.testing.assert_array_equal(host(pooled.array).take(i, at), exact[pick])
            if pooled.mask is not None:
                np.testing.assert_array_equal(left.take(i, at), full[pick])

    def test_default_is_everything_but_the_samples(self):
        values = np.arange(24.0).reshape(2, 3, 4)
        pooled = Flatten()(Activation(values, ("sample", "y", "x")), BATCH)
        assert pooled.axes == ("sample", "feature")
        np.testing.assert_array_equal(pooled.array, values.reshape(2, 12))
        assert Flatten().tap(Tap("t", ("sample",), ())).shape == (1,)
        assert Flatten()(Activation(np.zeros(3), ("sample",)), BATCH).array.shape == (3, 1)

    def test_a_varying_axis_is_refused(self):
        tap = Tap("t", ("sample", "token", "channel"), (None, 8))
        with pytest.raises(TapError, match="'token' differs between samples.*over = \\['token'\\]"):
            Flatten().tap(tap)
        packed = Activation(np.zeros((3, 2)), ("token", "channel"), None, np.array([0, 1, 3]))
        with pytest.raises(TapError, match="differs between samples"):
            Flatten()(packed, BATCH)
        with pytest.raises(TapError, match="differs between samples"):
            Projection(dim=3).tap(tap)

    def test_a_name_that_is_taken(self):
        with pytest.raises(TapError, match="already an axis 'x'"):
            Flatten(over=("y",), name="x").tap(Tap("t", ("sample", "y", "x"), (2, 3)))


def cell_means(values: np.ndarray, k: int) -> np.ndarray:
    """Reference: k x k cells of one masked (y, x) plane, edges as torch documents them."""
    real = ~np.ma.getmaskarray(values)
    out = np.full((k, k), np.nan)
    if not real.any():
        return out
    ys, xs = (np.flatnonzero(real.any(axis)) for axis in (1, 0))
    values = values[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    height, width = values.shape
    for i, j in product(range(k), range(k)):
        rows = slice(math.floor(i * height / k), math.ceil((i + 1) * height / k))
        columns = slice(math.floor(j * width / k), math.ceil((j + 1) * width / k))
        out[i, j] = np.ma.filled(values[rows, columns].mean(), np.nan)
    return out


class TestGrid:
    @pytest.mark.parametrize(("kind", "dtype"), KINDS)
    @few
    @given(case=cases(axes=("sample", "channel", "y", "x")), k=st.integers(1, 6))
    def test_equal_to_loops_over_cells(self, kind, dtype, case, k):
        values, axes, mask, _ = case
        if mask is not None:
            mask = mask.any(1, keepdims=True)  # a plane is masked alike for all channels
        array, exact = to(kind, dtype, with_garbage(values, mask))
        reference = masked(exact, mask)
        expected = [[cell_means(plane, k) for plane in sample] for sample in reference]
        pooled = Grid(size=k)(Activation(array, axes, mask), BATCH)
        close(pooled, np.array(expected), dtype)
        real = np.broadcast_to(True if pooled.mask is None else pooled.mask, pooled.array.shape)
        np.testing.assert_array_equal(real, ~np.isnan(np.array(expected)))

    @given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
    def test_equal_to_torch(self, height, width, k):
        values = torch.randn(2, 3, height, width, dtype=torch.float64)
        pooled = Grid(size=k)(Activation(values, ("sample", "channel", "y", "x")), BATCH)
        torch.testing.assert_close(pooled.array, torch.nn.AdaptiveAvgPool2d(k)(values))

    def test_padding_changes_nothing(self):
        board = np.random.default_rng(0).normal(size=(1, 9, 9, 4))
        alone = Grid(size=3)(Activation(board, ("sample", "y", "x", "channel")), BATCH)
        padded, mask = np.full((2, 19, 19, 4), np.nan), np.zeros((2, 19, 19, 1), bool)
        padded[0, 3:12, 5:14], mask[0, 3:12, 5:14] = board[0], True
        padded[1], mask[1] = 1.0, True
        pooled = Grid(size=3)(Activation(padded, ("sample", "y", "x", "channel"), mask), BATCH)
        np.testing.assert_allclose(pooled.array[0], alone.array[0], rtol=1e-12)
        np.testing.assert_allclose(pooled.array[1], 1.0, rtol=1e-12)
        assert pooled.mask is None

    def test_samples_need_not_come_first(self):
        values = np.random.default_rng(0).normal(size=(3, 2, 7, 5))
        mask = np.ones((1, 2, 7, 1), bool)
        mask[0, 1, 4:] = False
        axes = ("sample", "channel", "y", "x")
        swapped = Activation(values, ("channel", "sample", "y", "x"), mask)
        plain = Activation(values.swapaxes(0, 1), axes, mask.swapaxes(0, 1))
        for pooler in (Grid(size=2), Select(axis="y", index="last")):
            a, b = pooler(swapped, BATCH).array, pooler(plain, BATCH).array
            np.testing.assert_array_equal(a.swapaxes(0, 1), b)


def dense(size: int, dim: int, seed: int, density: float) -> np.ndarray:
    """The (dim, size) matrix of a projection, written out."""
    matrix = np.zeros((dim, size))
    index, sign = entries(size, dim, seed, density)
    for row, (places, signs) in enumerate(zip(index, sign, strict=True)):
        for place, one in zip(places, signs, strict=True):
            matrix[row, place] += one / math.sqrt(density * dim)
    return matrix


class TestProjection:
    @pytest.mark.parametrize(("kind", "dtype"), KINDS)
    @few
    @given(case=cases(), dim=st.integers(1, 6), seed=st.integers(0, 3))
    def test_equal_to_the_dense_product(self, kind, dtype, case, dim, seed):
        values, axes, mask, over = case
        array, exact = to(kind, dtype, with_garbage(values, mask))
        if mask is not None:
            exact = np.where(mask, exact, 0)
        pooler = Projection(dim=dim, seed=seed, over=over)
        pooled = pooler(Activation(array, axes, mask), BATCH)
        flat = Flatten(over=over)(Activation(exact, axes), BATCH)
        at = flat.axes.index("feature")
        size = flat.array.shape[at]
        matrix = dense(size, dim, seed, 1 / math.sqrt(size))
        assert pooled.axes == flat.axes
        close(pooled, np.moveaxis(np.moveaxis(flat.array, at, -1) @ matrix.T, -1, at), dtype)

    def test_pieces_that_are_gathered_in_turn(self, monkeypatch):
        values = np.random.default_rng(0).normal(size=(7, 40, 10))
        activation = Activation(values, ("sample", "y", "x"))
        whole = Projection(dim=33)(activation, BATCH).array
        monkeypatch.setattr("actx_core.poolers.project._CHUNK", 1000)
        np.testing.assert_array_equal(Projection(dim=33)(activation, BATCH).array, whole)

    def test_entries_are_spread_as_the_paper_says(self):
        size, dim = 2500, 400
        matrix = dense(size, dim, 5, 1 / math.sqrt(size))
        share = (matrix != 0).mean()
        cells = matrix.size
        assert abs(share - 1 / 50) < 5 * math.sqrt(0.02 * 0.98 / cells)
        signs = np.sign(matrix[matrix != 0])
        assert abs(signs.mean()) < 5 / math.sqrt(len(signs))
        per_row = (matrix != 0).sum(1)  # binomial(2500, 1/50): variance 49
        assert 35 < per_row.var() < 65
        per_column = (matrix != 0).sum(0)  # binomial(400, 1/50): variance 7.84
        assert 6.5 < per_column.var() < 9.2

    def test_norms_and_distances_are_kept(self):
        values = np.random.default_rng(0).normal(size=(20, 3000))
        pooled = Projection(dim=1024)(Activation(values, ("sample", "channel")), BATCH).array
        ratio = np.linalg.norm(pooled, axis=1) / np.linalg.norm(values, axis=1)
        assert abs(ratio - 1).max() < 0.12  # standard deviation 1/sqrt(2 * 1024) = 0.022
        ratio = np.linalg.norm(pooled[1:] - pooled[:-1], axis=1)
        ratio /= np.linalg.norm(values[1:] - values[:-1], axis=1)
        assert abs(ratio - 1).max() < 0.12

    def test_density_one_is_a_matrix_of_signs(self):
        matrix = dense(30, 8, 0, 1.0) * math.sqrt(8)
        np.testing.assert_allclose(abs(matrix), 1)

    def test_every_platform_and_version_gets_this_matrix(self):
        index, sign = entries(1000, 16, 7, 1 / math.sqrt(1000))
        digest = hashlib.sha256(index.astype("<i8").tobytes() + sign.tobytes()).hexdigest()
        assert digest[:16] == "68f4799b9c516324"

    def test_the_seed_counts(self):
        a, b = (entries(500, 8, seed, 0.1)[0] for seed in (0, 1))
        assert a.shape != b.shape or (a != b).any()


POOLERS = [
    Mean(over=("y", "x")),
    Mean(over="token"),
    Max(over=("x",)),
    Std(over=("channel", "y"), ddof=1),
    Select(axis="token", index="last"),
    Select(axis="channel", index=-1),
    Flatten(over=("x", "channel")),
    Flatten(over=("y", "x", "channel"), name="flat"),
    Identity(),
    Grid(size=2),
    Grid(size=3, over="x"),
    Projection(dim=3, over=("channel", "x")),
]


class TestTap:
    @pytest.mark.parametrize("pooler", POOLERS, ids=repr)
    @few
    @given(data=st.data(), packed=st.booleans())
    @pytest.mark.parametrize(("kind", "dtype"), KINDS)
    def test_predicts_axes_shape_and_dtype(self, pooler, data, packed, kind, dtype):
        axes = ("token", *data.draw(st.permutations(["y", "x", "channel", "head"])))
        sizes = {axis: data.draw(SIZES) for axis in axes}
        samples = data.draw(st.integers(1, 3))
        tap = Tap("t", ("sample", *axes), (None, *(sizes[a] for a in axes[1:])), dtype, kind="word")
        total = sizes["token"] * samples
        shape = (total if packed else sizes["token"], *(sizes[a] for a in axes[1:]))
        values = np.random.default_rng(0).normal(size=shape if packed else (samples, *shape))
        array, _ = to(kind, dtype, values)
        offsets = np.arange(samples + 1) * sizes["token"] if packed else None
        activation = Activation(array, axes if packed else ("sample", *axes), None, offsets)
        expected, pooled = pooler.tap(tap), pooler(activation, BATCH)
        assert dtype_name(pooled.array) == expected.dtype
        assert type(pooled.array) is type(array)
        if pooled.offsets is None:
            assert pooled.axes == expected.axes
            assert pooled.array.shape[0] == samples
            real = pooled.array.shape[1:]
        else:
            assert pooled.axes == expected.axes[1:]
            real = pooled.array.shape
        assert len(real) == len(expected.shape)
        for n, m in zip(expected.shape, real, strict=True):
            assert n in (None, m)
        assert expected.row_kind == ("word" if "token" in expected.axes else "sample")

    @pytest.mark.parametrize(
        "pooler",
        [
            Mean(over=("y", "x")),
            Max(over="y"),
            Std(over="y"),
            Select(axis="y", index=0),
            Flatten(over=("y", "channel")),
            Grid(size=2),
            Projection(dim=2, over="y"),
        ],
        ids=repr,
    )
    def test_missing_axes_are_named(self, pooler):
        tap = Tap("blocks.3", ("sample", "token", "channel"), (7, 8))
        with pytest.raises(
            TapError, match="blocks.3.*found 'token', 'channel': no 'y'.*hint: .*'token'"
        ):
            pooler.tap(tap)
        with pytest.raises(TapError, match="no 'y'"):
            pooler(Activation(np.zeros((2, 7, 8)), tap.axes), BATCH)

    def test_varying_axes_may_be_pooled_or_gridded(self):
        tap = Tap("t", ("sample", "y", "x", "channel"), (None, None, 8), kind="board")
        assert tap.row_kind == "board"
        assert Mean(over=("y", "x")).tap(tap).shape == (8,)
        assert Grid(size=3).tap(tap).shape == (3, 3, 8)
        one = Max(over="y").tap(tap)
        assert (one.shape, one.row_kind) == ((None, 8), "x")

    def test_complex_values_are_refused(self):
        tap = Tap("t", ("sample", "channel"), (8,), "complex64")
        for pooler in (Mean(over="channel"), Max(over="channel"), Projection(dim=2)):
            with pytest.raises(TapError, match="complex64"):
                pooler.tap(tap)


class TestConfig:
    @pytest.mark.parametrize("pooler", POOLERS, ids=repr)
    def test_round_trip_through_json_and_descriptions(self, pooler):
        assert type(pooler).model_validate(pooler.model_dump(mode="json")) == pooler
        assert all(field.description for field in type(pooler).model_fields.values())

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (Mean, {}),
            (Mean, {"over": ()}),
            (Mean, {"over": "sample"}),
            (Mean, {"over": ("y", "y")}),
            (Mean, {"over": "y", "axis": "x"}),
            (Select, {}),
            (Select, {"index": "middle"}),
            (Select, {"index": True}),
            (Select, {"index": 0, "axis": "sample"}),
            (Grid, {"size": 0}),
            (Projection, {"dim": 0}),
            (Projection, {"dim": 4, "density": 0}),
            (Std, {"over": "y", "ddof": -1}),
        ],
    )
    def test_bad_options(self, kind, options):
        with pytest.raises(ValidationError):
            kind(**options)

    def test_one_axis_may_stand_alone(self):
        assert Mean(over="token").over == Mean(over=["token"]).over == ("token",)
        assert Grid.model_json_schema()["properties"]["over"]["anyOf"][0] == {"type": "string"}


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("pooler", POOLERS, ids=repr)
def test_on_a_gpu_as_on_the_cpu(pooler, dtype):
    values = torch.randn(3, 5, 4, 6, 7).to(getattr(torch, dtype))
    mask = np.random.default_rng(0).random((3, 5, 1, 6, 1)) < 0.7
    axes = ("sample", "token", "channel", "y", "x")
    there = pooler(Activation(values.cuda(), axes, mask), BATCH)
    assert there.array.is_cuda
    here = pooler(Activation(values, axes, mask), BATCH)
    torch.testing.assert_close(there.array.cpu(), here.array, equal_nan=True)
