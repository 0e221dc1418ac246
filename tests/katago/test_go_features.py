"""V7 inputs: bit for bit those of the engine, on its reference positions and on self-play rows."""

import json
import random
from collections import Counter
from copy import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actx_katago.go.board import BLACK, PASS, WHITE, bits, parse_board
from actx_katago.go.features import GLOBALS, PLANES, features_v7, set_komi
from actx_katago.go.game import read_sgf
from actx_katago.go.ladders import LadderReader
from actx_katago.go.npz import TrainingFile
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules, parse_rules
from actx_katago.positions.symmetry import turn, turn_point

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "katago"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the KataGo data")

RULES = st.sampled_from(
    [
        Rules(),
        Rules("SIMPLE", suicide=False, komi=7.0),
        Rules("SITUATIONAL", "AREA", "SEKI", button=True),
        Rules("SIMPLE", "TERRITORY", "ALL", suicide=False, komi=6.5),
    ]
)


def random_game(rng, width, height, rules, moves, pass_rate=0.02):
    position = Position.start(width, height, rules)
    yield position
    for _ in range(moves):
        legal = [p for p in bits(position.board.empty) if position.legal(p)]
        point = rng.choice(legal) if legal and rng.random() > pass_rate else PASS
        position = position.play(point)
        if position.over:
            return
        yield position


# -- against the engine ----------------------------------------------------------------------------


@needs_data
def test_the_engines_inputs_at_its_reference_positions():
    reference = np.load(DATA / "reference" / "inputs_v7.npz")
    compared = 0
    for game in json.loads((DATA / "reference" / "games.json").read_text()):
        rules = parse_rules(json.dumps(game["rules"] | {"komi": game["komi"]}))
        position = Position.start(game["w"], game["h"], rules)
        point = position.board.grid.point
        for turn_, move in enumerate([*game["moves"], None]):
            for kind, side in (("tight", None), ("pad19", 19)):
                if turn_ in game["picks"]:
                    planes, values = features_v7(position, side)
                    key = f"g{game['id']}_m{turn_}_{kind}"
                    np.testing.assert_array_equal(planes, reference[f"{key}_bin"], key)
                    np.testing.assert_array_equal(values, reference[f"{key}_glob"], key)
                    compared += 1
            if move:
                position = position.play(point(move[1]), BLACK if move[0] == "b" else WHITE)
    assert compared == 56


@needs_data
def test_the_same_games_from_sgf_give_the_same_inputs():
    reference = np.load(DATA / "reference" / "inputs_v7.npz")
    compared = 0
    for path in sorted((DATA / "reference").glob("game*.sgf")):
        (game,) = read_sgf(path)
        for position in game.positions():
            key = f"g{path.name[4]}_m{position.turn}_tight"
            if f"{key}_bin" in reference:
                planes, values = features_v7(position)
                np.testing.assert_array_equal(planes, reference[f"{key}_bin"], key)
                np.testing.assert_array_equal(values, reference[f"{key}_glob"], key)
                compared += 1
    assert compared == 28


def beside_the_line(line, turn_, planes, values):
    """The game's position at a turn, then those that leave its line one to five moves before.

    Self-play also searches positions beside the game; the row's own past moves lead there.
    """
    yield 0, line.get(turn_)
    for ago in range(1, 6):
        position = line.get(turn_ - ago)
        try:
            for k in reversed(range(ago)):
                at = np.argwhere(planes[9 + k])
                if position is None or not (len(at) or values[k]):
                    raise ValueError
                y, x = at[0] if len(at) else (0, 0)
                position = position.play(PASS if values[k] else y * position.board.grid.width + x)
        except ValueError:
            continue
        yield ago, position


def compare_rows(file, games):
    """Compare every row of the main phase whose game is known; how many by what was found."""
    rows, found, lines = file.read(), Counter(), {}
    turns, komi = file.column("turn").astype(int), file.column("self_komi")
    for row, game in enumerate(file.hashes):
        planes, values = rows.planes[row], rows.globals[row]
        if game not in games:
            found["no game record"] += 1
            continue
        if values[12] or values[13]:
            found["encore"] += 1
            continue
        if game not in lines:
            lines[game] = {p.turn: p for p in games[game].positions()}
        for ago, position in beside_the_line(lines[game], turns[row], planes, values):
            if position is None or position.over:
                continue
            ours = features_v7(position, file.board_len, self_komi=komi[row])
            if not np.array_equal(ours[0][:3], planes[:3]):
                continue
            np.testing.assert_array_equal(ours[0], planes, f"{file.path.name}:{row}")
            compared = np.ones(19, bool)
            if values[15]:
                compared[15:17] = False
            np.testing.assert_array_equal(
                ours[1][compared], values[compared], f"{file.path.name}:{row}"
            )
            assert file.to_move[row] == position.to_move
            found["line" if ago == 0 else "beside the line"] += 1
            found["globals 15, 16 left out"] += int(values[15] != 0)
            break
        else:
            found["not found"] += 1
    return found


@needs_data
def test_every_row_of_self_play_is_reproduced():
    games = {game.hash: game for path in DATA.rglob("*.sgfs") for game in read_sgf(path)}
    found = Counter()
    for path in sorted((DATA / "selfplay").rglob("*.npz")):
        if path.parent.name != "corrupt":
            found += compare_rows(TrainingFile(path), games)
    assert found == {
        "line": 3773,
        "globals 15, 16 left out": 25,
        "beside the line": 399,
        "encore": 168,
        "no game record": 603,
        "not found": 3,
    }


@needs_data
def test_komi_of_self_play_follows_from_the_record():
    """Where the komi allows no draw, the network was told what the rules and the moves say."""
    games = {game.hash: game for path in DATA.rglob("*.sgfs") for game in read_sgf(path)}
    compared = 0
    for path in sorted((DATA / "selfplay").rglob("*.npz")):
        if path.parent.name == "corrupt":
            continue
        file = TrainingFile(path)
        komi, turns, lines = file.column("self_komi"), file.column("turn"), {}
        planes, values = file.planes(), file.read().globals
        for row, name in enumerate(file.hashes):
            game = games.get(name)
            if (
                not game
                or values[row, 12:14].any()
                or game.rules.komi.is_integer() != game.rules.button
            ):
                continue
            lines.setdefault(name, {p.turn: p for p in game.positions()})
            position = lines[name].get(int(turns[row]))
            if position and np.array_equal(features_v7(position, file.board_len)[0], planes[row]):
                assert position.self_komi() == komi[row], (path.name, row)
                compared += 1
    assert compared == 1801


# -- written out -----------------------------------------------------------------------------------


def test_an_empty_board():
    planes, values = features_v7(Position.start(5, 4, Rules(komi=6.5)))
    assert planes.shape == (22, 4, 5)
    assert planes.dtype == np.bool_
    assert values.dtype == np.float32
    assert planes[0].all()
    assert not planes[1:].any()
    named = dict(zip(GLOBALS, values.tolist(), strict=True))
    assert {name: value for name, value in named.items() if value} == {
        "self_komi": pytest.approx(-0.325),
        "ko_superko": 1.0,
        "ko_situational": 0.5,
        "suicide": 1.0,
        "parity_wave": -0.5,
    }


def test_stones_liberties_moves_and_ko():
    board = parse_board("""
        . X O . .
        X O . O .
        . X O . .
        . . . . .
        . . . . X
    """)
    point, stones = board.grid.point, board.stones
    begin = Position.start(5, 5, Rules("SIMPLE"), black=stones[BLACK], white=stones[WHITE])

    def names(position):
        planes, _ = features_v7(position)
        return {
            name: {board.grid.name(int(p)) for p in np.flatnonzero(plane)}
            for name, plane in zip(PLANES[1:14], planes[1:14])
            if plane.any()
        }

    taken = begin.play(point("C4"))
    assert names(taken) == {
        "own": {"C5", "C3", "D4"},
        "opponent": {"B5", "A4", "C4", "B3", "E1"},
        "liberties_1": {"C5", "C4"},
        "liberties_2": {"B5", "C3", "E1"},
        "liberties_3": {"A4", "D4", "B3"},
        "ko_banned": {"B4"},
        "move_1": {"C4"},
    }
    later = taken.play(PASS).play(point("E2"))
    shown = names(later)
    assert "ko_banned" not in shown, "the pass has lifted the ko"
    assert (shown["move_1"], shown["move_3"]) == ({"E2"}, {"C4"})
    assert "move_2" not in shown
    assert features_v7(later)[1][:5].tolist() == [0, 1, 0, 0, 0]


def test_history_is_shown_only_while_the_players_alternate():
    position = Position.start(5, 5)
    position = position.play(0, BLACK).play(1, WHITE).play(2, WHITE).play(3, BLACK)
    planes, _ = features_v7(position)
    assert [planes[9 + k].sum() for k in range(5)] == [1, 1, 0, 0, 0]
    assert not features_v7(position.with_to_move(BLACK))[0][9:14].any()


def test_past_ladders_fall_back_to_the_latest_board_that_is_shown():
    board = parse_board("""
        . . X . . . .
        . X O . . . .
        . X . . . . .
        . . . . . . .
        . . . . . . .
        . . . . . . .
        . . . . . . .
    """)
    begin = Position.start(7, 7, black=board.stones[BLACK], white=board.stones[WHITE])
    now = features_v7(begin)[0]
    assert now[14].sum() == 1
    np.testing.assert_array_equal(now[15], now[14])
    np.testing.assert_array_equal(now[16], now[14])
    assert np.argwhere(now[17]).tolist() == [[1, 3]]
    broken = begin.play(46).play(24)  # White breaks the ladder
    planes, _ = features_v7(broken)
    assert [planes[k].sum() for k in (14, 15, 16, 17)] == [0, 1, 1, 0]
    one = begin.play(46)
    planes, _ = features_v7(one)
    assert [planes[k].sum() for k in (14, 15, 16)] == [1, 1, 1]
    assert not planes[17].any(), "the ladder moves are the opponent's"


@pytest.mark.parametrize(
    ("komi", "area", "shown", "wave"),
    [
        (7.5, 361, 7.5, 0.5),
        (7.0, 361, 7.0, 0.0),
        (6.0, 361, 6.0, 0.0),
        (6.25, 361, 6.25, -0.25),
        (8.0, 361, 8.0, 0.0),
        (-7.5, 361, -7.5, -0.5),
        (7.5, 64, 7.5, -0.5),
        (6.5, 64, 6.5, 0.5),
        (200.0, 81, 101.0, 0.0),
        (-200.0, 81, -101.0, 0.0),
    ],
)
def test_komi_is_clipped_and_its_parity_is_a_triangle(komi, area, shown, wave):
    values = np.zeros(19, np.float32)
    set_komi(values, komi, area, True)
    assert values[5] == np.float32(shown) / np.float32(20)
    assert values[18] == wave
    assert abs(values[18]) <= 0.5
    set_komi(values, 3.25, area, False)
    assert values[18] == wave


def test_positions_that_cannot_be_shown_are_refused():
    with pytest.raises(ValueError, match="at most 7x7, found 9x7"):
        features_v7(Position.start(9, 7), 7)
    with pytest.raises(ValueError, match="expected a position of the main phase"):
        features_v7(Position.start(5, 5).play(PASS).play(PASS))


# -- properties ------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 5), (7, 7), (6, 4), (9, 9)]), RULES)
def test_a_game_in_order_gives_what_each_position_gives_alone(seed, size, rules):
    rng = random.Random(seed)
    for position in random_game(rng, *size, rules, 60):
        planes, values = features_v7(position)
        alone = copy(position)
        alone.ladders = LadderReader()
        planes_alone, values_alone = features_v7(alone)
        np.testing.assert_array_equal(planes, planes_alone)
        np.testing.assert_array_equal(values, values_alone)


@settings(max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(5, 5), (7, 7), (6, 4), (9, 9)]),
    RULES,
    st.integers(1, 7),
)
def test_a_turned_game_gives_turned_planes(seed, size, rules, symmetry):
    rng, (width, height) = random.Random(seed), size
    turned_size = (height, width) if symmetry & 4 else (width, height)
    turned = Position.start(*turned_size, rules)
    for position in random_game(rng, width, height, rules, 50):
        if position.turn:
            point = position.moves[-1][1]
            if point != PASS:
                y, x = turn_point(*divmod(point, width), (height, width), symmetry)
                point = y * turned_size[0] + x
            turned = turned.play(point)
        planes, values = features_v7(position)
        planes_turned, values_turned = features_v7(turned)
        np.testing.assert_array_equal(turn(planes, 1, 2, symmetry), planes_turned)
        np.testing.assert_array_equal(values, values_turned)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 5), (6, 4), (9, 9)]), RULES)
def test_exchanging_the_colours_changes_komi_alone(seed, size, rules):
    rng = random.Random(seed)
    other = Position.start(*size, rules, to_move=WHITE)
    for position in random_game(rng, *size, rules, 40):
        if position.turn:
            other = other.play(position.moves[-1][1])
        planes, values = features_v7(position, self_komi=3.5)
        planes_other, values_other = features_v7(other, self_komi=3.5)
        np.testing.assert_array_equal(planes, planes_other)
        np.testing.assert_array_equal(values, values_other)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 5), (6, 4), (9, 9)]))
def test_a_larger_tensor_holds_the_board_in_its_corner(seed, size):
    for position in random_game(random.Random(seed), *size, Rules(), 20):
        tight, values = features_v7(position)
        padded, same = features_v7(position, 19)
        width, height = size
        np.testing.assert_array_equal(padded[:, :height, :width], tight)
        assert padded.sum() == tight.sum()
        np.testing.assert_array_equal(values, same)


def test_a_whole_game_on_19x19_is_fast():
    """300 positions a second on one core are asked; about 3,000 are usual."""
    import time

    positions = list(random_game(random.Random(0), 19, 19, Rules(), 250))
    started = time.process_time()
    for position in positions:
        features_v7(position)
    assert len(positions) / (time.process_time() - started) > 300
