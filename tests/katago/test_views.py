"""Tensors of a network as activations of boards: axes, masks, and that nothing off the board counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actx_core import Activation, Pooler, Sample, Tap, TapError, extract
from actx_core.poolers import Grid, Max, Mean, Std
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.model.views import on_board, view
from actx_katago.poolers import At, Chains
from actx_katago.positions.inputs import Inputs

Net = Callable[..., Path]
PLANE, KEYS = ("y", "x"), ("key_y", "key_x")
NETWORKS = {
    "ordinary": {"blocks": ("ordinary", "gpool")},
    "nested": {"version": 15, "blocks": ("nested", "gpool")},
    "transformer": {"version": 17, "blocks": ("attention", "feed-forward"), "tip": "spatial-rms"},
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS.keys())
def network(request: pytest.FixtureRequest, net: Net) -> Path:
    return net(**request.param)


@pytest.fixture
def large(play: Callable[..., Any], inputs_of: Callable[..., Inputs]) -> Inputs:
    """A board that makes the tensors of all beside it 19 x 19."""
    return inputs_of(play(19, 19, 1)[1])


def katago(network: Path, **options: Any) -> Katago:
    return Katago(KatagoConfig(network=network, device="cpu", **{"batch_size": 16, **options}))


def samples(boards: Sequence[Any]) -> list[Sample]:
    return [Sample(f"p{i}", board) for i, board in enumerate(boards)]


def usable(network: Path) -> list[Tap]:
    return [tap for tap in katago(network).taps() if not tap.problem]


def assert_same(tight: dict[str, np.ndarray], padded: dict[str, np.ndarray]) -> None:
    """The first rows of the padded arrays are those of the tight ones."""
    assert tight.keys() == padded.keys()
    for name, a in tight.items():
        b = padded[name][: len(a)]
        assert np.array_equal(np.isnan(a), np.isnan(b)), name
        assert np.nanmax(np.abs(a - b), initial=0) <= 1e-5 * np.nanmax(np.abs(a), initial=1), name


def test_a_position_gives_the_same_rows_in_a_tight_and_in_a_large_tensor(
    network: Path, nine: list[Inputs], large: Inputs
):
    """Every tap as it is: points, pairs of points, vectors, numbers; inputs of modules, too."""
    taps = [tap.name for tap in usable(network)]
    assert any("@in" in name for name in taps)
    assert any(name.startswith("lens.") for name in taps)
    assert len(taps) > 50
    # Points of 19 x 19 come last; pairs of 19 x 19 would be 130,000 rows of each tap.
    pairs = [tap.name for tap in usable(network) if tap.row_kind == "pair"]
    rest = [name for name in taps if name not in pairs]
    boards = nine[2:4]
    tight = extract(katago(network), samples(boards), rest)
    assert_same(tight, extract(katago(network), samples([*boards, large]), rest))
    if pairs:
        pool: list[Pooler] = [Max(over=KEYS)]
        tight = extract(katago(network), samples(boards), pairs, pool)
        assert_same(tight, extract(katago(network), samples([*boards, large]), pairs, pool))


@pytest.mark.parametrize(
    "pooler",
    [
        Mean(over=PLANE),
        Max(over=PLANE),
        Std(over=PLANE),
        Grid(size=3),
        At(),
        At(point="C3"),
        Chains(),
    ],
    ids=["mean", "max", "std", "grid", "last", "C3", "chains"],
)
def test_every_pooler_gives_the_same_in_a_tight_and_in_a_large_tensor(
    network: Path, nine: list[Inputs], large: Inputs, pooler: Pooler
):
    taps = [
        tap.name for tap in usable(network) if {*PLANE} <= {*tap.axes} and tap.row_kind != "pair"
    ]
    tight = extract(katago(network), samples(nine[2:6]), taps, [pooler])
    assert_same(tight, extract(katago(network), samples([*nine[2:6], large]), taps, [pooler]))


@pytest.mark.parametrize(
    "name", ["tiny-b6c48nbt", "b7c96h3tfrs-test5-cnorm", "g170-b6c96-s175395328-d26788732"]
)
def test_real_networks_know_no_padding(data: Path, nine: list[Inputs], large: Inputs, name: str):
    network = data / "models" / f"{name}.bin.gz"
    taps, pool = ["trunk_after_block5", "blocks.2", "policy.board"], [Mean(over=PLANE)]
    tight = extract(katago(network), samples(nine[:3]), taps, pool)
    assert_same(tight, extract(katago(network), samples([*nine[:3], large]), taps, pool))


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a module gives off the board becomes NaN before anybody sees it."""
    plain = Katago._forward

    def forward(self: Katago, inputs: Any, batch: Any, pool: Any) -> Any:
        off = inputs[0][:, 0] == 0

        def spoil(raw: Activation) -> Activation:
            array = raw.array.clone()
            if array.ndim == 4 and array.shape[2:] == off.shape[1:]:
                array[off[:, None].expand_as(array)] = np.nan
            elif array.ndim == 3 and array.shape[1] == off[0].numel():
                array[off.flatten(1)] = np.nan
            elif array.ndim == 4:  # attention
                array[off.flatten(1)[:, None].expand(array.shape[:3])] = np.nan
                array[off.flatten(1)[:, None, None].expand_as(array)] = np.nan
            return Activation(array, raw.axes)

        runner, given = self._runner, self._runner.extract
        try:
            runner.extract = lambda b, take: given(b, lambda n, raw: take(n, spoil(raw)))
            return plain(self, inputs, batch, pool)
        finally:
            del runner.extract

    monkeypatch.setattr(Katago, "_forward", forward)


def test_attention_from_one_point_ends_on_the_board(net: Net, mixed: list[Inputs], poison: None):
    """Pooled to where it starts, attention has a row for each point that it reaches."""
    model, tap = katago(net(**NETWORKS["transformer"])), "blocks.0.attn_weights"
    boards = [mixed[3], mixed[1]]
    (whole,) = extract(model, samples(boards), [tap]).values()
    (found,) = extract(model, samples(boards), [tap], [At()]).values()
    places = [y * board.size[1] + x for board in boards for y, x in [board.last]]
    maps = whole[: 40**2].reshape(40, 40, -1), whole[40**2 :].reshape(49, 49, -1)
    assert np.array_equal(found, np.concatenate([m[at] for m, at in zip(maps, places)]))
    with pytest.raises(TapError, match="no size but those of 'y' and 'x' to differ"):
        extract(model, samples(boards), [tap], [Chains()])
    (chains,) = extract(model, samples(boards), [tap], [Max(over=KEYS), Chains()]).values()
    assert np.isfinite(chains).all()


@pytest.mark.parametrize(
    "pooler",
    [Mean(over=PLANE), Max(over=PLANE), Std(over=PLANE), Grid(size=2), At(), Chains(), None],
    ids=["mean", "max", "std", "grid", "last", "chains", "as it is"],
)
def test_nothing_off_the_board_leaks_in(
    network: Path, mixed: list[Inputs], poison: None, pooler: Pooler | None
):
    taps = [
        tap.name
        for tap in usable(network)
        if {*PLANE} <= {*tap.axes} and "lens." not in tap.name and "@" not in tap.name
        if tap.name not in ("policy.board", "ownership")
        if tap.row_kind != "pair" or type(pooler) not in (Chains, type(None))
    ]
    boards = samples([mixed[1], mixed[3], mixed[7]])  # 7 x 7, 8 x 5, 13 x 13: each has a last move
    for name, array in extract(katago(network), boards, taps, [pooler] if pooler else []).items():
        assert np.isfinite(array).all(), name


def test_attention_maps_are_from_points_to_points(net: Net, mixed: list[Inputs], poison: None):
    """Rows are pairs of points on the board; what a point attends to adds up to 1."""
    network = net(**NETWORKS["transformer"])
    model = katago(network)
    (tap,) = [tap for tap in usable(network) if tap.name == "blocks.0.attn_weights"]
    assert tap.axes == ("sample", "head", *PLANE, *KEYS)
    assert (tap.row_kind, tap.rows_at_most) == ("pair", 361**2)
    boards = [mixed[3], mixed[1]]
    (found,) = extract(model, samples(boards), [tap.name]).values()
    assert found.shape == (40**2 + 49**2, tap.shape[0])
    assert np.allclose(found[: 40**2].reshape(40, 40, -1).sum(1), 1, atol=1e-5)
    (points,) = extract(model, samples(boards), [tap.name], [Max(over=KEYS)]).values()
    assert points.shape == (40 + 49, tap.shape[0])
    assert np.allclose(points[:40], found[: 40**2].reshape(40, 40, -1).max(1), atol=1e-6)


BOARD = np.zeros((2, 3, 4), bool)
BOARD[0], BOARD[1, :2, :3] = True, True


@pytest.mark.parametrize(
    ("axes", "mask"),
    [
        (("sample", "channel"), None),
        (("sample", "channel", "y", "x"), (2, 1, 3, 4)),
        (("sample", "y", "x", "channel"), (2, 3, 4, 1)),
        (("sample", "head", *PLANE, *KEYS), (2, 1, 3, 4, 3, 4)),
    ],
)
def test_masks_follow_the_axes(axes: tuple[str, ...], mask: tuple[int, ...] | None):
    sizes = {"sample": 2, "channel": 5, "head": 2, "y": 3, "x": 4, "key_y": 3, "key_x": 4}
    array = torch.zeros([sizes[axis] for axis in axes])
    found = on_board(array, axes, BOARD)
    assert (found.mask is None) if mask is None else (found.mask.shape == mask)
    if mask:
        points = 6 if len(axes) == 4 else 36
        assert found.mask[1].sum() == points
        assert found.mask[0].all()
    assert on_board(array, axes, np.ones_like(BOARD)).mask is None


def views() -> Iterator[tuple[Tap, bool, tuple[str, ...], tuple[int | None, ...]]]:
    square: tuple[str, ...] = ("sample", "channel", "y", "x")
    yield Tap("conv", square, (5, 3, 4)), True, square, (5, 3, 4)
    yield Tap("conv", square, (5, 3, 4)), False, square, (5, None, None)
    tokens = Tap("norm", ("sample", "token", "channel"), (12, 5))
    yield tokens, True, ("sample", "y", "x", "channel"), (3, 4, 5)
    yield tokens, False, ("sample", "y", "x", "channel"), (None, None, 5)
    maps = Tap("a.attn_weights", ("sample", "dim1", "dim2", "dim3"), (2, 12, 12))
    yield maps, True, ("sample", "head", *PLANE, *KEYS), (2, 3, 4, 3, 4)
    yield maps, False, ("sample", "head", *PLANE, *KEYS), (2, None, None, None, None)
    moves = Tap("policy_head", ("sample", "channel", "token"), (2, 13))
    yield moves, True, ("sample", "channel", "move"), (2, 13)
    yield Tap("fc", ("sample", "channel"), (7,)), False, ("sample", "channel"), (7,)


@pytest.mark.parametrize(("raw", "fixed", "axes", "shape"), list(views()))
def test_what_the_network_flattens_gets_the_axes_of_the_board(
    raw: Tap, fixed: bool, axes: tuple[str, ...], shape: tuple[int | None, ...]
):
    found = view(raw, (3, 4), fixed)
    assert (found.tap.axes, found.tap.shape, found.tap.name) == (axes, shape, raw.name)
    tensor = torch.arange(2 * np.prod(raw.shape)).reshape(2, *raw.shape)
    activation = found.activation(tensor, np.ones((2, 3, 4), bool))
    assert activation.array.ndim == len(axes)
    assert torch.equal(activation.array.reshape(tensor.shape), tensor)
