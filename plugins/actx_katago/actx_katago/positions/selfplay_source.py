"""The source ``selfplay``: rows of KataGo's self-play and training files (.npz)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actx_core import SourceError
from actx_katago.go.npz import BINARY, TrainingFile, board_sizes
from actx_katago.go.validate import validate_rows
from actx_katago.positions.config import SelfplayConfig
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.listed import Entry, Positions, Recent
from actx_katago.positions.variants import Variant, changed

BLOCK = 1024
"""Rows that are checked at once."""

WHOLE = ("visits", "game_type")
"""Targets that are whole numbers."""


class OpenFile:
    """One file, with the rows that were found to be impossible so far."""

    def __init__(self, path: Path) -> None:
        self.file = TrainingFile(path)
        self._bad: dict[int, Mapping[int, str]] = {}

    def reason(self, row: int) -> str:
        """Why a row cannot be a position; empty where it can."""
        block = row // BLOCK
        if block not in self._bad:
            bad = validate_rows(self.file, block * BLOCK, (block + 1) * BLOCK)
            self._bad[block] = {found.row: found.reason for found in bad}
        return self._bad[block].get(row, "")


class Selfplay(Positions[SelfplayConfig]):
    """Rows in the order of their files: ``FILE:ROW`` is a row's id.

    Columns: file, row, game (hash), turn, to_move, board_y, board_x, and the targets asked for. The files do
    not say the colour: ``to_move`` follows from the turn, and is none in games that begin in the encore.
    """

    endings = (".npz",)

    def __init__(self, config: SelfplayConfig) -> None:
        super().__init__(config)
        self._open = Recent(OpenFile)

    def entries(self, name: str, file: Path) -> Iterator[Entry]:
        rows = self._open(file).file
        side = rows.board_len
        board = np.unpackbits(rows.array(BINARY)[:, 0], axis=1, count=side * side)
        wide, high = board_sizes(board.view(np.bool_).reshape(-1, side, side))
        columns = {
            "game": rows.hashes,
            "turn": rows.turns.tolist(),
            "to_move": [(None, "black", "white")[colour] for colour in rows.to_move.tolist()],
            "board_y": high.tolist(),
            "board_x": wide.tolist(),
            **{target: self._target(rows, target) for target in self._scalars(rows)},
        }
        for row, values in enumerate(zip(*columns.values(), strict=True)):
            known = {"file": name, "row": row, **dict(zip(columns, values, strict=True))}
            yield Entry(f"{name}:{row}", known, row)

    def _scalars(self, rows: TrainingFile) -> list[str]:
        """The targets that are columns of samples."""
        asked = ["policy_pass" if t == "policy" else t for t in self.config.targets]
        return [target for target in asked if target != "ownership"]

    def _target(self, rows: TrainingFile, target: str) -> list[Any]:
        if target == "policy_pass":
            values = rows.policy()[:, -1]
        elif target == "policy_entropy":
            values = _entropy(rows.policy())
        else:
            values = rows.column(target)
        if target in WHOLE and np.isfinite(values).all():
            return list(values.astype(np.int64).tolist())
        return list(values.tolist())

    def inputs(self, file: Path, key: int) -> Inputs:
        opened = self._open(file)
        if self.config.check_rows and (why := opened.reason(key)):
            raise SourceError(
                f"row {key} cannot be a position: {why}",
                where=f"{file}:{key}",
                hint='leave such rows out with [run] on_error = "skip"; check_rows = false takes them',
            )
        return self._inputs(opened.file, file, key)

    def content(self, file: Path, key: int, variant: Variant) -> str:
        inputs = self._inputs(self._open(file).file, file, key)
        return changed(inputs, self.config, variant).digest()

    def _inputs(self, rows: TrainingFile, file: Path, row: int) -> Inputs:
        found = rows.read(row, row + 1)
        y, x = int(found.height[0]), int(found.width[0])
        if not (y and x):
            raise SourceError(f"row {row} has no board", where=f"{file}:{row}")
        planes = found.planes[0, :, :y, :x]
        moved = np.argwhere(planes[9])
        return Inputs(
            planes,
            found.globals[0],
            None if found.meta is None else found.meta[0],
            (int(moved[0, 0]), int(moved[0, 1])) if len(moved) else None,
            self._points(rows, row, y, x),
        )

    def _points(self, rows: TrainingFile, row: int, y: int, x: int) -> dict[str, np.ndarray]:
        """The targets that are columns of points."""
        side, points = rows.board_len, {}
        if "ownership" in self.config.targets:
            owner = rows.ownership(row, row + 1)
            points["ownership"] = np.full((y, x), np.nan) if owner is None else owner[0, :y, :x]
        if "policy" in self.config.targets:
            policy = rows.policy(row, row + 1)[0, :-1].reshape(side, side)
            points["policy"] = policy[:y, :x]
        return points


def _entropy(policy: np.ndarray) -> np.ndarray:
    """Of each row's distribution, in nats; NaN where there is none."""
    logs = np.log(policy, out=np.zeros_like(policy), where=policy > 0)
    entropy: np.ndarray = -(policy * logs).sum(axis=1)
    return entropy
