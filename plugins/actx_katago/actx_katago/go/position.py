"""A game of Go at one moment: the board and what of the past the rules and the network look at."""

from __future__ import annotations

from copy import copy
from functools import cached_property

from actx_katago.go.board import BLACK, NO_POINT, PASS, WHITE, Board, bits, grid
from actx_katago.go.ladders import LadderReader
from actx_katago.go.rules import Rules

MOVES_SHOWN = 5
"""How many past moves KataGo's inputs show."""


class Position:
    """A position with its history; never changed: ``play`` gives the next one.

    ``board`` is shared between positions: do not play on it. ``turn`` counts the moves of the game,
    ``moves`` holds the last five at most as (colour, point), the latest last, and ``boards`` the boards
    one and two moves ago; both begin anew where stones are set up. ``over`` is set once passes have
    ended the main phase: what follows (KataGo's encore) is not modelled.
    """

    def __init__(self, board: Board, rules: Rules, to_move: int = BLACK, turn: int = 0) -> None:
        self.board, self.rules, self.to_move, self.turn = board, rules, to_move, turn
        self.moves: tuple[tuple[int, int], ...] = ()
        self.boards: tuple[Board, ...] = ()
        self.button = rules.button
        self.bonus = 0.0
        self.over = False
        self.ladders = LadderReader()
        self._passes = 0
        self._passed: frozenset[tuple[int, int, int]] = frozenset()
        self._seen = frozenset((self._key(board.stones[1], board.stones[2], to_move),))
        self._ever = (0, board.stones[1], board.stones[2])

    @classmethod
    def start(
        cls,
        width: int,
        height: int,
        rules: Rules | None = None,
        *,
        black: int = 0,
        white: int = 0,
        to_move: int = BLACK,
    ) -> Position:
        """The beginning of a game, with point sets set up; handicap stones bring White's bonus.

        Raises ValueError where a point is in both sets or a chain has no liberty.
        """
        rules = rules or Rules()
        position = cls(Board.of(grid(width, height), black, white), rules, to_move)
        if not white:
            position.bonus = handicap_bonus(rules, black.bit_count())
        position.bonus += position._paid()
        return position

    def play(self, point: int, colour: int | None = None) -> Position:
        """The position after a move; ``colour`` is normally the player to move.

        Like KataGo with game records, it lets pass what real games hold: ko and superko violations and
        suicide of several stones. Raises ValueError for a point that is taken or off the board, and for
        suicide of one stone.
        """
        point, colour = int(point), int(colour or self.to_move)  # numpy's integers would overflow
        board = self.board.copy()
        if point == PASS:
            board.ko = NO_POINT
        else:
            self._check(point, colour)
            board.play(point, colour)
        new = self._successor(board, 3 - colour)
        new.turn = self.turn + 1
        new.moves = (*self.moves, (colour, point))[-MOVES_SHOWN:]
        new.boards = (self.board, *self.boards)[:2]
        new.over = self.over and self.rules.scoring == "TERRITORY"
        if point == PASS:
            new._pass(self, colour)
        else:
            new._remember(self)
            if self.rules.scoring == "TERRITORY":
                new.bonus += 1 if colour == BLACK else -1
        return new

    def _check(self, point: int, colour: int) -> None:
        name = self.board.grid.name
        if not 0 <= point < self.board.grid.area:
            raise ValueError(f"expected a point of the board, found number {point}")
        if self.board.at[point]:
            raise ValueError(f"expected an empty point, found a stone on {name(point)}")
        if self.board.suicide(point, colour) == 1:
            raise ValueError(f"expected a legal move, found suicide of one stone at {name(point)}")

    def _successor(self, board: Board, to_move: int) -> Position:
        """A position with the same score and passes, and no history but the new board."""
        new = Position(board, self.rules, to_move, self.turn)
        new.button, new.bonus, new.ladders = self.button, self.bonus, self.ladders
        return new

    def _pass(self, before: Position, colour: int) -> None:
        if before.button:
            # Taking the button also clears what the ko rules remember.
            self.button = False
            self.bonus += 0.5 if colour == WHITE else -0.5
            return
        self.over |= before.pass_ends_phase
        self._passes = before._passes + 1
        self._remember(before)
        if self.rules.ko == "SIMPLE":
            self._passed |= {(*before.board.stones[1:], colour)}  # type: ignore[arg-type]

    def _remember(self, before: Position) -> None:
        self._passed = before._passed
        if self.rules.ko != "SIMPLE":
            self._seen |= before._seen
            _, black, white = self.board.stones
            self._ever = (0, before._ever[1] | black, before._ever[2] | white)

    def set_up(self, black: int, white: int, empty: int, to_move: int | None = None) -> Position:
        """The position with points made black, white and empty (point sets); the history is cut.

        Score and button stay; under territory scoring stones set up count like stones played. Raises
        ValueError where a chain is left without a liberty.
        """
        _, old_black, old_white = self.board.stones
        edited = black | white | empty
        board = Board.of(self.board.grid, old_black & ~edited | black, old_white & ~edited | white)
        new = self._successor(board, to_move or self.to_move)
        new.bonus += new._paid() - self._paid()
        return new

    def _paid(self) -> int:
        """White's bonus for the stones on the board: territory scoring is area scoring less one a stone."""
        if self.rules.scoring == "AREA":
            return 0
        _, black, white = self.board.stones
        return black.bit_count() - white.bit_count()

    def with_to_move(self, colour: int) -> Position:
        """The same position with the other player to move, as in records where one moves twice."""
        if colour == self.to_move:
            return self
        new = copy(self)
        new.to_move = colour
        for derived in ("superko", "pass_ends_phase"):
            new.__dict__.pop(derived, None)
        return new

    @cached_property
    def pass_ends_phase(self) -> bool:
        """Whether a pass now would end the main phase (under area scoring: the game)."""
        if self.button:
            return False
        return self._passes >= 1 or (*self.board.stones[1:], self.to_move) in self._passed

    @cached_property
    def superko(self) -> int:
        """The points, as a set, where only the superko rule forbids to play."""
        if self.rules.ko == "SIMPLE":
            return 0
        board, colour = self.board.copy(), self.to_move
        banned = 0
        # A move can only repeat a position that had this stone there, or it is a suicide.
        candidates = board.empty & self._ever[colour]
        if self.rules.suicide:
            candidates |= board.empty & ~board.grid.beside(board.empty)
        for p in bits(candidates):
            if board.legal(p, colour, self.rules.suicide):
                black, white = board.after(p, colour)
                if self._key(black, white, 3 - colour) in self._seen:
                    banned |= 1 << p
        return banned

    def _key(self, black: int, white: int, to_move: int) -> tuple[int, int, int]:
        return black, white, 0 if self.rules.ko == "POSITIONAL" else to_move

    def legal(self, point: int) -> bool:
        """Whether the player to move may play there under these rules; a pass always is."""
        point = int(point)
        if point == PASS:
            return True
        if not self.board.legal(point, self.to_move, self.rules.suicide):
            return False
        return not self.superko >> point & 1

    def self_komi(self, draws: float = 0.5) -> float:
        """Komi for the player to move, with all that has been paid so far.

        ``draws`` is how many wins a draw is worth to White; it counts where a draw can happen.
        """
        drawable = float(self.rules.komi).is_integer() != self.rules.button
        komi = self.rules.komi + self.bonus + (draws - 0.5 if drawable else 0.0)
        return komi if self.to_move == WHITE else -komi


def handicap_bonus(rules: Rules, stones: int) -> float:
    """What White gets for Black's handicap stones under these rules; one stone is none."""
    if stones < 2 or rules.handicap_bonus == "0":
        return 0.0
    return float(stones if rules.handicap_bonus == "N" else stones - 1)
