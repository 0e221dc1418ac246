"""Poolers on boards of several sizes inside larger tensors, against loops over every point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from actx_core import Activation, Batch, ModelError, Pooler, Tap, TapError
from actx_core.poolers import Grid, Max, Mean, Std
from actx_katago.chains import find_chains
from actx_katago.model.feed import columns
from actx_katago.poolers import At, Chains
from actx_katago.positions.inputs import Inputs

PLANE = ("y", "x")
VARYING = Tap("t", ("sample", "channel", "y", "x"), (6, None, None), kind="point", rows_at_most=361)


@pytest.fixture
def batch(mixed: list[Inputs]) -> Batch:
    return Batch(None, range(len(mixed)), columns(mixed))


def padded(boards: list[Inputs], side: int = 13, off: float = 99.0) -> tuple[list[np.ndarray], Any]:
    """Random values of each board, (6, y, x), and all of them as one activation with ``off`` off board."""
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((6, *board.size)).astype(np.float32) for board in boards]
    array = np.full((len(boards), 6, side, side), off, np.float32)
    mask = np.zeros((len(boards), 1, side, side), bool)
    for n, own in enumerate(values):
        y, x = own.shape[1:]
        array[n, :, :y, :x], mask[n, 0, :y, :x] = own, True
    return values, Activation(array, VARYING.axes, mask)


@pytest.mark.parametrize("off", [99.0, np.nan, np.inf])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("pooler", "loop"),
    [
        (Mean(over=PLANE), lambda v: [np.mean([p for row in c for p in row]) for c in v]),
        (Max(over=PLANE), lambda v: [max(p for row in c for p in row) for c in v]),
        (Std(over=PLANE), lambda v: [np.std([p for row in c for p in row]) for c in v]),
    ],
    ids=["mean", "max", "std"],
)
def test_core_reduces_over_the_true_board(
    mixed: list[Inputs],
    batch: Batch,
    pooler: Pooler,
    loop: Callable[..., Any],
    kind: str,
    off: float,
):
    values, given = padded(mixed, off=off)
    module = pytest.importorskip(kind)
    found = pooler(Activation(module.asarray(given.array), given.axes, given.mask), batch)
    assert np.allclose(np.asarray(found.array), [loop(v) for v in values], atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_core_cuts_the_true_board_into_cells(mixed: list[Inputs], batch: Batch, k: int):
    values, given = padded(mixed)
    found = Grid(size=k)(given, batch).array
    for v, cells in zip(values, found):
        y, x = v.shape[1:]
        for i in range(k):
            for j in range(k):
                rows = range(i * y // k, -(-(i + 1) * y // k))
                seen = range(j * x // k, -(-(j + 1) * x // k))
                expected = np.mean([[v[:, r, c] for c in seen] for r in rows], axis=(0, 1))
                assert np.allclose(cells[:, i, j], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["numpy", "torch", "array_api_strict"])
def test_at_the_last_move(mixed: list[Inputs], batch: Batch, kind: str):
    values, given = padded(mixed, off=np.nan)
    array = pytest.importorskip(kind).asarray(given.array)
    found = At()(Activation(array, given.axes, given.mask), batch)
    assert found.axes == ("sample", "channel")
    found = np.asarray(found.array)
    assert np.isnan(found[0]).all()  # no move yet
    for board, v, row in list(zip(mixed, values, found))[1:]:
        y, x = np.argwhere(board.planes[9])[0]
        assert np.array_equal(row, v[:, y, x])


@pytest.mark.parametrize("point", ["A1", "J9", "e3", "C13", "T19"])
def test_at_a_point_counted_from_the_lower_left(mixed: list[Inputs], batch: Batch, point: str):
    values, given = padded(mixed)
    found = At(point=point)(given, batch).array
    column, row = "ABCDEFGHJKLMNOPQRST".index(point[0].upper()), int(point[1:])
    for v, row_found in zip(values, found):
        y, x = v.shape[1:]
        if row <= y and column < x:
            assert np.array_equal(row_found, v[:, y - row, column])
        else:
            assert np.isnan(row_found).all()


def test_at_takes_axes_in_any_order(mixed: list[Inputs], batch: Batch):
    _, given = padded(mixed)
    turned = given.array.transpose(2, 0, 3, 1)
    mask = given.mask.transpose(2, 0, 3, 1)
    found = At()(Activation(turned, ("y", "sample", "x", "channel"), mask), batch)
    expected = At()(given, batch)
    assert found.axes == expected.axes
    assert np.array_equal(found.array, expected.array, equal_nan=True)


@pytest.mark.parametrize("point", ["I5", "D0", "D20", "middle", ""])
def test_a_point_that_is_none_is_refused(point: str):
    with pytest.raises(ValueError, match="expected 'last' or a point from 'A1' to 'T19'"):
        At(point=point)


def slow_chains(board: Inputs) -> list[tuple[str, list[tuple[int, int]], int]]:
    """(colour, stones, liberties) of each chain by flooding, in reading order."""
    own, opponent = board.planes[1], board.planes[2]
    found, seen = [], set()
    for start in np.argwhere(own | opponent).tolist():
        if tuple(start) in seen:
            continue
        plane = own if own[tuple(start)] else opponent
        stones, edge, liberties = [], [tuple(start)], set()
        seen.add(tuple(start))
        while edge:
            y, x = edge.pop()
            stones.append((y, x))
            for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if not (0 <= v < own.shape[0] and 0 <= u < own.shape[1]):
                    continue
                if plane[v, u] and (v, u) not in seen:
                    seen.add((v, u))
                    edge.append((v, u))
                elif not (own | opponent)[v, u]:
                    liberties.add((v, u))
        found.append(("own" if plane is own else "opponent", stones, len(liberties)))
    return found


@pytest.mark.parametrize("off", [99.0, np.nan])
@pytest.mark.parametrize("kind", ["numpy", "torch", "array_api_strict"])
def test_a_row_per_chain(mixed: list[Inputs], batch: Batch, kind: str, off: float):
    values, given = padded(mixed, off=off)
    array = pytest.importorskip(kind).asarray(given.array)
    found = Chains()(Activation(array, given.axes, given.mask), batch)
    assert found.axes == ("chain", "channel")
    assert found.mask is None
    expected = [slow_chains(board) for board in mixed]
    assert np.diff(found.offsets).tolist() == [len(chains) for chains in expected]
    rows = [(v, chain) for v, chains in zip(values, expected) for chain in chains]
    assert len(rows) > 60
    told = found.columns["chain"]
    for n, (v, (colour, stones, liberties)) in enumerate(rows):
        mean = np.mean([v[:, y, x] for y, x in stones], axis=0)
        assert np.allclose(np.asarray(found.array)[n], mean, atol=1e-5)
        assert told["colour"][n] == colour
        assert (told["size"][n], told["liberties"][n]) == (len(stones), liberties)
        assert (told["y"][n], told["x"][n]) == min(stones)


def test_a_snake_is_one_chain():
    stones = np.full((1, 5, 5), "empty", "<U8")
    stones[0, ::2] = "own"
    stones[0, 1, 4] = stones[0, 3, 0] = "own"
    found = find_chains(stones)
    assert found.size.tolist() == [17]
    assert found.liberties.tolist() == [8]


def test_boards_without_stones_have_no_chains(batch: Batch):
    stones = np.full((2, 3, 3), "empty", "<U8")
    given = Activation(np.ones((2, 6, 3, 3), np.float32), VARYING.axes)
    found = Chains()(given, Batch(None, range(2), {"y": {"stone": stones}}))
    assert found.array.shape == (0, 6)
    assert found.offsets.tolist() == [0, 0, 0]


def test_what_the_poolers_promise():
    fixed = Tap("t", ("sample", "channel", "y", "x"), (6, 9, 9))
    for tap in (VARYING, fixed):
        assert (At().tap(tap).axes, At().tap(tap).shape) == (("sample", "channel"), (6,))
    assert At().tap(VARYING).row_kind == "sample"
    for tap, most in ((VARYING, 361), (fixed, 81)):
        chained = Chains().tap(tap)
        assert (chained.axes, chained.shape) == (("sample", "chain", "channel"), (None, 6))
        assert (chained.row_kind, chained.rows_at_most) == ("chain", most)


@pytest.mark.parametrize("pooler", [At(), Chains()], ids=["at", "chains"])
def test_taps_and_models_without_a_board_are_refused(pooler: Pooler):
    with pytest.raises(TapError, match="expected floats with the axes 'y' and 'x' of a board"):
        pooler.tap(Tap("fc", ("sample", "channel"), (5,)))
    given = Activation(np.ones((2, 6, 3, 3), np.float32), VARYING.axes)
    with pytest.raises(ModelError, match="this pooler needs boards"):
        pooler(given, Batch(None, range(2)))
