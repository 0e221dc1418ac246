"""KataGo's V7 network inputs for a position, bit for bit as the engine computes them.

Main phase only; the planes and globals of the encore and of playout-doubling advantage stay zero.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from actx_katago.go.area import area
from actx_katago.go.board import NO_POINT, PASS
from actx_katago.go.position import Position

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLANES = (
    *("on_board", "own", "opponent", "liberties_1", "liberties_2", "liberties_3", "ko_banned"),
    *("encore_ko_own", "encore_ko_opponent"),
    *("move_1", "move_2", "move_3", "move_4", "move_5"),
    *("ladder", "ladder_1_ago", "ladder_2_ago", "ladder_working"),
    *("area_own", "area_opponent", "encore_own", "encore_opponent"),
)
"""The 22 planes by name; ``move_1`` is the last move."""

GLOBALS = (
    *("pass_1", "pass_2", "pass_3", "pass_4", "pass_5", "self_komi"),
    *("ko_superko", "ko_situational", "suicide", "territory", "tax", "tax_all"),
    *("encore_1", "encore_2", "pass_ends_phase", "pda_on", "pda", "button", "parity_wave"),
)
"""The 19 global inputs by name."""

KOMI_CLIP = 20
"""The network never sees a komi beyond the board's area and this."""


def features_v7(
    position: Position,
    board_len: int | None = None,
    *,
    draws: float = 0.5,
    self_komi: float | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Planes (22, H, W), bool, and globals (19,), float32, from the player to move.

    With ``board_len`` the planes are (22, L, L), the board in the upper left corner. ``draws`` is what a
    draw is worth to White in wins; ``self_komi`` replaces what the position says. Positions of one game
    share what they know of ladders: go through them in order. Raises ValueError where the board is larger
    than the tensor or the main phase is over.
    """
    if position.over:
        raise ValueError("expected a position of the main phase, found one after it")
    sets = [0] * len(PLANES)
    values = np.zeros(len(GLOBALS), np.float32)
    _stones(position, sets)
    shown = _history(position, sets, values)
    _ladders(position, sets, shown)
    owned = area(position.board, position.rules)
    sets[18], sets[19] = owned[position.to_move - 1], owned[2 - position.to_move]
    komi = position.self_komi(draws) if self_komi is None else self_komi
    _rules(position, values)
    set_komi(values, komi, position.board.grid.area, position.rules.scoring == "AREA")
    return _unpack(position, sets, board_len), values


def _stones(position: Position, sets: list[int]) -> None:
    board, mine = position.board, position.to_move
    sets[0] = board.grid.points
    sets[1], sets[2] = board.stones[mine], board.stones[3 - mine]
    empty = board.empty
    for colour in (1, 2):
        for chain in board.chains(colour):
            liberties = (chain.around & empty).bit_count()
            if liberties <= 3:
                sets[2 + liberties] |= chain.stones
    sets[6] = position.superko
    if board.ko != NO_POINT:
        sets[6] |= 1 << board.ko


def _history(position: Position, sets: list[int], values: NDArray[np.float32]) -> int:
    """The last moves, as far as they alternate between the players; how many are shown."""
    colour = 3 - position.to_move
    for ago, (mover, point) in enumerate(reversed(position.moves)):
        if mover != colour:
            return ago
        if point == PASS:
            values[ago] = 1
        else:
            sets[9 + ago] = 1 << point
        colour = 3 - colour
    return len(position.moves)


def _ladders(position: Position, sets: list[int], shown: int) -> None:
    """Ladders now and one and two moves ago; boards that the history does not show give the later one."""
    boards = [position.board, *position.boards[:shown]]
    boards += boards[-1:] * (3 - len(boards))
    read = position.ladders.read
    for plane, board in ((16, boards[2]), (15, boards[1]), (14, boards[0])):
        sets[plane] = read(board).stones
    sets[17] = read(position.board).working[3 - position.to_move]


def _rules(position: Position, values: NDArray[np.float32]) -> None:
    rules = position.rules
    if rules.ko != "SIMPLE":
        values[6], values[7] = 1, 0.5 if rules.ko == "POSITIONAL" else -0.5
    values[8] = rules.suicide
    values[9] = rules.scoring == "TERRITORY"
    values[10] = rules.tax != "NONE"
    values[11] = rules.tax == "ALL"
    values[14] = position.pass_ends_phase
    values[17] = position.button


def set_komi(values: NDArray[np.float32], komi: float, area: int, parity: bool) -> None:
    """Write the two inputs that depend on komi, in place: 5, and 18 where ``parity`` (area scoring).

    ``komi`` is that of the player to move, ``area`` the number of points of the board.
    """
    komi = float(np.clip(np.float32(komi), -(area + KOMI_CLIP), area + KOMI_CLIP))
    values[5] = np.float32(komi) / np.float32(20)
    if parity:
        values[18] = _parity_wave(komi, area)


def _parity_wave(komi: float, area: int) -> float:
    """A triangle wave of komi with period 2, zero where half a point more or less decides a draw."""
    floor = math.floor((komi - area % 2) / 2) * 2 + area % 2
    above = np.float32(komi) - np.float32(floor)
    if above < 0.5:
        return float(above)
    return float(1 - above if above < 1.5 else above - 2)


def _unpack(position: Position, sets: list[int], board_len: int | None) -> NDArray[np.bool_]:
    grid = position.board.grid
    size = -(-grid.area // 8)
    packed = np.frombuffer(b"".join(points.to_bytes(size, "little") for points in sets), np.uint8)
    tight = np.unpackbits(
        packed.reshape(len(sets), size), axis=1, count=grid.area, bitorder="little"
    )
    planes = tight.view(np.bool_).reshape(len(sets), grid.height, grid.width)
    if board_len is None:
        return planes
    if board_len < max(grid.width, grid.height):
        raise ValueError(
            f"expected a board of at most {board_len}x{board_len}, found {grid.width}x{grid.height}"
        )
    padded = np.zeros((len(sets), board_len, board_len), np.bool_)
    padded[:, : grid.height, : grid.width] = planes
    return padded
