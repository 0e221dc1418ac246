"""Stones: captures, suicide, simple ko; against brute force and against sgfmill's board."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_katago.go.board import BLACK, NO_POINT, PASS, WHITE, Board, bits, grid, parse_board

SIZES = st.sampled_from([(2, 2), (5, 5), (7, 7), (9, 9), (3, 8), (6, 4)])
SEEDS = st.integers(0, 2**32 - 1)


def play_out(board, rng, moves=80, suicide=True):
    """Random legal moves; yields (point, colour, undo) after each."""
    colour = BLACK
    for _ in range(moves):
        legal = [p for p in bits(board.empty) if board.legal(p, colour, suicide)]
        if legal:
            point = rng.choice(legal)
            yield point, colour, board.play(point, colour)
        colour = 3 - colour


def brute_chain(board, point):
    """Stones and liberties of a chain, by walking."""
    _, black, white = board.stones
    colour_of = {
        p: 1 if black >> p & 1 else 2 if white >> p & 1 else 0 for p in range(board.grid.area)
    }
    width, height = board.grid.width, board.grid.height
    stones, liberties, todo = set(), set(), [point]
    while todo:
        p = todo.pop()
        if p in stones:
            continue
        stones.add(p)
        x, y = p % width, p // width
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if 0 <= x + dx < width and 0 <= y + dy < height:
                q = (y + dy) * width + x + dx
                if colour_of[q] == 0:
                    liberties.add(q)
                elif colour_of[q] == colour_of[point]:
                    todo.append(q)
    return stones, liberties


@given(SEEDS, SIZES)
def test_chains_and_liberties_are_those_of_brute_force(seed, size):
    board = Board(grid(*size))
    for _ in play_out(board, random.Random(seed), 40):
        seen = 0
        for colour in (BLACK, WHITE):
            for chain in board.chains(colour):
                stones, liberties = brute_chain(board, chain.points[0])
                assert set(chain.points) == stones == set(bits(chain.stones))
                assert set(bits(board.liberties(chain))) == liberties
                assert all(board.at[p] is chain for p in stones)
                assert liberties
                seen |= chain.stones
        assert seen == board.stones[1] | board.stones[2]
        assert board.empty == board.grid.points & ~seen
        assert all(board.at[p] is None for p in bits(board.empty))


@given(SEEDS, SIZES)
def test_a_board_played_is_the_board_set_up(seed, size):
    board = Board(grid(*size))
    for _ in play_out(board, random.Random(seed), 60):
        again = Board.of(board.grid, board.stones[1], board.stones[2])
        assert again.empty == board.empty
        for colour in (BLACK, WHITE):
            chains, others = (
                {(c.stones, c.around) for c in b.chains(colour)} for b in (board, again)
            )
            assert chains == others


@given(SEEDS, SIZES)
def test_undo_gives_the_board_back(seed, size):
    board = Board(grid(*size))
    rng = random.Random(seed)
    for _ in play_out(board, rng, 30):
        before = (board.stones[:], board.empty, board.ko, board.at[:])
        for colour in (BLACK, WHITE):
            for p in bits(board.empty):
                board.undo(board.play(p, colour))
        assert (board.stones, board.empty, board.ko, board.at) == before


@pytest.mark.parametrize("side", [5, 9, 19])
def test_games_go_as_on_the_board_of_sgfmill(side):
    boards = pytest.importorskip("sgfmill.boards")
    for seed in range(5):
        board, other = Board(grid(side, side)), boards.Board(side)
        for point, colour, _ in play_out(board, random.Random(seed), side * side * 2):
            row, col = side - 1 - point // side, point % side
            ko = other.play(row, col, "b" if colour == BLACK else "w")
            assert (None if board.ko == NO_POINT else board.ko) == (
                None if ko is None else (side - 1 - ko[0]) * side + ko[1]
            )
            for name, stones in (("b", board.stones[1]), ("w", board.stones[2])):
                found = {
                    (side - 1 - r) * side + c
                    for s, (r, c) in other.list_occupied_points()
                    if s == name
                }
                assert set(bits(stones)) == found


def test_a_capture_takes_every_chain_without_liberties():
    board = parse_board("""
        . O X . .
        O . O X .
        X O X . .
        . X . . .
        . . . . .
    """)
    assert board.suicide(board.grid.point("B4"), BLACK) == 0
    board.play(board.grid.point("B4"), BLACK)
    assert str(board).splitlines()[:3] == [". O X . .", "O X . X .", "X . X . ."]
    assert board.ko == NO_POINT


def test_suicide_of_one_stone_is_never_legal_of_several_where_allowed():
    board = parse_board("""
        . O . X .
        O O X X O
        . . O O .
        . . . . .
        . . . . .
    """)
    corner, eye = board.grid.point("A5"), board.grid.point("C5")
    assert board.suicide(corner, BLACK) == 1
    assert not board.legal(corner, BLACK, True)
    assert not board.legal(corner, BLACK, False)
    assert board.suicide(eye, WHITE) == 0
    board = parse_board("""
        . X O . .
        X X O . .
        O O O . .
        . . . . .
        . . . . .
    """)
    corner = board.grid.point("A5")
    assert board.suicide(corner, BLACK) == 4
    assert board.legal(corner, BLACK, True)
    assert not board.legal(corner, BLACK, False)
    board.play(corner, BLACK)
    assert board.stones[BLACK] == 0
    assert board.ko == NO_POINT
    assert board.legal(corner, WHITE, False)


def test_simple_ko_is_one_stone_taken_by_one_stone_with_one_liberty():
    board = parse_board("""
        . X O .
        X O . O
        . X O .
        . . . .
    """)
    taker, taken = board.grid.point("C3"), board.grid.point("B3")
    board.play(taker, BLACK)
    assert board.ko == taken
    assert not board.legal(taken, WHITE, True)
    board.play(board.grid.point("D1"), WHITE)
    assert board.ko == NO_POINT
    two = parse_board("""
        . X O .
        X O . O
        X O O .
        . X X .
    """)
    two.play(two.grid.point("C3"), BLACK)
    assert two.ko == NO_POINT


def test_points_have_names():
    points = grid(19, 19)
    assert points.point("A19") == 0
    assert points.point("T1") == 360
    assert points.point("j10") == 9 * 19 + 8
    assert points.name(points.point("Q16")) == "Q16"
    assert points.point("pass") == PASS
    assert points.name(PASS) == "pass"
    for wrong in ("I5", "U1", "A0", "A20", "", "A", "5"):
        with pytest.raises(ValueError, match="expected a point on the 19x19 board"):
            points.point(wrong)


def test_boards_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="expected liberties, found none at A2"):
        parse_board("XO\nO.")
    with pytest.raises(ValueError, match="one stone on A1, found two"):
        Board.of(grid(2, 2), 0b100, 0b100)
    with pytest.raises(ValueError, match="at most 19x19, found 20x19"):
        grid(20, 19)
    with pytest.raises(ValueError, match="rows of equal length"):
        parse_board("XO\nO")


def test_a_board_is_drawn_and_read():
    text = "X . O\n. X .\nO . ."
    assert str(parse_board(text)) == text
