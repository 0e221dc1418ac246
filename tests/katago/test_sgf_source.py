"""The source sgf: whole games or parts of them, set-up stones, rules and komi, as the engine's inputs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import SourceError
from actx_core.testing import SourceTests
from actx_katago.go.board import WHITE
from actx_katago.go.features import GLOBALS, features_v7
from actx_katago.go.position import Position
from actx_katago.go.rules import parse_rules
from actx_katago.positions.config import SgfConfig
from actx_katago.positions.sgf_source import Sgf

Play = Callable[..., list[Position]]
Record = Callable[..., str]


def sgf_source(path: Path, **options: Any) -> Sgf:
    return Sgf(SgfConfig(path=path, **options))


def one(tmp_path: Path, text: str, **options: Any) -> Sgf:
    """A source of one file with this text."""
    (tmp_path / "game.sgf").write_text(text)
    return sgf_source(tmp_path / "game.sgf", **options)


def turns(source: Sgf) -> list[int]:
    return [sample.columns["turn"] for sample in source.listing()]


@pytest.fixture
def folder(tmp_path: Path, play: Play, sgf: Record) -> Path:
    """A game of 9 x 9, and a file of two games on other boards."""
    (tmp_path / "games" / "more").mkdir(parents=True)
    (tmp_path / "games" / "g2.sgf").write_text(sgf(play(9, 9, 20, 1), KM="6.5", RU="chinese"))
    two = sgf(play(7, 5, 8, 2)) + "\n" + sgf(play(13, 13, 12, 3), PB="Ada", PW="Kurt", RE="W+R")
    (tmp_path / "games" / "more" / "g10.sgfs").write_text(two)
    (tmp_path / "games" / "notes.txt").write_text("no game")
    return tmp_path / "games"


class TestSgf(SourceTests):
    @pytest.fixture
    def source(self, folder: Path) -> Sgf:
        return sgf_source(folder, every=3)


class TestReplicates(SourceTests):
    @pytest.fixture
    def source(self, folder: Path) -> Sgf:
        return sgf_source(folder / "g2.sgf", every=9, symmetry="all")


def test_every_position_of_a_game(tmp_path: Path, play: Play, sgf: Record):
    positions = play(9, 9, 40, 1)
    listed = one(tmp_path, sgf(positions)).listing()
    assert [sample.id for sample in listed] == [f"game.sgf:{turn}" for turn in range(41)]
    for sample, position in zip(listed, positions):
        planes, globals_ = features_v7(position)
        found = sample.load()
        assert np.array_equal(found.planes, planes)
        assert np.array_equal(found.globals, globals_)
        at = np.argwhere(planes[9])
        assert found.last == (tuple(at[0]) if len(at) else None)
        assert sample.columns["to_move"] == ("white" if position.to_move == WHITE else "black")


def test_what_is_known_of_a_position(folder: Path):
    first, *_, last = sgf_source(folder).listing()
    assert first.columns == {
        "file": "g2.sgf",
        "game": "g2.sgf",
        "turn": 0,
        "to_move": "black",
        "board_y": 9,
        "board_x": 9,
        "black": "",
        "white": "",
        "result": "",
        "komi": 6.5,
        "rules": "koSIMPLEscoreAREAtaxNONEsui0button0whbN",
    }
    assert last.id == "more/g10.sgfs#2:12"
    told = {key: last.columns[key] for key in ("file", "game", "board_y", "black", "white")}
    assert told == {
        "file": "more/g10.sgfs",
        "game": "more/g10.sgfs#2",
        "board_y": 13,
        "black": "Ada",
        "white": "Kurt",
    }
    assert parse_rules(first.columns["rules"]) == parse_rules("chinese")  # they can be said again


def test_the_game_hash_of_self_play_names_the_game(tmp_path: Path, play: Play, sgf: Record):
    name = "0123456789ABCDEF" * 2
    source = one(tmp_path, sgf(play(7, 7, 2), C=f"gtype=normal,gameHash={name}"))
    assert {sample.columns["game"] for sample in source.listing()} == {name}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"every": 7}, [0, 7, 14, 21, 28, 35]),
        ({"every": 10, "start": 3}, [3, 13, 23, 33]),
        ({"start": 38}, [38, 39, 40]),
        ({"last": 2}, [0, 1, 2]),
        ({"every": 4, "start": 5, "last": 13}, [5, 9, 13]),
        ({"start": 41}, []),
    ],
)
def test_a_part_of_a_game(
    tmp_path: Path, play: Play, sgf: Record, options: dict[str, int], expected: list[int]
):
    positions = play(9, 9, 40, 1)
    source = one(tmp_path, sgf(positions), **options)
    assert turns(source) == expected
    for sample in reversed(source.listing()):  # the replay begins anew each time
        planes, _ = features_v7(positions[sample.columns["turn"]])
        assert np.array_equal(sample.load().planes, planes)


def test_threads_may_ask_in_any_order(tmp_path: Path, play: Play, sgf: Record):
    positions = play(9, 9, 40, 4)
    listed = one(tmp_path, sgf(positions)).listing()
    order = np.random.default_rng(0).permutation(len(listed)).tolist()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda i: listed[i].load().planes, order))
    for i, planes in zip(order, found):
        assert np.array_equal(planes, features_v7(positions[i])[0])


def stones(sample: Any) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Black's and White's points (y, x) in what the network gets."""
    planes = sample.load().planes
    own, other = ({(int(y), int(x)) for y, x in np.argwhere(planes[i])} for i in (1, 2))
    return (own, other) if sample.columns["to_move"] == "black" else (other, own)


def test_stones_set_up_before_and_in_the_middle(tmp_path: Path):
    text = "(;SZ[9]AB[aa][cc]AW[ee]PL[W];W[dd];B[gg];AE[aa]AW[ii];W[hh])"
    listed = one(tmp_path, text).listing()
    assert [stones(sample) for sample in listed] == [
        ({(0, 0), (2, 2)}, {(4, 4)}),
        ({(0, 0), (2, 2)}, {(4, 4), (3, 3)}),
        ({(2, 2), (6, 6)}, {(4, 4), (3, 3), (8, 8)}),
        ({(2, 2), (6, 6)}, {(4, 4), (3, 3), (8, 8), (7, 7)}),
    ]
    assert [sample.columns["to_move"] for sample in listed] == ["white", "black", "white", "black"]
    assert not listed[2].load().planes[9:14].any()  # what is set up cuts the history
    assert listed[3].load().planes[9:14].sum() == 1


def test_handicap_stones_and_what_white_gets_for_them(tmp_path: Path):
    text = "(;SZ[19]HA[3]KM[0.5]RU[{}]AB[dd][pd][dp];W[pp];B[jj])"
    komi = GLOBALS.index("self_komi")
    for rules, bonus in (("chinese", 3), ("aga", 2), ("tromp-taylor", 0)):
        listed = one(tmp_path, text.format(rules)).listing()
        assert [sample.columns["to_move"] for sample in listed] == ["white", "black", "white"]
        shown = [20 * float(sample.load().globals[komi]) for sample in listed]
        assert shown == pytest.approx([0.5 + bonus, -0.5 - bonus, 0.5 + bonus])
        assert len(stones(listed[0])[0]) == 3


@pytest.mark.parametrize("size", ["2", "9", "13:7", "5:19", "19"])
def test_boards_of_all_sizes(tmp_path: Path, size: str):
    wide, high = (int(n) for n in (size.split(":") * 2)[:2])
    listed = one(tmp_path, f"(;SZ[{size}];B[aa];W[bb])").listing()
    assert listed[2].load().planes.shape == (22, high, wide)
    assert (listed[0].columns["board_y"], listed[0].columns["board_x"]) == (high, wide)


@pytest.mark.parametrize("size", ["1", "20", "19:20", "nine"])
def test_other_sizes_are_refused(tmp_path: Path, size: str):
    (sample,) = one(tmp_path, f"(;SZ[{size}];B[aa])").listing()
    with pytest.raises(SourceError, match="expected a board of 2x2 to 19x19") as error:
        sample.load()
    assert error.value.where.endswith("game.sgf:1")


def test_rules_and_komi_of_the_game_or_given(tmp_path: Path):
    text = "(;SZ[9]RU[japanese]KM[5.5];B[ee])"
    own, *_ = one(tmp_path, text).listing()
    assert own.columns["komi"] == 5.5
    assert own.load().globals[GLOBALS.index("territory")] == 1
    assert own.load().globals[GLOBALS.index("self_komi")] == np.float32(-5.5 / 20)
    given, *_ = one(tmp_path, text, rules="tromp-taylor", komi=7).listing()
    assert given.columns["komi"] == 7
    assert given.load().globals[GLOBALS.index("territory")] == 0
    assert given.load().globals[GLOBALS.index("suicide")] == 1
    assert given.load().globals[GLOBALS.index("self_komi")] == np.float32(-7 / 20)


@pytest.mark.parametrize(
    "options",
    [{"rules": "tennis"}, {"komi": 7.25}, {"komi": 1000}, {"every": 0}, {"start": -1}],
)
def test_wrong_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValueError, match="validation error"):
        SgfConfig(path=Path("x"), **options)


def test_what_comes_after_the_end_has_no_position(tmp_path: Path):
    assert turns(one(tmp_path, "(;SZ[9];B[ee];W[];B[])")) == [0, 1, 2]
    japanese = one(tmp_path, "(;SZ[9]RU[japanese];B[ee];W[];B[];W[cc];B[dd])")
    assert turns(japanese) == [0, 1, 2]  # the encore of KataGo is not modelled
    assert [sample.load().size for sample in japanese.listing()] == [(9, 9)] * 3


def test_a_game_that_begins_in_the_encore_has_no_positions(tmp_path: Path):
    encore = "(;SZ[9]RU[japanese]C[beganInEncorePhase=1];B[ee];W[cc])"
    assert one(tmp_path, encore).listing() == []


@pytest.mark.parametrize("passes", ["", ";B[];W[ff];B[];W[gg]"])
def test_an_illegal_move_is_the_error_of_the_positions_behind_it(tmp_path: Path, passes: str):
    listed = one(tmp_path, f"(;SZ[9]{passes};B[ee];W[cc]\n;B[cc];W[dd])").listing()
    good, bad = listed[:-2], listed[-2:]
    assert [sample.load().size for sample in good] == [(9, 9)] * len(good)
    for sample in bad:
        with pytest.raises(SourceError, match="expected an empty point, found a stone on C7") as e:
            sample.load()
        assert e.value.where.endswith("game.sgf:2")


def test_damaged_files_are_one_sample_each(folder: Path):
    (folder / "torn.sgf").write_text("(;SZ[9];B[ee]")
    source = sgf_source(folder, every=50)
    listed = source.listing()
    assert [s.id for s in listed] == [
        "g2.sgf:0",
        "more/g10.sgfs#1:0",
        "more/g10.sgfs#2:0",
        "torn.sgf",
    ]
    assert source.digest(listed[-1]) == ""
    with pytest.raises(SourceError) as error:
        listed[-1].load()
    assert "torn.sgf" in error.value.where


def digests(source: Sgf) -> list[str]:
    return [source.digest(sample) for sample in source.listing()]


def test_digests_say_what_decides_the_inputs(tmp_path: Path, play: Play, sgf: Record):
    positions = play(9, 9, 12, 1)
    plain = digests(one(tmp_path, sgf(positions, KM="6.5")))
    assert len(set(plain)) == 13
    assert digests(one(tmp_path, sgf(positions, KM="6.5", PB="Ada", C="words"))) == plain
    assert digests(one(tmp_path, sgf(positions[:8], KM="6.5"))) == plain[:8]
    for changed in (
        digests(one(tmp_path, sgf(positions, KM="7.5"))),
        digests(one(tmp_path, sgf(positions, KM="6.5", RU="chinese"))),
        digests(one(tmp_path, sgf(positions, KM="6.5"), counterfactual="zero_global")),
        digests(one(tmp_path, sgf(positions, KM="6.5"), symmetry=3)),
    ):
        assert not set(changed) & set(plain)


def test_previews_show_black_as_black(tmp_path: Path):
    source = one(tmp_path, "(;SZ[9];B[ee];W[cc];B[gg])")
    empty, first, _, third = source.preview([f"game.sgf:{turn}" for turn in range(4)])
    assert empty.data.count("#d22") == 0
    assert (first.data.count('fill="#111"'), first.data.count('fill="#fff"')) == (1, 0)
    assert (third.data.count('fill="#111"'), third.data.count('fill="#fff"')) == (2, 1)
    assert third.data.count('cx="65" cy="65" r="2.4"') == 1  # the ring around the last move
    assert first.caption == "game.sgf:1"


def boards_of_sgfmill(text: bytes) -> list[list[tuple[str, tuple[int, int]]]]:
    """The occupied points of a game after each move, by another library."""
    sgf = pytest.importorskip("sgfmill.sgf")
    moves = pytest.importorskip("sgfmill.sgf_moves")
    game = sgf.Sgf_game.from_bytes(text)
    board, plays = moves.get_setup_and_moves(game)
    found = [board.list_occupied_points()]
    for colour, point in plays:
        if point:
            board.play(*point, colour)
        found.append(board.list_occupied_points())
    return found


def test_real_games_have_the_boards_that_sgfmill_plays(data: Path):
    compared = 0
    for path in sorted((data / "reference").glob("game[0-5]*.sgf")):
        expected = boards_of_sgfmill(path.read_bytes())
        for sample in sgf_source(path, every=5).listing():
            points = expected[sample.columns["turn"]]
            high = sample.columns["board_y"]
            by_colour = [{(high - 1 - y, x) for c, (y, x) in points if c == who} for who in "bw"]
            assert list(stones(sample)) == by_colour
            compared += 1
    assert compared > 100


def test_real_self_play_games_are_those_of_the_rows(data: Path):
    """The positions of one file of games and the rows made from them are the same inputs."""
    from actx_katago.positions.config import SelfplayConfig
    from actx_katago.positions.selfplay_source import Selfplay

    folder = data / "selfplay" / "selfplay_9x9_g170b6"
    rows = Selfplay(SelfplayConfig(path=folder)).listing()[::7]
    (path,) = sorted(folder.rglob("*.sgfs"))[:1]
    positions = {
        (sample.columns["game"], sample.columns["turn"]): sample
        for sample in sgf_source(path).listing()
    }
    compared = 0
    for row in rows:
        sample = positions.get((row.columns["game"], row.columns["turn"]))
        if sample is None or row.load().globals[15]:
            continue
        planes = sample.load().planes
        if np.array_equal(planes[1:3], row.load().planes[1:3]):  # else it lies beside the game
            assert np.array_equal(planes, row.load().planes)
            assert sample.columns["to_move"] == row.columns["to_move"]
            compared += 1
    assert compared > 20


def test_one_player_may_move_twice_and_a_pass_is_no_place(tmp_path: Path):
    listed = one(tmp_path, "(;SZ[9];B[ee];B[cc];W[])").listing()
    assert [sample.columns["to_move"] for sample in listed] == ["black", "black", "white", "black"]
    assert [sample.load().last for sample in listed] == [None, (4, 4), (2, 2), None]
    assert listed[3].load().globals[GLOBALS.index("pass_1")] == 1
