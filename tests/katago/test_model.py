"""The model katago: what it gives is what plain hooks on the network see, masked off the board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import ModelError, Sample, SourceError, extract
from actx_core.poolers import Grid, Max, Mean, Std
from actx_core.testing import ModelTests
from actx_katago.model.katago import Katago
from actx_katago.poolers import At, Chains
from actx_katago.positions.inputs import Inputs
from tests.katago.plain import hooked, katago, samples

Net = Callable[..., Path]
PLANE = ("y", "x")
KINDS = ("ordinary", "gpool", "nested")
FORMER = ("attention", "feed-forward", "attention-learned")


class TestConvolutions(ModelTests):
    """The conformance kit, on boards of several sizes."""

    most = 4

    @pytest.fixture
    def model(self, net: Net) -> Katago:
        return katago(net(version=15, blocks=("nested",), channels=8), batch_size=4)

    @pytest.fixture
    def samples(self, mixed: list[Inputs]) -> list[Sample]:
        return samples([mixed[1], mixed[3], mixed[0], mixed[5]])


class TestTransformer(ModelTests):
    most = 4

    @pytest.fixture
    def model(self, net: Net) -> Katago:
        return katago(net(version=17, blocks=FORMER[:2], tip="spatial-rms"), batch_size=3)

    @pytest.fixture
    def samples(self, mixed: list[Inputs]) -> list[Sample]:
        return samples([mixed[1], mixed[3], mixed[0]])


@pytest.mark.parametrize(
    "options", [{"version": 15, "blocks": KINDS}, {"version": 17, "blocks": FORMER}]
)
def test_every_tap_is_what_a_hook_sees(net: Net, mixed: list[Inputs], options: dict[str, Any]):
    network = net(**options)
    boards = [mixed[3], mixed[1]]  # 8 x 5 and 7 x 7 in one tensor
    taps = [
        tap
        for tap in katago(network).taps()
        if not tap.problem and "@" not in tap.name
        if tap.name.split(".")[0] not in ("lens", "prediction")
    ]
    found = extract(katago(network), samples(boards), [tap.name for tap in taps])
    seen = [hooked(network, board) for board in boards]
    for tap in taps:
        parts = [as_offered(tap.name, one, board.size) for one, board in zip(seen, boards)]
        if tap.varying:
            first = [tap.axes.index(axis) - 1 for axis in tap.varying]
            parts = [np.moveaxis(part, first, range(len(first))) for part in parts]
            parts = [part.reshape(-1, *tap.row_shape) for part in parts]
        expected = np.concatenate(parts) if tap.varying else np.stack(parts)
        assert np.allclose(found[tap.name], expected, atol=2e-5), tap.name


def as_offered(name: str, seen: dict[str, np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """What a tap should be, from the tensors of one position without padding."""
    head, _, part = name.partition(".")
    if head == "policy":
        return (
            seen["policy"][:, :-1].reshape(-1, *size) if part == "board" else seen["policy"][:, -1]
        )
    if name == "ownership":
        return seen["ownership"][0]
    if head == "value_head" and part.isdigit():
        return seen[("value", "score", "ownership")[int(part)]]
    value = seen[name]
    if name.endswith("attn_weights"):
        return value.reshape(-1, *size, *size)
    if value.ndim == 2 and value.shape[0] == size[0] * size[1]:
        return value.reshape(*size, -1)
    return value


@pytest.mark.parametrize(
    "pooler",
    [Mean(over=PLANE), Max(over=PLANE), Std(over=PLANE), Grid(size=3), At(), Chains()],
    ids=lambda p: type(p).__name__,
)
@pytest.mark.parametrize(
    "options",
    [{"blocks": KINDS}, {"version": 17, "blocks": FORMER}],
    ids=["convolutions", "transformer"],
)
def test_a_larger_tensor_changes_no_pooled_value(
    net: Net,
    nine: list[Inputs],
    play: Callable[..., Any],
    inputs_of: Callable[..., Inputs],
    options: dict[str, Any],
    pooler: Any,
):
    """The same positions alone, and beside a 19 x 19 board, which makes their tensor larger."""
    model = katago(net(**options), batch_size=16)
    large = inputs_of(play(19, 19, 1)[1])
    taps = ["trunk.embedding", "trunk_after_block1", "blocks.1", "trunk.final", "policy.board"]
    tight = extract(model, samples(nine), taps, pool=[pooler])
    beside = extract(model, samples([*nine, large]), taps, pool=[pooler])
    for tap in taps:
        a, b = tight[tap], beside[tap][: len(tight[tap])]
        assert len(a) >= len(nine)
        error = np.nanmax(np.abs(a - b)) / np.nanmax(np.abs(a))
        assert error < 1e-5, tap
        assert np.array_equal(np.isnan(a), np.isnan(b))


def test_the_naive_mean_would_have_been_wrong(net: Net, nine: list[Inputs]):
    """Off the board the stream is not zero: what the masks are for."""
    network = net(blocks=KINDS)
    stream = hooked(network, nine[3], 19)["trunk_after_block1"]
    (right,) = extract(
        katago(network), samples(nine[3:4]), ["trunk_after_block1"], [Mean(over=PLANE)]
    ).values()
    naive = stream.sum((1, 2)) / 81
    assert np.linalg.norm(naive - right[0]) > 0.2 * np.linalg.norm(right[0])
    assert np.allclose(stream[:, :9, :9].mean((1, 2)), right[0], atol=1e-5)


def test_a_fixed_board_keeps_its_axes(net: Net, nine: list[Inputs]):
    model = katago(net(version=17, blocks=FORMER), board_size=9)
    shapes = {tap.name: tap.shape for tap in model.taps() if not tap.problem}
    assert not [name for name, shape in shapes.items() if None in shape]
    assert shapes["policy"] == (4, 82)
    assert shapes["blocks.0.attn_weights"][1:] == (9, 9, 9, 9)
    found = extract(model, samples(nine), ["trunk_after_block0", "policy", "blocks.0.attn_weights"])
    assert found["trunk_after_block0"].shape == (len(nine), 16, 9, 9)
    assert np.allclose(found["blocks.0.attn_weights"].sum((-1, -2)), 1, atol=1e-5)
    (free,) = extract(
        katago(net(version=17, blocks=FORMER)), samples(nine), ["trunk_after_block0"]
    ).values()
    turned = found["trunk_after_block0"].transpose(0, 2, 3, 1).reshape(-1, 16)
    assert np.allclose(free, turned, atol=1e-6)


def test_rectangles_can_be_fixed_too(net: Net, mixed: list[Inputs]):
    model = katago(net(), board_size=(8, 5))
    (found,) = extract(model, samples([mixed[3]]), ["trunk.final"]).values()
    assert found.shape == (1, 16, 8, 5)
    with pytest.raises(SourceError, match="expected a board of 8 x 5, found 7 x 7") as error:
        extract(model, samples([mixed[1]]), ["trunk.final"])
    assert "board_y == 8 and board_x == 5" in error.value.hint


def test_all_moves_as_one_axis_need_boards_of_one_size(net: Net):
    taps = {tap.name: tap for tap in katago(net()).taps()}
    for name in ("policy", "policy_head", "lens.0.policy"):
        assert "take policy.board and policy.pass, or set board_size" in taps[name].problem


def test_metadata_is_fed_and_asked_for(net: Net, nine: list[Inputs]):
    network = net(version=15, meta=True)
    rng = np.random.default_rng(0)
    boards = [replace(board, meta=rng.random(192, np.float32)) for board in nine[:3]]
    (found,) = extract(katago(network, board_size=9), samples(boards), ["trunk.final"]).values()
    expected = np.stack([hooked(network, board)["trunk.final"] for board in boards])
    assert np.allclose(found, expected, atol=1e-5)
    with pytest.raises(
        SourceError, match="takes 192 metadata inputs, the position has none"
    ) as error:
        extract(katago(network), samples([boards[0], nine[1]]), ["trunk.final"])
    assert error.value.where == "p1"


def test_networks_without_metadata_take_positions_with_it(net: Net, nine: list[Inputs]):
    boards = [replace(nine[0], meta=np.ones(192, np.float32)), nine[0]]
    (found,) = extract(katago(net()), samples(boards), ["value"]).values()
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(("version", "inputs"), [(3, "V3"), (5, "V4"), (6, "V5"), (7, "V6")])
def test_older_networks_are_listed_but_take_no_v7_positions(
    net: Net, nine: list[Inputs], version: int, inputs: str
):
    model = katago(net(version=version))
    assert "trunk_after_block1" in [tap.name for tap in model.taps() if not tap.problem]
    told = f"the network has version {version} and takes {inputs} inputs"
    with pytest.raises(ModelError, match=told):
        model.open(["trunk.final"])
    with pytest.raises(ModelError, match=told):
        model.prepare(samples(nine[:1]))


def test_other_data_are_refused(net: Net):
    with pytest.raises(
        ModelError, match="expected a position as KataGo's V7 inputs, found ndarray"
    ):
        katago(net()).prepare(samples([np.zeros((22, 9, 9))]))


@pytest.mark.parametrize(
    ("dtype", "close"), [("float64", 1e-6), ("bfloat16", 0.1), ("float16", 0.02)]
)
def test_other_types_of_numbers(net: Net, mixed: list[Inputs], dtype: str, close: float):
    taps = ["trunk_after_block1", "prediction.win", "lens.0.value"]
    exact = extract(katago(net()), samples(mixed), taps, [])
    found = extract(katago(net(), dtype=dtype), samples(mixed), taps, [])
    for tap in taps:
        assert np.abs(found[tap] - exact[tap]).max() < close * np.abs(exact[tap]).max()


def test_facts_go_into_the_run(net: Net):
    model = katago(net(version=16))
    model.open(["value"])
    assert model.describe()["network"]["version"] == 16
    assert model.describe()["parameters"] > 1000
    assert (
        model.fingerprint() == katago(net(version=16)).fingerprint() != katago(net()).fingerprint()
    )


def test_previews_show_what_the_network_sees(net: Net, mixed: list[Inputs]):
    for options in ({}, {"symmetry": "average"}):
        model = katago(net(), **options)
        drawn = model.preview(model.prepare(samples(mixed[:2])))
        assert [p.kind for p in drawn] == ["svg", "svg"]
        assert drawn[0].data.count("<circle") == 9  # the star points of an empty board
        stones = int(mixed[1].planes[1:3].sum())
        assert drawn[1].data.count("<circle") == stones + 1


def test_the_reference_trunk_of_katago_itself(data: Path):
    """Pooled traces of KataGo's Python model, on 28 positions of five sizes."""
    inputs = np.load(data / "reference" / "inputs_v7.npz")
    for name in ("tiny-b6c48nbt", "b7c96h3tfrs-test5-cnorm"):
        trace = np.load(data / "reference" / f"trace_{name}.npz")
        keys = [key.replace("pad19", "tight") for key in trace["keys"]]
        boards = [Inputs(inputs[f"{k}_bin"] > 0, inputs[f"{k}_glob"]) for k in keys]
        model = katago(data / "models" / f"{name}.bin.gz", batch_size=28)
        taps = {
            "trunk.embedding": "trunk_after_embedding",
            "trunk_after_block3": "trunk_after_block3",
            "blocks.3": "blocks.3.delta",
            "trunk.final": "trunkfinal",
        }
        found = extract(model, samples(boards), list(taps), [Mean(over=PLANE)])
        for tap, theirs in taps.items():
            expected = trace[f"pooled/{theirs}"]
            assert np.abs(found[tap] - expected).max() < 1e-4 * np.abs(expected).max()
