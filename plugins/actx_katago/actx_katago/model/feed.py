"""A batch of positions as the tensors that a network takes, and the columns that poolers and rows need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from actx_core import ModelError, Sample, SourceError
from actx_katago.chains import EMPTY, OPPONENT, OWN
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.symmetry import turn

Columns = dict[str, dict[str, np.ndarray]]


def boards_of(samples: Sequence[Sample], size: tuple[int, int] | None, meta: int) -> list[Inputs]:
    """The positions of loaded samples. Raises an error that names the sample which the network cannot take.

    ``size`` is the only size allowed, (y, x); ``meta`` the number of metadata inputs that are needed.
    """
    boards = []
    for sample in samples:
        board = sample.data
        if not isinstance(board, Inputs):
            raise ModelError(
                f"expected a position as KataGo's V7 inputs, found {type(board).__name__}",
                where=sample.id,
                hint="use the source selfplay or sgf",
            )
        if size is not None and board.size != size:
            (y, x), (high, wide) = size, board.size
            raise SourceError(
                f"expected a board of {y} x {x}, found {high} x {wide}",
                where=sample.id,
                hint=f'leave out board_size, or say [rows] keep = "board_y == {y} and board_x == {x}"',
            )
        if meta and (board.meta is None or len(board.meta) != meta):
            raise SourceError(
                f"the network takes {meta} metadata inputs, the position has none",
                where=sample.id,
                hint="take training rows with metadataInputNC, or a network without metadata",
            )
        boards.append(board)
    return boards


def tensors(boards: Sequence[Inputs], meta: int, symmetry: int = 0) -> tuple[torch.Tensor, ...]:
    """Planes (N, 22, y, x) as large as the largest board, globals (N, 19), and metadata (N, 192) if any."""
    turned = [turn(board.planes, 1, 2, symmetry) for board in boards]
    high, wide = (max(planes.shape[axis] for planes in turned) for axis in (1, 2))
    spatial = np.zeros((len(boards), turned[0].shape[0], high, wide), np.float32)
    for n, planes in enumerate(turned):
        spatial[n, :, : planes.shape[1], : planes.shape[2]] = planes
    arrays = [spatial, np.stack([board.globals for board in boards])]
    if meta:
        arrays.append(np.stack([board.meta for board in boards if board.meta is not None]))
    return tuple(torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays)


def columns(boards: Sequence[Inputs]) -> Columns:
    """Of each position its size and last move (-1, -1: none); of each point its stone and ``points``."""
    sizes = np.array([board.size for board in boards], np.int16)
    last = np.array([board.last or (-1, -1) for board in boards], np.int16)
    names = dict.fromkeys(name for board in boards for name in board.points)
    points = [{"stone": _stones(board), **board.points} for board in boards]
    high, wide = sizes.max(axis=0)
    return {
        "sample": {
            "board_y": sizes[:, 0],
            "board_x": sizes[:, 1],
            "last_y": last[:, 0],
            "last_x": last[:, 1],
        },
        "y": {name: _padded(points, name, (high, wide)) for name in ("stone", *names)},
    }


def _stones(board: Inputs) -> np.ndarray:
    words = np.array([EMPTY, OWN, OPPONENT])
    stones: np.ndarray = words[board.planes[1] + 2 * board.planes[2]]
    return stones


def _padded(points: Sequence[Mapping[str, Any]], name: str, size: tuple[int, int]) -> np.ndarray:
    """One column of all positions, (N, y, x): nothing, or NaN, where a board ends or does not know."""
    first = next(np.asarray(known[name]) for known in points if name in known)
    empty: Any = "" if first.dtype.kind == "U" else np.nan
    full = np.full((len(points), *size), empty, first.dtype)
    for n, known in enumerate(points):
        if name in known:
            high, wide = known[name].shape
            full[n, :high, :wide] = known[name]
    return full
