"""Reads ladders as KataGo does for its inputs, and reuses what an earlier board has settled.

A chain with one liberty is laddered if its owner, to move, cannot save it; a chain with two if some move
of the attacker leaves it so. Three liberties escape, a ko left to the defender counts as an escape,
nobody kills a stone of their own. Every reading notes the region it looked at: while nothing there
changes, the answer stays. Source: the description of KataGo's input features and its ladder search.
"""

from __future__ import annotations

from typing import NamedTuple

from actx_katago.go.board import NO_POINT, Board, Chain, bits

MAX_MOVES = 25_000
MAX_DEPTH = 540
"""Limits of one search, as in KataGo; beyond, the chain counts as captured."""


class Ladder(NamedTuple):
    """What was read about one chain: ``working`` are the attacker's moves that catch two liberties.

    ``region`` holds every point that the answer depends on.
    """

    captured: bool
    working: int
    region: int


class Ladders:
    """All ladders of one board: ``stones`` that are caught, and ``working[colour]``, a point set.

    ``working[WHITE]`` are the moves that catch white chains of two liberties.
    """

    __slots__ = ("black", "chains", "ko", "stones", "white", "working")

    def __init__(self, board: Board, chains: dict[Chain, Ladder]) -> None:
        _, self.black, self.white = board.stones
        self.ko, self.chains = board.ko, chains
        self.stones, self.working = 0, [0, 0, 0]
        for chain, ladder in chains.items():
            if ladder.captured:
                self.stones |= chain.stones
                self.working[chain.colour] |= ladder.working

    def changed(self, board: Board) -> int:
        """The points where a board differs from the one that was read."""
        _, black, white = board.stones
        points = (self.black ^ black) | (self.white ^ white)
        if self.ko != board.ko:
            for ko in (self.ko, board.ko):
                if ko != NO_POINT:
                    points |= 1 << ko
        return points


class LadderReader:
    """Reads board after board of a game; what neither move touched is taken from the one before."""

    def __init__(self) -> None:
        self._read: tuple[tuple[Board, Ladders], ...] = ()

    def read(self, board: Board) -> Ladders:
        """The ladders of a board that nobody plays on any more."""
        for known, ladders in self._read:
            if known is board:
                return ladders
        known_chains: dict[Chain, Ladder] = {}
        changed = 0
        if self._read:
            latest = self._read[-1][1]
            known_chains, changed = latest.chains, latest.changed(board)
        chains: dict[Chain, Ladder] = {}
        scratch: Board | None = None
        empty = board.empty
        for colour in (1, 2):
            for chain in board.chains(colour):
                if (chain.around & empty).bit_count() > 2:
                    continue
                ladder = known_chains.get(chain)
                if ladder is None or ladder.region & changed:
                    scratch = scratch or board.copy()
                    ladder = _Search(scratch, chain).ladder()
                chains[chain] = ladder
        ladders = Ladders(board, chains)
        # A new tuple, so that threads may read at once.
        self._read = (*self._read[-2:], (board, ladders))
        return ladders


class _Search:
    """One chain's reading on a scratch board, which is left as it was."""

    __slots__ = ("attacker", "board", "chain", "defender", "moves", "point", "region")

    def __init__(self, board: Board, chain: Chain) -> None:
        self.board, self.chain, self.point = board, chain, chain.points[0]
        self.defender, self.attacker = chain.colour, 3 - chain.colour
        self.region = self.moves = 0

    def ladder(self) -> Ladder:
        board = self.board
        liberties = self.chain.around & board.empty
        if not liberties & (liberties - 1):
            captured = self._from_defender()
            return Ladder(captured, 0, self.region)
        working = 0
        self.region |= self.chain.around
        first, second = bits(liberties)
        for move, other in ((first, second), (second, first)):
            if self._runs(self.chain, move, other):
                continue
            self._look(move)
            if board.legal(move, self.attacker, False):
                undo = board.play(move, self.attacker)
                if self._from_defender():
                    working |= 1 << move
                board.undo(undo)
        return Ladder(working != 0, working, self.region)

    def _from_defender(self) -> bool:
        """The reading with the defender to move first, who wins every ko at once."""
        ko, self.board.ko = self.board.ko, NO_POINT
        self.moves = 0
        captured = self._defend(0)
        self.board.ko = ko
        return captured

    def _look(self, point: int) -> None:
        """Note that the answer depends on a point and on the chains beside it."""
        at, grid = self.board.at, self.board.grid
        region = self.region | grid.around[point]
        for q in grid.neighbours[point]:
            if chain := at[q]:
                region |= chain.around
        self.region = region

    def _grown(self, chain: Chain, point: int) -> int:
        """What surrounds the chain once its owner has played on a point: its liberties and more."""
        board = self.board
        around = chain.around | board.grid.around[point]
        for q in board.grid.neighbours[point]:
            if (friend := board.at[q]) and friend.colour == self.defender:
                around |= friend.around
        return around

    def _runs(self, chain: Chain, move: int, other: int) -> bool:
        """Whether after the attacker's move the other liberty gives three, so that nothing need be played."""
        around = self._grown(chain, other)
        if (around & self.board.empty & ~(1 << move | 1 << other)).bit_count() < 3:
            return False
        self.region |= around
        return True

    def _defend(self, depth: int) -> bool:
        """Whether the chain is caught with the defender to move."""
        board = self.board
        chain = board.at[self.point]
        assert chain is not None
        self.region |= chain.around
        liberties = chain.around & board.empty
        if liberties & (liberties - 1) or board.ko != NO_POINT:
            return False
        if depth >= MAX_DEPTH or self.moves >= MAX_MOVES:
            return True
        extension = liberties.bit_length() - 1
        around = self._grown(chain, extension)
        if (around & board.empty & ~liberties).bit_count() >= 3:
            self.region |= around
            return False
        for move in [*self._captures(chain), extension]:
            self._look(move)
            if board.legal(move, self.defender, False):
                self.moves += 1
                undo = board.play(move, self.defender)
                caught = self._attack(depth + 1)
                board.undo(undo)
                if not caught:
                    return False
        return True

    def _attack(self, depth: int) -> bool:
        """Whether the chain is caught with the attacker to move."""
        board = self.board
        chain = board.at[self.point]
        assert chain is not None
        self.region |= chain.around
        liberties = chain.around & board.empty
        count = liberties.bit_count()
        if count != 2:
            return count < 2
        if depth >= MAX_DEPTH or self.moves >= MAX_MOVES:
            return True
        first, second = bits(liberties)
        moves = [
            move
            for move, other in ((first, second), (second, first))
            if not self._runs(chain, move, other)
        ]
        if len(moves) == 2 and self._double_ko(chain, moves):
            return True
        for move in moves:
            self._look(move)
            if board.legal(move, self.attacker, False):
                self.moves += 1
                undo = board.play(move, self.attacker)
                caught = self._defend(depth + 1)
                board.undo(undo)
                if caught:
                    return True
        return False

    def _captures(self, chain: Chain) -> list[int]:
        """The defender's moves that capture a chain beside the hunted one."""
        board = self.board
        foes, moves = chain.around & board.stones[self.attacker], []
        while foes:
            foe = board.at[(foes & -foes).bit_length() - 1]
            assert foe is not None
            foes &= ~foe.stones
            self.region |= foe.around
            liberties = foe.around & board.empty
            if not liberties & (liberties - 1):
                moves.append(liberties.bit_length() - 1)
        return moves

    def _double_ko(self, chain: Chain, liberties: list[int]) -> bool:
        """Whether both liberties are mouths of a ko that the defender cannot get out of by connecting."""
        board = self.board
        for p in liberties:
            self._look(p)
            if not self._ko_mouth(p):
                return False
            if (self._grown(chain, p) & board.empty & ~(1 << p)).bit_count() > 2:
                return False
        return not self._captures(chain)

    def _ko_mouth(self, point: int) -> bool:
        """Whether the attacker would take exactly one stone there and nothing beside it is theirs."""
        board = self.board
        if board.grid.around[point] & (board.empty ^ 1 << point | board.stones[self.attacker]):
            return False
        taken = 0
        for q in board.grid.neighbours[point]:
            chain = board.at[q]
            assert chain is not None  # the point has no empty neighbour
            if chain.around & board.empty == 1 << point:
                taken += len(chain.points)
        return taken == 1
