"""Counterfactual inputs and their replicates: what is changed, what stays, and what the rows say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import Pipeline, open_run
from actx_katago.go.board import PASS
from actx_katago.go.features import GLOBALS, PLANES, features_v7
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules
from actx_katago.positions.config import PositionsConfig, SgfConfig
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.sgf_source import Sgf
from actx_katago.positions.symmetry import turn, turn_point
from actx_katago.positions.variants import Variant, changed, variants

Play = Callable[..., list[Position]]
PAST = [PLANES.index(f"move_{ago}") for ago in range(1, 6)]
LADDERS = [PLANES.index(name) for name in ("ladder", "ladder_1_ago", "ladder_2_ago")]


def config(**options: Any) -> PositionsConfig:
    return PositionsConfig(path=Path("x"), **options)


def shown(inputs: Inputs, **options: Any) -> list[Inputs]:
    """A position in all variants."""
    return [changed(inputs, config(**options), way) for way in variants(config(**options))]


@pytest.fixture
def inputs(nine: list[Inputs]) -> Inputs:
    """A late position, with values of all points."""
    values = np.random.default_rng(0).random((9, 9))
    return replace(nine[-1], points={"ownership": values})


def test_as_it_is(inputs: Inputs):
    (way,) = variants(config())
    assert way == Variant(0, 0, None, {})
    (found,) = shown(inputs)
    assert np.array_equal(found.planes, inputs.planes)
    assert np.array_equal(found.globals, inputs.globals)
    assert found.last == inputs.last


def test_one_symmetry_is_no_replicate():
    (way,) = variants(config(symmetry=5))
    assert (way.replicate, way.columns) == (0, {"symmetry": 5})


def test_every_komi_in_every_symmetry(inputs: Inputs):
    options = {"counterfactual": {"komi": [-7, 0.5]}, "symmetry": "all"}
    ways = variants(config(**options))
    assert [way.replicate for way in ways] == list(range(16))
    assert [tuple(way.columns.values()) for way in ways] == [
        (symmetry, komi) for komi in (-7, 0.5) for symmetry in range(8)
    ]
    found = shown(inputs, **options)
    assert len({each.digest() for each in found}) == 16
    for way, each in zip(ways, found):
        assert each.globals[5] == np.float32(way.komi / 20)
        assert np.array_equal(each.planes, turn(inputs.planes, 1, 2, way.symmetry))
        assert each.last == turn_point(*inputs.last, (9, 9), way.symmetry)
        values = turn(inputs.points["ownership"], 0, 1, way.symmetry)
        assert np.array_equal(each.points["ownership"], values)


def test_zero_global(inputs: Inputs):
    (found,) = shown(inputs, counterfactual="zero_global")
    assert not found.globals.any()
    assert found.globals.dtype == np.float32
    assert np.array_equal(found.planes, inputs.planes)
    assert inputs.globals.any()  # what was given stays


def test_history_off_is_the_position_without_its_past(play: Play, inputs_of: Callable[..., Inputs]):
    """The same stones set up: nothing is known of moves, passes and earlier ladders."""
    for position in play(9, 9, 60, 6, Rules("SIMPLE"))[10::5]:
        (found,) = shown(inputs_of(position), counterfactual="history_off")
        _, black, white = position.board.stones
        fresh = Position.start(9, 9, position.rules, black=black, white=white)
        planes, globals_ = features_v7(fresh.with_to_move(position.to_move))
        if position.board.ko >= 0:  # on the board, not in the past
            planes[6] = found.planes[6]
        assert np.array_equal(found.planes, planes)
        assert np.array_equal(found.globals, globals_)


@pytest.mark.parametrize("ko", ["SIMPLE", "POSITIONAL"])
def test_history_off_forgets_that_the_other_player_passed(
    ko: str, play: Play, inputs_of: Callable[..., Inputs]
):
    passed = inputs_of(play(9, 9, 20, 7, Rules(ko))[-1].play(PASS))
    end = GLOBALS.index("pass_ends_phase")
    assert (passed.globals[0], passed.globals[end]) == (1, 1)
    (found,) = shown(passed, counterfactual="history_off")
    assert not found.globals[[0, 1, 2, 3, 4, end]].any()
    rest = [i for i in range(5, 19) if i != end]
    assert np.array_equal(found.globals[rest], passed.globals[rest])


def test_ladders_of_the_past_become_those_of_now(inputs: Inputs):
    planes = inputs.planes.copy()
    planes[LADDERS[1], 0, 0] = planes[LADDERS[2], 1, 1] = True
    planes[LADDERS[0], 2, 2] = True
    (found,) = shown(replace(inputs, planes=planes), counterfactual="history_off")
    for plane in LADDERS:
        assert np.array_equal(found.planes[plane], planes[LADDERS[0]])
    assert not found.planes[PAST].any()
    assert found.last == inputs.last  # poolers still know where the last move was


@pytest.mark.parametrize(
    "rules", [Rules(), Rules("SIMPLE", "TERRITORY", "SEKI", suicide=False, komi=6.5)]
)
@pytest.mark.parametrize("komi", [-150, -7.5, 0, 0.25, 7, 150])
def test_a_komi_is_what_the_engine_would_show(
    play: Play, inputs_of: Callable[..., Inputs], rules: Rules, komi: float
):
    position = play(5, 5, 8, 3, rules)[-1]
    (found,) = shown(inputs_of(position), counterfactual={"komi": [komi]})
    planes, globals_ = features_v7(position, self_komi=komi)
    assert np.array_equal(found.planes, planes)
    assert np.array_equal(found.globals, globals_)


def test_a_komi_sweep_moves_the_lead_of_every_position(
    tmp_path: Path, play: Play, sgf: Callable[..., str], net: Callable[..., Path]
):
    """In a run, each komi is a replicate of its position, and its row says which."""
    (tmp_path / "game.sgf").write_text(sgf(play(9, 9, 6, 1)))
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "batch_size": 8, "device": "cpu"},
        "source": {
            "type": "sgf",
            "path": str(tmp_path / "game.sgf"),
            "counterfactual": {"komi": [-10.5, 0, 10.5]},
        },
        "model": {"type": "katago", "network": str(net()), "as": "net", "taps": ["value"]},
    }
    list(Pipeline.from_dict(spec).run())
    array = open_run(tmp_path / "run")["game/net/value"]
    assert array.replicates().shape == (7, 3, 3)
    assert array.rows["komi_shown"].to_pylist() == [-10.5, 0.0, 10.5] * 7
    assert (np.ptp(array.replicates().numpy(), axis=1).max(1) > 1e-4).all()


def test_the_digest_of_a_record_tells_variants_apart(
    tmp_path: Path, play: Play, sgf: Callable[..., str]
):
    (tmp_path / "game.sgf").write_text(sgf(play(9, 9, 6, 1)))
    found: set[str] = set()
    wanted = 0
    for options in (
        {},
        {"counterfactual": "zero_global"},
        {"counterfactual": "history_off"},
        {"counterfactual": {"komi": [0, 1]}},
        {"symmetry": 3},
    ):
        source = Sgf(SgfConfig(path=tmp_path / "game.sgf", **options))
        found |= {source.digest(sample) for sample in source.listing()}
        wanted += len(source.listing())
    assert len(found) == wanted
