"""A Go board whose point sets are Python integers: one bit per point, so that sets cost one operation.

Point ``p = y * width + x``; ``y = 0`` is the top row, as in SGF and in KataGo's planes. A chain knows its
stones and everything around them; its liberties are what of that is empty now, so that a move touches
only the chains it joins or captures.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

BLACK, WHITE = 1, 2
PASS = -1
NO_POINT = -1
MAX_SIZE = 19
COLUMNS = "ABCDEFGHJKLMNOPQRST"


class Grid:
    """The geometry of one board size; shared, from ``grid(width, height)``."""

    __slots__ = ("_inner", "_not_left", "area", "around", "height", "neighbours", "points", "width")

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height, self.area = width, height, width * height
        self.points = (1 << self.area) - 1
        left = sum(1 << (y * width) for y in range(height))
        self._not_left = self.points ^ left
        self._inner = self.points ^ (left << (width - 1))
        self.neighbours = tuple(tuple(self._beside(p)) for p in range(self.area))
        self.around = tuple(
            sum(1 << q for q in qs) | (1 << p) for p, qs in enumerate(self.neighbours)
        )

    def _beside(self, p: int) -> Iterator[int]:
        x, y = p % self.width, p // self.width
        if y:
            yield p - self.width
        if x:
            yield p - 1
        if x < self.width - 1:
            yield p + 1
        if y < self.height - 1:
            yield p + self.width

    def beside(self, points: int) -> int:
        """All points next to a point of the set (of the set itself only those next to others of it)."""
        return (
            (points << self.width)
            | (points >> self.width)
            | ((points & self._inner) << 1)
            | ((points & self._not_left) >> 1)
        ) & self.points

    def flood(self, seed: int, within: int) -> int:
        """The points of ``within`` that are connected to ``seed``."""
        found = seed & within
        while (grown := found | (self.beside(found) & within)) != found:
            found = grown
        return found

    def components(self, points: int) -> Iterator[int]:
        """The connected parts of a set, by their first point."""
        while points:
            part = self.flood(points & -points, points)
            points ^= part
            yield part

    def name(self, point: int) -> str:
        """The point as players say it: ``D4``, counted from the lower left; ``pass``."""
        if point == PASS:
            return "pass"
        return f"{COLUMNS[point % self.width]}{self.height - point // self.width}"

    def point(self, name: str) -> int:
        """The point called ``D4`` or ``pass``. Raises ValueError for one that is not on the board."""
        name = name.strip().upper()
        if name == "PASS":
            return PASS
        x = COLUMNS.find(name[:1]) if name else -1
        y = self.height - int(name[1:]) if name[1:].isdecimal() else -1
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise ValueError(
                f"expected a point on the {self.width}x{self.height} board, found {name!r}"
            )
        return y * self.width + x


@cache
def grid(width: int, height: int) -> Grid:
    """The geometry of a board of 1x1 to 19x19 points. Raises ValueError beyond."""
    if not (1 <= width <= MAX_SIZE and 1 <= height <= MAX_SIZE):
        raise ValueError(
            f"expected a board of at most {MAX_SIZE}x{MAX_SIZE}, found {width}x{height}"
        )
    return Grid(width, height)


def bits(points: int) -> Iterator[int]:
    """The members of a set of points, in order."""
    while points:
        low = points & -points
        yield low.bit_length() - 1
        points ^= low


class Chain:
    """Connected stones of one colour; never changed. ``around`` holds the stones and all next to them."""

    __slots__ = ("around", "colour", "points", "stones")

    def __init__(self, colour: int, stones: int, around: int, points: tuple[int, ...]) -> None:
        self.colour, self.stones, self.around, self.points = colour, stones, around, points


Undo = tuple[int, int, int, int, int, list[Chain], list[Chain]]


class Board:
    """Stones and the point of a simple ko. ``stones[BLACK]`` and ``stones[WHITE]`` are point sets.

    ``at[p]`` is the chain on a point or None; ``ko`` the point where a simple ko forbids to play now.
    """

    __slots__ = ("at", "empty", "grid", "ko", "stones")

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.stones = [0, 0, 0]
        self.empty = grid.points
        self.at: list[Chain | None] = [None] * grid.area
        self.ko = NO_POINT

    @classmethod
    def of(cls, grid: Grid, black: int, white: int) -> Board:
        """The board with these stones.

        Raises ValueError where a chain has no liberty or a point is both black and white.
        """
        if both := black & white:
            raise ValueError(f"expected one stone on {grid.name(next(bits(both)))}, found two")
        board = cls(grid)
        board.stones = [0, black, white]
        board.empty = grid.points & ~(black | white)
        for colour, stones in ((BLACK, black), (WHITE, white)):
            for part in grid.components(stones):
                around, points = part | grid.beside(part), tuple(bits(part))
                if not around & board.empty:
                    raise ValueError(f"expected liberties, found none at {grid.name(points[0])}")
                chain = Chain(colour, part, around, points)
                for p in points:
                    board.at[p] = chain
        return board

    def copy(self) -> Board:
        """An independent board with the same stones; chains are shared."""
        other = Board.__new__(Board)
        other.grid, other.empty, other.ko = self.grid, self.empty, self.ko
        other.stones, other.at = self.stones[:], self.at[:]
        return other

    def chains(self, colour: int) -> Iterator[Chain]:
        """The chains of one colour, by their first point."""
        left, at = self.stones[colour], self.at
        while left:
            chain = at[(left & -left).bit_length() - 1]
            assert chain is not None
            left ^= chain.stones
            yield chain

    def liberties(self, chain: Chain) -> int:
        """The chain's liberties, a point set."""
        return chain.around & self.empty

    def play(self, point: int, colour: int) -> Undo:
        """Put a stone on an empty point and take what it captures; a suicide takes itself.

        Checks nothing. ``undo`` takes back what is returned.
        """
        around, stones = self.grid.around[point], 1 << point
        points: tuple[int, ...] = (point,)
        at, empty = self.at, self.empty ^ stones
        joined: list[Chain] = []
        captured: list[Chain] = []
        for q in self.grid.neighbours[point]:
            chain = at[q]
            if chain is None:
                continue
            if chain.colour == colour:
                if chain not in joined:
                    joined.append(chain)
                    stones |= chain.stones
                    around |= chain.around
                    points += chain.points
            elif not chain.around & empty and chain not in captured:
                captured.append(chain)
        undo = (point, self.stones[1], self.stones[2], self.empty, self.ko, joined, captured)
        new = Chain(colour, stones, around, points)
        for p in points:
            at[p] = new
        self.ko = NO_POINT
        self.stones[colour] |= stones
        if captured:
            taken = 0
            for chain in captured:
                taken |= chain.stones
                for p in chain.points:
                    at[p] = None
            empty |= taken
            self.stones[3 - colour] ^= taken
            alone = len(points) == 1 and taken.bit_count() == 1
            if alone and around & empty == taken:
                self.ko = taken.bit_length() - 1
        elif not around & empty:
            for p in points:
                at[p] = None
            empty |= stones
            self.stones[colour] ^= stones
        self.empty = empty
        return undo

    def undo(self, undo: Undo) -> None:
        """Take back the last ``play``."""
        point, self.stones[1], self.stones[2], self.empty, self.ko, joined, captured = undo
        at = self.at
        at[point] = None
        for chain in joined:
            for p in chain.points:
                at[p] = chain
        for chain in captured:
            for p in chain.points:
                at[p] = chain

    def suicide(self, point: int, colour: int) -> int:
        """The number of stones that a move on an empty point would kill of its own colour; 0: none."""
        empty = self.empty ^ (1 << point)
        if self.grid.around[point] & empty:
            return 0
        dead = 1 << point
        for q in self.grid.neighbours[point]:
            chain = self.at[q]
            assert chain is not None  # no neighbour is empty
            if bool(chain.around & empty) == (chain.colour == colour):
                return 0
            if chain.colour == colour:
                dead |= chain.stones
        return dead.bit_count()

    def legal(self, point: int, colour: int, suicide: bool) -> bool:
        """Whether a stone may be put on a point: empty, no simple ko, no suicide but where allowed.

        A single stone may never kill itself: that is a pass, and KataGo has it as illegal.
        """
        if point == PASS:
            return True
        if point == self.ko or not self.empty >> point & 1:
            return False
        dead = self.suicide(point, colour)
        return dead == 0 or (suicide and dead > 1)

    def after(self, point: int, colour: int) -> tuple[int, int]:
        """Black and white stones after a move; the board stays as it is."""
        undo = self.play(point, colour)
        result = self.stones[1], self.stones[2]
        self.undo(undo)
        return result

    def __str__(self) -> str:
        """Rows of ``X`` (black), ``O`` (white) and ``.``, the top one first."""
        _, black, white = self.stones
        rows = []
        for y in range(self.grid.height):
            row = range(y * self.grid.width, (y + 1) * self.grid.width)
            rows.append(
                " ".join("X" if black >> p & 1 else "O" if white >> p & 1 else "." for p in row)
            )
        return "\n".join(rows)


def parse_board(text: str) -> Board:
    """The board drawn with ``X``, ``O`` and ``.``; the reverse of ``str(board)``.

    Raises ValueError for other characters or rows of different lengths.
    """
    rows = [row.replace(" ", "") for row in text.strip().splitlines()]
    if len({len(row) for row in rows}) != 1 or set("".join(rows)) - set("XO."):
        raise ValueError("expected rows of equal length made of X, O and .")
    cells = "".join(rows)
    black, white = (sum(1 << p for p, c in enumerate(cells) if c == s) for s in "XO")
    return Board.of(grid(len(rows[0]), len(rows)), black, white)
