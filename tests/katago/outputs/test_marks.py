"""SGF with marks: what an independent reader finds in it is the board that was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from sgfmill import sgf as sgfmill

from actx_core import Preview
from actx_katago.go.rules import parse_rules
from actx_katago.outputs.marks import Board, point_name, read_board, write_game
from actx_katago.positions.picture import draw_board


def drawn(black: np.ndarray, white: np.ndarray, last: tuple[int, int] | None) -> Preview:
    return Preview("svg", draw_board(black, white, last))


@pytest.mark.parametrize("size", [(9, 9), (13, 13), (19, 19), (5, 8), (2, 19)])
def test_a_picture_is_read_as_it_was_drawn(size: tuple[int, int]):
    rng = np.random.default_rng(0)
    stones = rng.integers(0, 3, size)
    black, white = stones == 1, stones == 2
    last = tuple(int(i) for i in np.argwhere(black)[-1])
    for shown in (last, None):
        board = read_board(drawn(black, white, shown))
        assert board is not None
        assert (board.size, board.last) == (size, shown)
        assert set(board.black) == {tuple(p) for p in np.argwhere(black).tolist()}
        assert set(board.white) == {tuple(p) for p in np.argwhere(white).tolist()}


@pytest.mark.parametrize(
    "preview", [None, Preview("text", "viewBox"), Preview("svg", "<svg></svg>")]
)
def test_what_is_no_picture_of_a_board_has_none(preview: Preview | None):
    assert read_board(preview) is None


def test_sgfmill_reads_what_is_written():
    board = Board((9, 9), ((0, 0), (4, 3), (8, 8)), ((2, 6), (4, 4)), (4, 4))
    known = {
        "sample": r"odd]name\[1].npz:3",
        "file": r"odd]name\[1].npz",
        "row": 3,
        "turn": 25,
        "to_move": "white",
        "komi": 6.5,
        "rules": "koPOSITIONALscoreAREAtaxNONEsui1button0whb0",
    }
    text = write_game(board, known, name="a]\n b", comment="x = 1", marked=[(4, 4), (0, 8)])
    game = sgfmill.Sgf_game.from_string(text)
    root = game.get_root()
    assert (game.get_size(), game.get_komi(), root.get("PL")) == (9, 6.5, "w")
    found_black, found_white, _ = root.get_setup_stones()
    assert {(8 - row, column) for row, column in found_black} == set(board.black)
    assert {(8 - row, column) for row, column in found_white} == set(board.white)
    assert root.get("TR") == {(4, 4)}
    assert dict(root.get("LB")) == {(4, 4): "1", (8, 8): "2"}
    assert root.get("GN") == "a] b"
    assert root.get("C").splitlines() == [
        "x = 1",
        known["sample"],
        rf"file {known['file']}, row 3, turn 25, white to move",
    ]
    assert parse_rules(root.get("RU")).suicide
    assert len(list(game.main_sequence_iter())) == 1


def test_a_player_of_unknown_colour_is_black_as_in_the_picture():
    text = write_game(Board((5, 8), (), ()), {"sample": "s", "to_move": None}, name="", comment="c")
    assert "SZ[8:5]" in text
    assert "PL[B]" in text
    assert "colours unknown, black to move" in text
    assert not any(name in text for name in ("AB[", "AW[", "TR[", "LB[", "KM[", "RU["))


def test_points_are_named_as_on_boards():
    assert point_name((0, 0), (9, 9)) == "A9"
    assert point_name((15, 8), (19, 19)) == "J4"
