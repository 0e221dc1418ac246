"""Benson's life, territory, seki and taxes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_katago.go.area import area, pass_alive
from actx_katago.go.board import BLACK, WHITE, bits, parse_board
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules


def drawn(board, rules):
    black, white = area(board, rules)
    assert not black & white
    width = board.grid.width
    cells = [
        "X" if black >> p & 1 else "O" if white >> p & 1 else "." for p in range(board.grid.area)
    ]
    return ["".join(cells[y : y + width]) for y in range(0, board.grid.area, width)]


def test_two_eyes_live_and_take_what_is_inside():
    board = parse_board("""
        . X . X O . .
        X X X X O . .
        O O O O O . .
        . . . . . . .
        . . . . . . .
        . . . . . . .
        . . . . . . .
    """)
    alive = pass_alive(board, BLACK, False)
    assert alive == board.stones[BLACK] | 1 << 0 | 1 << 2
    assert pass_alive(board, WHITE, False) == 0


def test_a_stone_in_an_eye_is_captured():
    board = parse_board("""
        . O X . X O .
        X X X X X O .
        O O O O O O .
        . . . . . . .
    """)
    for suicide in (False, True):
        assert drawn(board, Rules(suicide=suicide))[0] == "XXXXXOO"


def test_one_eye_does_not_live():
    board = parse_board("""
        . X O . .
        X X O . .
        O O O . .
        . . . . .
        . . . . .
    """)
    assert pass_alive(board, BLACK, True) == 0
    assert drawn(board, Rules())[0] == "XXOOO"


def test_a_false_eye_that_another_chain_needs_does_not_live():
    board = parse_board("""
        . X O . .
        X . X O .
        O X X O .
        . O O . .
        . . . . .
    """)
    assert pass_alive(board, BLACK, False) == 0


def test_with_suicide_every_point_of_an_eye_must_touch_its_chain():
    board = parse_board("""
        O . X . X
        . X X X X
        X X . . .
        . . . . .
        . . . . .
    """)
    eyes = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 3
    assert pass_alive(board, BLACK, False) == board.stones[BLACK] | eyes
    assert pass_alive(board, BLACK, True) == 0


def brute_pass_alive(board, colour, suicide):
    """Benson's algorithm with sets, as his paper has it."""
    own, empty = set(bits(board.stones[colour])), set(bits(board.empty))
    points = range(board.grid.area)

    def parts(members):
        left, found = set(members), []
        while left:
            part, todo = set(), [next(iter(left))]
            while todo:
                p = todo.pop()
                if p in left:
                    left.discard(p)
                    part.add(p)
                    todo += board.grid.neighbours[p]
            found.append(part)
        return found

    def touches(p, chain):
        return any(q in chain for q in board.grid.neighbours[p])

    chains, regions = parts(own), parts(set(points) - own)
    while True:
        needed = [r if suicide else r & empty for r in regions]
        stay = [c for c in chains if sum(all(touches(p, c) for p in n) for n in needed) >= 2]
        gone = own.difference(*stay)
        kept = [r for r in regions if not any(touches(p, gone) for p in r)]
        if len(stay) == len(chains) and len(kept) == len(regions):
            break
        chains, regions = stay, kept
    alive = set().union(*chains)
    if not alive:
        return set()
    for region in regions:
        if sum(not touches(p, own) for p in region) <= 1:
            alive |= region
    return alive


@given(st.integers(0, 2**32 - 1), st.sampled_from([(4, 4), (5, 5), (6, 4), (7, 7)]), st.booleans())
def test_life_is_that_of_brute_force(seed, size, suicide):
    rng = random.Random(seed)
    position = Position.start(*size, Rules(suicide=suicide))
    for _ in range(rng.randrange(150)):
        legal = [p for p in bits(position.board.empty) if position.legal(p)]
        # Not to fill one's own eyes leaves something that lives.
        own = position.board.stones[position.to_move]
        legal = [p for p in legal if position.board.grid.around[p] & ~(1 << p) & ~own]
        position = position.play(rng.choice(legal) if legal else -1)
    for colour in (BLACK, WHITE):
        found = pass_alive(position.board, colour, suicide)
        assert set(bits(found)) == brute_pass_alive(position.board, colour, suicide)


def test_no_tax_gives_every_surrounded_point():
    board = parse_board("""
        . X . O .
        X X . O O
        . X . O .
        X X . O O
        . X . O .
    """)
    assert drawn(board, Rules()) == ["XX.OO"] * 5


@pytest.mark.parametrize("tax", ["SEKI", "ALL"])
def test_tax_takes_what_touches_a_neutral_point(tax):
    board = parse_board("""
        . X . O .
        X X . O O
        . X . O .
        X X . O O
        . X . O .
    """)
    assert drawn(board, Rules(tax=tax)) == [".X.O.", "XX.OO", ".X.O.", "XX.OO", ".X.O."]


def test_tax_leaves_territory_without_neutral_points():
    board = parse_board("""
        . X O . .
        X X O O O
        . X O . .
        X X O O O
        . X O . .
    """)
    assert drawn(board, Rules(tax="SEKI")) == ["XXOOO"] * 5


def test_a_stone_in_atari_spoils_its_area_under_tax():
    board = parse_board("""
        . X O . .
        X X O . .
        O O O . .
        . . . . .
        . . . . .
    """)
    assert drawn(board, Rules()) == ["XXOOO", "XXOOO", "OOOOO", "OOOOO", "OOOOO"]
    assert drawn(board, Rules(tax="ALL")) == [".XOOO", "XXOOO", "OOOOO", "OOOOO", "OOOOO"]


def test_territory_scoring_shows_no_area_in_the_main_phase():
    board = parse_board(". X\nX X")
    assert area(board, Rules(scoring="TERRITORY", suicide=False)) == (0, 0)


def test_an_empty_board_is_nobodys():
    position = Position.start(5, 5)
    assert area(position.board, Rules()) == (0, 0)
