"""Ladders: known ones, and every chain of random games against a plain reading without shortcuts."""

import random

import pytest

from actx_katago.go.board import BLACK, NO_POINT, WHITE, bits, parse_board
from actx_katago.go.ladders import LadderReader
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules


def read(text, ko=None):
    board = parse_board(text)
    if ko:
        board.ko = board.grid.point(ko)
    return board, LadderReader().read(board)


def names(board, points):
    return {board.grid.name(p) for p in bits(points)}


LADDER = """
    . . X . . . . . .
    . X O . . . . . .
    . X . . . . . . .
    . . . . . . . . .
    . . . . . . . . .
    . . . . . . . . .
    . . . . . . . . .
    . . . . . . . . .
    . . . . . . . . .
"""


def test_a_ladder_runs_to_the_edge():
    board, ladders = read(LADDER)
    assert names(board, ladders.stones) == {"C8"}
    assert names(board, ladders.working[WHITE]) == {"D8"}
    assert not ladders.working[BLACK]


@pytest.mark.parametrize(
    ("breaker", "stone", "caught"), [("F5", "O", False), ("F5", "X", True), ("A1", "O", True)]
)
def test_a_stone_in_its_way_breaks_it(breaker, stone, caught):
    board = parse_board(LADDER)
    board.play(board.grid.point(breaker), BLACK if stone == "X" else WHITE)
    assert (LadderReader().read(board).stones >> board.grid.point("C8") & 1) == caught


def test_a_chain_in_atari_is_read_with_its_owner_to_move():
    board, ladders = read("""
        . O X . .
        O X . . .
        . O . . .
        . . . . .
        . . . . .
    """)
    assert "B4" not in names(board, ladders.stones)  # extends to three liberties
    board, ladders = read("""
        . O X O . .
        . O X O . .
        . O . O . .
        . . O . . .
        . . . . . .
    """)
    assert names(board, ladders.stones) == {"C5", "C4"}
    assert not ladders.working[BLACK]


def test_the_defender_may_capture_first():
    held = """
        . . O X O . .
        X . O X O . .
        X . O . O . .
        . X . O . . .
        . . . . . . .
    """
    board, ladders = read(held)
    assert names(board, ladders.stones) == {"D5", "D4"}
    # The white chain on its left is in atari, too: filling D3 captures it.
    board, ladders = read("""
        . X O X O . .
        X X O X O . .
        X X O . O . .
        . X X O . . .
        . . . . . . .
    """)
    assert not ladders.stones >> board.grid.point("D5") & 1
    assert compare(board, ladders) > 3


# -- a plain reading -------------------------------------------------------------------------------


class TooLong(Exception):
    pass


class Plain:
    """A dictionary board that is copied for every move; the search as KataGo's documentation has it."""

    def __init__(self, width, height, colours, ko):
        self.width, self.height, self.colours, self.ko = width, height, colours, ko

    def beside(self, p):
        x, y = p
        steps = ((x, y - 1), (x - 1, y), (x + 1, y), (x, y + 1))
        return [q for q in steps if 0 <= q[0] < self.width and 0 <= q[1] < self.height]

    def chain(self, p):
        stones, liberties, todo = {p}, set(), [p]
        while todo:
            for q in self.beside(todo.pop()):
                if q not in self.colours:
                    liberties.add(q)
                elif self.colours[q] == self.colours[p] and q not in stones:
                    stones.add(q)
                    todo.append(q)
        return stones, liberties

    def played(self, p, colour):
        """The board after a move; None where it is illegal."""
        if p == self.ko:
            return None
        new = Plain(self.width, self.height, {**self.colours, p: colour}, None)
        taken = set()
        for q in self.beside(p):
            if new.colours.get(q) == 3 - colour and not new.chain(q)[1]:
                taken |= new.chain(q)[0]
        for q in taken:
            del new.colours[q]
        stones, liberties = new.chain(p)
        if not liberties:
            return None
        if len(taken) == 1 and len(stones) == 1 and len(liberties) == 1:
            new.ko = next(iter(taken))
        return new

    def captures(self, p):
        """Moves of the chain's owner that capture beside it."""
        stones, _ = self.chain(p)
        moves = set()
        for s in stones:
            for q in self.beside(s):
                if self.colours.get(q) == 3 - self.colours[p]:
                    liberties = self.chain(q)[1]
                    if len(liberties) == 1:
                        moves |= liberties
        return moves


class Reading:
    def __init__(self):
        self.nodes = 0

    def defend(self, board, p, root):
        self.nodes += 1
        if self.nodes > 400:
            raise TooLong
        _, liberties = board.chain(p)
        if len(liberties) >= 2 or (board.ko is not None and not root):
            return False
        if root:
            board = Plain(board.width, board.height, board.colours, None)
        for move in board.captures(p) | liberties:
            new = board.played(move, board.colours[p])
            if new is not None and not self.attack(new, p):
                return False
        return True

    def attack(self, board, p):
        _, liberties = board.chain(p)
        if len(liberties) != 2:
            return len(liberties) < 2
        if self.double_ko(board, p, liberties):
            return True
        for move in liberties:
            new = board.played(move, 3 - board.colours[p])
            if new is not None and self.defend(new, p, False):
                return True
        return False

    def double_ko(self, board, p, liberties):
        own = board.colours[p]
        for q in liberties:
            if any(board.colours.get(r) != own for r in board.beside(q)):
                return False
            atari = [board.chain(r) for r in board.beside(q)]
            singles = {min(s): s for s, around in atari if around == {q}}
            if len(singles) != 1 or len(next(iter(singles.values()))) != 1:
                return False
            connected = Plain(board.width, board.height, {**board.colours, q: own}, None)
            if len(connected.chain(q)[1]) > 2:
                return False
        return not board.captures(p)

    def ladder(self, board, p):
        """Whether it is caught, and the attacker's working moves."""
        _, liberties = board.chain(p)
        if len(liberties) == 1:
            return self.defend(board, p, True), set()
        if len(liberties) != 2:
            return False, set()
        working = set()
        for move in liberties:
            new = board.played(move, 3 - board.colours[p])
            if new is not None and self.defend(new, p, True):
                working.add(move)
        return bool(working), working


def plain(board):
    width = board.grid.width
    colours = {
        (p % width, p // width): colour for colour in (1, 2) for p in bits(board.stones[colour])
    }
    ko = None if board.ko == NO_POINT else (board.ko % width, board.ko // width)
    return Plain(width, board.grid.height, colours, ko)


def compare(board, ladders):
    """The number of chains read; those whose plain reading takes too long are left out."""
    slow, width, compared = plain(board), board.grid.width, 0
    for colour in (1, 2):
        for chain in board.chains(colour):
            p = chain.points[0]
            try:
                caught, working = Reading().ladder(slow, (p % width, p // width))
            except TooLong:
                continue
            found = ladders.chains.get(chain)
            assert (found is not None and found.captured) == caught, (
                str(board),
                board.grid.name(p),
            )
            assert (ladders.stones & chain.stones == chain.stones) == caught
            moves = {(q % width, q // width) for q in bits(found.working)} if found else set()
            assert moves == working
            compared += 1
    return compared


@pytest.mark.parametrize("size", [(5, 5), (7, 6), (9, 9)])
def test_random_games_are_read_as_without_shortcuts_and_reuse(size):
    rng, chains, caught = random.Random(sum(size)), 0, 0
    for game in range(3):
        position = Position.start(*size, Rules(suicide=game % 2 == 0))
        reader = LadderReader()
        for _ in range(60):
            ladders = reader.read(position.board)
            chains += compare(position.board, ladders)
            caught += ladders.stones.bit_count()
            legal = [p for p in bits(position.board.empty) if position.legal(p)]
            position = position.play(rng.choice(legal) if legal else -1)
    assert chains > 500
    assert caught > 100


def test_reading_with_reuse_is_reading_anew():
    rng, position, reader = random.Random(1), Position.start(19, 19), LadderReader()
    reused = 0
    before = {}
    for turn in range(260):
        ladders = reader.read(position.board)
        fresh = LadderReader().read(position.board)
        assert {c: (r.captured, r.working) for c, r in ladders.chains.items()} == {
            c: (r.captured, r.working) for c, r in fresh.chains.items()
        }
        reused += sum(before.get(c) is r for c, r in ladders.chains.items())
        before = ladders.chains
        assert compare(position.board, ladders) > 0 if turn == 200 else True
        legal = [p for p in bits(position.board.empty) if position.legal(p)]
        position = position.play(rng.choice(legal))
    assert reused > 2000


DOUBLE_KO = """
    O X . X X . X O
    . O X X X X O .
    . . O O O O . .
    . . . . . . . .
"""


def test_two_kos_do_not_save_a_chain():
    board, ladders = read(DOUBLE_KO)
    assert {"D4", "C3"} <= names(board, ladders.stones)
    assert names(board, ladders.working[BLACK]) >= {"C4", "F4"}
    assert compare(board, ladders) > 3


def test_a_stone_in_atari_beside_two_kos_does():
    text = DOUBLE_KO.replace(". . O O O O . .", ". X O O O O . .")
    board, ladders = read(text.replace(". . . . . . . .", ". . X X X X . ."))
    assert compare(board, ladders) > 3
    assert "D4" not in names(board, ladders.stones)


def test_a_ko_left_to_the_defender_is_an_escape():
    # White's stone on B2 can be taken only by leaving a ko.
    board, ladders = read(
        """
        . O X . .
        O . O X .
        . O X . .
        . . . . .
    """,
        ko="B3",
    )
    assert compare(board, ladders) > 3
