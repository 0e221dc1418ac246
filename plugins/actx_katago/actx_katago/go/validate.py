"""Finds rows of training files that cannot be positions: a guard against files made with wrong settings.

Releases of KataGo's engine check nothing: told a tensor smaller than the boards, it writes planes over each
other, and the rows look like data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from actx_katago.chains import EMPTY, OPPONENT, OWN, find_chains
from actx_katago.go.features import KOMI_CLIP
from actx_katago.go.npz import GLOBAL, POLICY, TARGETS, VALUES, TrainingFile, board_sizes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]

_BATCH = 1024
NO_HASH = "0" * 32
_YES_NO = (0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 17)
"""Globals that are 0 or 1."""


class BadRow(NamedTuple):
    """A row that cannot be a position of Go, and everything that is wrong with it."""

    row: int
    reason: str


def validate_rows(file: TrainingFile, start: int = 0, stop: int | None = None) -> list[BadRow]:
    """The impossible rows of a range, in order. Raises SourceError where the file cannot be read.

    A row that looks possible is bad, too, where another of the same game is not: what spoils a game's
    rows is the size of its board, and the first moves may still happen to fit. So the first call looks at
    the whole file.
    """
    if file.impossible is None:
        file.impossible = _impossible(file)
    stop = file.rows if stop is None else stop
    return [BadRow(row, why) for row, why in file.impossible.items() if start <= row < stop]


def _impossible(file: TrainingFile) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for first in range(0, file.rows, _BATCH):
        checks = _checks(file, first, min(first + _BATCH, file.rows))
        for i in np.flatnonzero(np.any(list(checks.values()), axis=0)).tolist():
            reasons[first + i] = "; ".join(reason for reason, flags in checks.items() if flags[i])
    games = {file.hashes[row] for row in reasons} - {"", NO_HASH}
    for row, game in enumerate(file.hashes):
        if game in games:
            reasons.setdefault(row, "other rows of its game are impossible")
    return dict(sorted(reasons.items()))


def _checks(file: TrainingFile, start: int, stop: int) -> dict[str, Flags]:
    """For each thing that can be wrong, which rows have it."""
    planes = file.planes(start, stop)
    values = np.asarray(file.array(GLOBAL)[start:stop], np.float32)
    main_phase = (values[:, 12] == 0) & (values[:, 13] == 0)
    return (
        _board(planes)
        | _stones(planes)
        | _moves(planes, values, main_phase)
        | _globals(values, planes[:, 0])
        | _targets(file, start, stop, planes, main_phase)
    )


def _any(points: Flags) -> Flags:
    """Whether a row has any of its points, over all axes but the first."""
    found: Flags = np.logical_or.reduce(points.reshape(len(points), -1), axis=1)
    return found


def _board(planes: Flags) -> dict[str, Flags]:
    on_board = planes[:, 0]
    width, height = board_sizes(on_board)
    side = np.arange(on_board.shape[1])
    rectangle = (side < height[:, None])[:, :, None] & (side < width[:, None])[:, None, :]
    wrong = _any(rectangle != on_board) | (width < 2) | (height < 2)
    outside = _any(planes[:, 1:] & ~on_board[:, None])
    return {
        "the board is no rectangle in the upper left corner": wrong,
        "a plane is set off the board": outside,
    }


def _stones(planes: Flags) -> dict[str, Flags]:
    own, opponent = planes[:, 1], planes[:, 2]
    words = np.where(own, OWN, np.where(opponent, OPPONENT, np.where(planes[:, 0], EMPTY, "")))
    chains = find_chains(words)
    # Where no chain is, the label -1 takes the last entry, which says 9: none of the planes.
    liberties = np.append(chains.liberties, 9)[chains.label]
    shown = np.stack([liberties == n for n in (1, 2, 3)], axis=1)
    return {
        "own and opponent stones on one point": _any(own & opponent),
        "a chain without liberties": _any(liberties == 0),
        "the planes of liberties do not fit the stones": _any(shown != planes[:, 3:6]),
    }


def _moves(planes: Flags, values: NDArray[np.float32], main_phase: Flags) -> dict[str, Flags]:
    stones = planes[:, 1] | planes[:, 2]
    moves = planes[:, 9:14].reshape(len(planes), 5, -1).sum(axis=2)
    wrong_move = ((moves > 1) | ((moves > 0) & (values[:, :5] != 0))).any(axis=1)
    # The last move stands there, or it was a suicide.
    gone = _any(planes[:, 9] & ~planes[:, 2]) & (
        (values[:, 8] == 0) | _any(planes[:, 9] & planes[:, 1])
    )
    encore = _any(planes[:, (7, 8, 20, 21)])
    area = planes[:, 18] | planes[:, 19]
    territory, taxed = values[:, 9] == 1, values[:, 10] == 1
    wrong_area = np.where(territory, _any(area), _any(stones & ~area) & ~taxed)
    return {
        "two places for one past move": wrong_move,
        "the last move is not on the board": gone & main_phase,
        "a ko on a stone": _any(planes[:, 6] & stones) & main_phase,
        "a ladder without stones": _any(planes[:, 14] & ~stones),
        "a ladder move on a stone": _any(planes[:, 17] & stones),
        "one point in both players' area": _any(planes[:, 18] & planes[:, 19]),
        "area under territory scoring, or stones that are nobody's": wrong_area & main_phase,
        "planes of the encore in the main phase": encore & main_phase,
    }


def _globals(values: NDArray[np.float32], on_board: Flags) -> dict[str, Flags]:
    finite = np.isfinite(values).all(axis=1)
    switches = values[:, _YES_NO]
    area = on_board.reshape(len(on_board), -1).sum(axis=1)
    with np.errstate(invalid="ignore"):
        komi = np.abs(values[:, 5]) * 20 > area + KOMI_CLIP + 0.01
        wave = np.abs(values[:, 18]) > 0.5
    ko = (values[:, 6] != 0) != (np.abs(values[:, 7]) == 0.5)
    return {
        "a global input is not finite": ~finite,
        "a global switch is neither 0 nor 1": finite
        & ((switches != 0) & (switches != 1)).any(axis=1),
        "a komi beyond the board": komi,
        "globals 6 and 7 are no ko rule": finite
        & (ko | ((values[:, 7] != 0) & (values[:, 6] == 0))),
        "a parity wave beyond 0.5": wave,
    }


def _targets(
    file: TrainingFile, start: int, stop: int, planes: Flags, main_phase: Flags
) -> dict[str, Flags]:
    off_board = ~planes[:, 0].reshape(len(planes), -1)
    stones = (planes[:, 1] | planes[:, 2]).reshape(len(planes), -1)
    targets = file.array(TARGETS)[start:stop]
    policy = file.array(POLICY)[start:stop]
    # A target of weight zero is filled with anything.
    aims = targets[:, (26, 28)] > 0
    points = (policy[:, :, :-1] != 0) & aims[:, :, None]
    checks = {
        "a global target is not finite": ~np.isfinite(targets).all(axis=1),
        "a policy target is negative": _any(policy < 0),
        "a policy target off the board": _any(points & off_board[:, None]),
        "a policy target on a stone": _any(points[:, 0] & stones) & main_phase,
    }
    if VALUES in file.names:
        owner = file.array(VALUES)[start:stop, 0].reshape(len(planes), -1)
        checks["ownership off the board"] = _any((owner != 0) & off_board)
        checks["ownership beyond 1"] = _any(np.abs(owner.astype(np.int16)) > 1)
    return checks
