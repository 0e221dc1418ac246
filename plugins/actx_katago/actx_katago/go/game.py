"""Go games from SGF files, and their positions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actx_core import SourceError
from actx_katago.go.board import BLACK, MAX_SIZE, PASS, WHITE, Grid, grid
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules, parse_rules
from actx_katago.go.sgf import Node, read_trees

_HASH = re.compile(r"\bgameHash=([0-9A-Fa-f]{32})\b")
_ENCORE = re.compile(r"\bbeganInEncorePhase=[12]\b")
_NUMBER = re.compile(r"[+-]?[0-9]{1,6}(?:\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Move:
    """A stone or a pass (``point`` -1) of one player; ``line`` is its place in the file."""

    colour: int
    point: int
    line: int = 0


@dataclass(frozen=True, slots=True)
class Setup:
    """Stones put or taken outside of play (point sets), and who moves next, if it says so."""

    black: int
    white: int
    empty: int
    to_move: int | None
    line: int = 0


@dataclass(frozen=True, slots=True)
class Game:
    """One game: the first position is ``start``, ``steps`` follow. ``where`` is its file and line.

    ``encore`` marks self-play that begins after the main phase: none of its positions is given.
    ``index`` counts the games of the file from 0. ``hash`` is the ``gameHash`` of KataGo's self-play,
    which training rows carry too, in capitals; empty elsewhere. ``handicap`` is what HA says; White's
    bonus counts the stones that are set up.
    """

    path: Path
    index: int
    where: str
    width: int
    height: int
    rules: Rules
    start: Setup
    steps: tuple[Move | Setup, ...]
    black: str = ""
    white: str = ""
    name: str = ""
    result: str = ""
    hash: str = ""
    handicap: int = 0
    encore: bool = False

    @property
    def moves(self) -> tuple[Move, ...]:
        """The moves without what was set up."""
        return tuple(step for step in self.steps if isinstance(step, Move))

    def positions(self, every: int = 1, start: int = 0) -> Iterator[Position]:
        """The position before each move and the last one, of every k-th turn from ``start``.

        ``position.turn`` counts the moves before it. Positions after the end of the main phase are left
        out: ``turns()`` says which are there. Raises SourceError for an illegal move when it is reached.
        """
        for position in self._replay():
            if position.turn >= start and (position.turn - start) % every == 0:
                yield position

    def turns(self) -> list[int]:
        """The turns whose positions ``positions()`` gives; the others of ``len(moves) + 1`` are left out.

        Plays the game only where passes may have ended it; then it raises as ``positions`` does.
        """
        moves = self.moves
        if self.encore or sum(move.point == PASS for move in moves) > 1:
            return [position.turn for position in self._replay()]
        return list(range(len(moves) + 1))

    def _replay(self) -> Iterator[Position]:
        position = self._begin()
        for step in self.steps:
            if isinstance(step, Setup):
                position = self._set_up(position, step)
                continue
            position = position.with_to_move(step.colour)
            if not position.over:
                yield position
            try:
                position = position.play(step.point, step.colour)
            except ValueError as error:
                raise self.error(f"move {position.turn + 1}: {error}", step.line) from error
        if not position.over:
            yield position

    def _begin(self) -> Position:
        try:
            position = Position.start(
                self.width,
                self.height,
                self.rules,
                black=self.start.black,
                white=self.start.white,
                to_move=self.start.to_move or BLACK,
            )
        except ValueError as error:
            raise self.error(f"stones set up: {error}", self.start.line) from error
        position.over = self.encore
        return position

    def _set_up(self, position: Position, step: Setup) -> Position:
        try:
            return position.set_up(step.black, step.white, step.empty, step.to_move)
        except ValueError as error:
            raise self.error(f"stones set up: {error}", step.line) from error

    def error(self, message: str, line: int) -> SourceError:
        """An error at a line of this game's file."""
        where = f"{self.path}:{line}"
        return SourceError(f"game {self.index + 1}: {message}", where=where, hint=_WRONG)


_WRONG = "correct the record or take the game out"


def read_sgf(path: Path, *, rules: Rules | None = None, komi: float | None = None) -> list[Game]:
    """Every game of an ``.sgf`` or ``.sgfs`` file, main lines only.

    ``rules`` and ``komi`` replace what the file says; games that name no rules get KataGo's defaults,
    games without komi that of their rules. Raises SourceError with file and line for a damaged file,
    another game than Go, boards beyond 19x19, unknown rules, and points off the board.
    """
    games = []
    for index, nodes in enumerate(read_trees(path)):
        try:
            games.append(_Reader(path, index, nodes).game(rules, komi))
        except _Wrong as wrong:
            raise SourceError(
                f"game {index + 1}: {wrong}", where=f"{path}:{wrong.line}", hint=wrong.hint
            ) from None
    return games


class _Wrong(Exception):
    def __init__(self, message: str, line: int, hint: str = _WRONG) -> None:
        super().__init__(message)
        self.line, self.hint = line, hint


class _Reader:
    """Makes a Game of the nodes of one main line."""

    def __init__(self, path: Path, index: int, nodes: Sequence[Node]) -> None:
        self.path, self.index, self.nodes, self.root = path, index, nodes, nodes[0]
        self.grid = self._size()

    def game(self, rules: Rules | None, komi: float | None) -> Game:
        root = self.root
        steps: list[Move | Setup] = []
        start = self._setup(root) or Setup(0, 0, 0, None, root.line)
        steps += self._moves(root)
        for node in self.nodes[1:]:
            setup = self._setup(node)
            if setup and not steps and not setup.empty:
                # Handicap stones in nodes of their own before the first move still begin the game.
                start = _joined(start, setup)
            elif setup:
                steps.append(setup)
            steps += self._moves(node)
        if start.to_move is None:
            start = replace(start, to_move=self._first(start, steps))
        comment = root.text("C")
        found = _HASH.search(comment)
        return Game(
            self.path,
            self.index,
            f"{self.path}:{root.line}",
            self.grid.width,
            self.grid.height,
            self._rules(rules, komi),
            start,
            tuple(steps),
            black=root.text("PB"),
            white=root.text("PW"),
            name=root.text("GN"),
            result=root.text("RE"),
            hash=found[1].upper() if found else "",
            handicap=int(self._number("HA", 0)),
            encore=_ENCORE.search(comment) is not None,
        )

    def _first(self, start: Setup, steps: Sequence[Move | Setup]) -> int:
        """Who moves first where the record does not say: the mover of the first move, else by handicap."""
        if steps and isinstance(steps[0], Move):
            return steps[0].colour
        return WHITE if start.black.bit_count() >= 2 and not start.white else BLACK

    def _size(self) -> Grid:
        if (kind := self.root.text("GM")) not in ("", "1"):
            raise self._wrong(f"expected a game of Go (GM[1]), found GM[{kind[:20]}]")
        size = self.root.text("SZ") or str(MAX_SIZE)
        found = re.fullmatch(r"([0-9]{1,3})(?:\s*:\s*([0-9]{1,3}))?", size)
        width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not (2 <= width <= MAX_SIZE and 2 <= height <= MAX_SIZE):
            raise self._wrong(f"expected a board of 2x2 to 19x19, found SZ[{size[:20]}]")
        return grid(width, height)

    def _number(self, name: str, default: float) -> float:
        text = self.root.text(name)
        if not text:
            return default
        if not _NUMBER.fullmatch(text):
            raise self._wrong(f"expected a number, found {name}[{text[:20]}]")
        return float(text)

    def _rules(self, rules: Rules | None, komi: float | None) -> Rules:
        try:
            rules = rules or parse_rules(self.root.text("RU"))
        except ValueError as error:
            raise self._wrong(str(error), "give the rules yourself: rules = ...") from None
        if komi is None:
            komi = self._number("KM", rules.komi)
        try:
            return replace(rules, komi=komi)
        except ValueError as error:
            raise self._wrong(str(error), "give the komi yourself: komi = ...") from None

    def _moves(self, node: Node) -> list[Move]:
        """The moves of a node: one, as SGF has it; where an old file gives both colours, in their order."""
        moves = []
        for name, values in node.properties.items():
            if name in ("B", "W"):
                if len(values) != 1:
                    raise self._wrong(f"expected one move, found {len(values)}", line=node.line)
                point = self._point(values[0], node.line)
                moves.append(Move(BLACK if name == "B" else WHITE, point, node.line))
        return moves

    def _point(self, value: str, line: int) -> int:
        value = value.strip()
        if value in ("", "tt"):
            return PASS
        return self._stone(value, line)

    def _stone(self, value: str, line: int) -> int:
        x, y = (ord(c) - ord("a") for c in value) if len(value) == 2 else (-1, -1)
        if not (0 <= x < self.grid.width and 0 <= y < self.grid.height):
            size = f"{self.grid.width}x{self.grid.height}"
            raise self._wrong(
                f"expected a point of the {size} board, found [{value[:20]}]", line=line
            )
        return y * self.grid.width + x

    def _setup(self, node: Node) -> Setup | None:
        black, white, empty = (self._stones(node, name) for name in ("AB", "AW", "AE"))
        if black & white or empty & (black | white):
            raise self._wrong(
                "expected AB, AW and AE to differ, found a point in two", line=node.line
            )
        to_move = None
        if who := node.text("PL").upper()[:1]:
            if who not in "BW":
                raise self._wrong(f"expected PL[B] or PL[W], found PL[{who}]", line=node.line)
            to_move = BLACK if who == "B" else WHITE
        if not (black or white or empty or to_move):
            return None
        return Setup(black, white, empty, to_move, node.line)

    def _stones(self, node: Node, name: str) -> int:
        """The points of a list of single points and of rectangles (``aa:cc``)."""
        points = 0
        for value in node.properties.get(name, ()):
            if not value.strip():
                continue
            first, _, last = value.strip().partition(":")
            a = self._stone(first, node.line)
            b = self._stone(last or first, node.line)
            width = self.grid.width
            for y in range(a // width, b // width + 1):
                for x in range(a % width, b % width + 1):
                    points |= 1 << (y * width + x)
        return points

    def _wrong(self, message: str, hint: str = _WRONG, line: int = 0) -> _Wrong:
        return _Wrong(message, line or self.root.line, hint)


def _joined(first: Setup, second: Setup) -> Setup:
    """Two setups before the first move as one; the second overrides."""
    return Setup(
        first.black & ~second.white | second.black,
        first.white & ~second.black | second.white,
        0,
        second.to_move or first.to_move,
        second.line,
    )
