"""The source ``sgf``: positions of game records, made into network inputs by the worker's threads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from threading import local
from typing import Any

from actx_core import SourceError
from actx_katago.go.board import BLACK, PASS, WHITE
from actx_katago.go.features import features_v7
from actx_katago.go.game import Game, Move, Setup, read_sgf
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules, parse_rules
from actx_katago.positions.config import SgfConfig
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.listed import Entry, Positions, Recent
from actx_katago.positions.variants import Variant

Key = tuple[int, int]
"""Number of the game in its file, and turn."""


class Replay(local):
    """Where a thread is in a game: the next position follows, an earlier one begins anew."""

    game: Game | None = None
    positions: Iterator[Position]
    at: Position | None = None

    def position(self, game: Game, turn: int) -> Position:
        """The position at a turn. Raises SourceError for an illegal move on the way."""
        if self.game is not game or (self.at is not None and self.at.turn > turn):
            self.game, self.positions, self.at = game, game.positions(), None
        while self.at is None or self.at.turn < turn:
            try:
                self.at = next(self.positions, None)
            except SourceError:
                self.game = None
                raise
            if self.at is None or self.at.turn > turn:
                self.game = None
                raise SourceError(
                    f"game {game.index + 1} has no position at turn {turn}: passes ended it before",
                    where=game.where,
                )
        return self.at


class Sgf(Positions[SgfConfig]):
    """Positions of the main lines of games, in order: ``FILE:TURN`` is a position's id.

    In files of several games it is ``FILE#GAME:TURN``, games counted from 1. Columns: file, game, turn,
    to_move, board_y, board_x, black, white, result, komi, rules.
    """

    endings = (".sgf", ".sgfs")

    def __init__(self, config: SgfConfig) -> None:
        super().__init__(config)
        self._rules = parse_rules(config.rules) if config.rules else None
        self._games = Recent(self._read)
        self._replay = Replay()

    def _read(self, file: Path) -> list[Game]:
        return read_sgf(file, rules=self._rules, komi=self.config.komi)

    def entries(self, name: str, file: Path) -> Iterator[Entry]:
        games = self._games(file)
        for game in games:
            called = f"{name}#{game.index + 1}" if len(games) > 1 else name
            known = {
                "file": name,
                "game": game.hash or called,
                "board_y": game.height,
                "board_x": game.width,
                "black": game.black,
                "white": game.white,
                "result": game.result,
                "komi": game.rules.komi,
                "rules": rules_text(game.rules),
            }
            for turn, to_move in self._turns(game):
                colour = "white" if to_move == WHITE else "black"
                columns = {**known, "turn": turn, "to_move": colour}
                yield Entry(f"{called}:{turn}", columns, (game.index, turn))

    def _turns(self, game: Game) -> Iterator[tuple[int, int]]:
        """(turn, player to move) of the positions asked for."""
        moves = game.moves
        try:
            turns = game.turns()
        except SourceError:  # an illegal move is the error of the positions behind it
            turns = list(range(len(moves) + 1))
        last = len(moves) if self.config.last is None else self.config.last
        for turn in turns:
            if (
                self.config.start <= turn <= last
                and not (turn - self.config.start) % self.config.every
            ):
                yield turn, _to_move(game, turn)

    def inputs(self, file: Path, key: Key) -> Inputs:
        game = self._games(file)[key[0]]
        position = self._replay.position(game, key[1])
        planes, globals_ = features_v7(position)
        return Inputs(planes, globals_, last=_last(position))

    def content(self, file: Path, key: Key, variant: Variant) -> str:
        """From the record up to here, so that no position is featurised: rules, stones, moves, change."""
        game = self._games(file)[key[0]]
        start, steps = game.start, _until(game, key[1])
        facts = (
            *(game.width, game.height, rules_text(game.rules), game.rules.komi),
            *(start.black, start.white, start.to_move, _to_move(game, key[1])),
            *((s.colour, s.point) if isinstance(s, Move) else _edit(s) for s in steps),
            *(
                self.config.model_dump_json(include={"counterfactual"}),
                variant.symmetry,
                variant.komi,
            ),
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()


def rules_text(rules: Rules) -> str:
    """Rules as KataGo writes them into SGF files, without the komi."""
    return (
        f"ko{rules.ko}score{rules.scoring}tax{rules.tax}sui{rules.suicide:d}"
        f"button{rules.button:d}whb{rules.handicap_bonus}"
    )


def _last(position: Position) -> tuple[int, int] | None:
    """Where the last move was played, (y, x)."""
    if not position.moves or position.moves[-1][1] == PASS:
        return None
    y, x = divmod(position.moves[-1][1], position.board.grid.width)
    return y, x


def _to_move(game: Game, turn: int) -> int:
    """Who moves at a turn: in the record, or after its last move."""
    moves = game.moves
    if turn < len(moves):
        return moves[turn].colour
    colour = game.start.to_move or BLACK
    for step in game.steps:
        colour = 3 - step.colour if isinstance(step, Move) else step.to_move or colour
    return colour


def _until(game: Game, turn: int) -> list[Move | Setup]:
    """The steps before the move of a turn."""
    found: list[Move | Setup] = []
    left = turn
    for step in game.steps:
        if isinstance(step, Move):
            if not left:
                break
            left -= 1
        found.append(step)
    return found


def _edit(setup: Setup) -> tuple[Any, ...]:
    return setup.black, setup.white, setup.empty, setup.to_move
