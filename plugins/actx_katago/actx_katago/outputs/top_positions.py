"""The analyzer ``top-positions``: for each channel, part or component the positions of largest value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from actx_core import AnalysisError, Analyzer, Input, Result
from actx_katago.outputs.arrays import facts, number_names, to_move
from actx_katago.outputs.config import TopPositionsConfig
from actx_katago.outputs.marks import Diagram, Point, read_board, write_collection

FEW = 12
"""Columns that are taken where none are named."""
BLOCK = 1 << 24
"""Bytes of rows in memory at a time, about."""
KNOWN = ("sample", "replicate", "file", "game", "turn", "to_move", "y", "x")
"""Columns of rows that go into the table, where there are such."""


@dataclass(frozen=True)
class Top:
    """One column's rows of largest or smallest values, the most extreme first."""

    column: int
    name: str
    end: str
    rows: np.ndarray
    values: np.ndarray

    @property
    def title(self) -> str:
        return self.name if self.end == "largest" else f"{self.name}, smallest"


class TopPositions(Analyzer[TopPositionsConfig]):
    """The rows of the largest values of each column: as boards, as a table, and as SGF files.

    Columns are the numbers of a row, in C order where it has several axes. Values that are not finite are
    left out. Table: ``top``. Files: an SGF collection per column, with the stones as setup, a triangle on
    the last move, and a square on the point that the row is about.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        data = inputs[0]
        names = number_names(data.axes[1:], data.array.shape[1:])
        columns, variances = self._columns(data, len(names))
        values = _values(data, columns)
        ends = ("largest", "smallest") if self.config.end == "both" else (self.config.end,)
        groups = _groups(data) if self.config.one_per_game else None
        tops = [
            Top(column, names[column], end, *_extreme(found, end, groups, self.config.top))
            for column, found in zip(columns, values.T, strict=True)
            for end in ends
        ]
        missing = _write(data, tops, out)
        notes = list(self._notes(data, len(names), values, groups))
        if missing:
            notes.append(
                f"warning: {len(missing)} positions have no board, and are not in SGF files:"
                f" {', '.join(missing[:5])}"
            )
        return Result(
            tables={
                "top": _table(data, tops),
                "columns": {
                    "column": columns,
                    "name": [names[column] for column in columns],
                    "variance": variances,
                },
            },
            groups={top.title: top.rows.tolist() for top in tops},
            notes=notes,
        )

    def _columns(self, data: Input, count: int) -> tuple[list[int], list[float]]:
        """The numbers of the columns, and their variances."""
        named = list(dict.fromkeys(self.config.columns))
        if wrong := [column for column in named if column >= count]:
            raise AnalysisError(
                f"expected columns from 0 to {count - 1}, found {wrong}", where=data.name
            )
        variances = _variances(data, count)
        order = np.argsort(-variances, kind="stable")
        columns = named or order[:FEW].tolist()
        return columns, variances[columns].tolist()

    def _notes(
        self, data: Input, count: int, values: np.ndarray, groups: Sequence[Any] | None
    ) -> Iterator[str]:
        if not self.config.columns and count > FEW:
            yield f"the {FEW} of {count} columns whose values vary most"
        if groups is not None and "game" not in data.rows.column_names:
            yield "rows say no game: at most one row of each position"
        if left := int((~np.isfinite(values)).any(axis=1).sum()):
            yield f"{left} of {len(values)} rows hold values that are not finite, which are left out"


def _blocks(data: Input) -> Iterator[tuple[slice, np.ndarray]]:
    """All rows in order, as matrices of float64."""
    count, *shape = data.array.shape
    step = max(1, BLOCK // (8 * max(1, int(np.prod(shape)))))
    for start in range(0, count, step):
        rows = np.asarray(data.array[start : start + step], np.float64)
        yield slice(start, start + len(rows)), rows.reshape(len(rows), -1)


def _variances(data: Input, count: int) -> np.ndarray:
    """Of each column's finite values."""
    total, number, squares = np.zeros(count), np.zeros(count), np.zeros(count)
    for _, rows in _blocks(data):
        finite = np.isfinite(rows)
        total += np.where(finite, rows, 0).sum(axis=0)
        number += finite.sum(axis=0)
    if not number.any():
        raise AnalysisError("expected finite values, found none", where=data.name)
    mean = total / np.maximum(number, 1)
    for _, rows in _blocks(data):
        squares += np.where(np.isfinite(rows), (rows - mean) ** 2, 0).sum(axis=0)
    return squares / np.maximum(number, 1)


def _values(data: Input, columns: Sequence[int]) -> np.ndarray:
    found = np.empty((data.array.shape[0], len(columns)))
    for at, rows in _blocks(data):
        found[at] = rows[:, columns]
    return found


def _groups(data: Input) -> list[Any]:
    """What at most one row may be taken of: a game; where that is not known, a position."""
    samples: list[Any] = data.rows["sample"].to_pylist()
    if "game" not in data.rows.column_names:
        return samples
    games = data.rows["game"].to_pylist()
    return [game or sample for game, sample in zip(games, samples, strict=True)]


def _extreme(
    values: np.ndarray, end: str, groups: Sequence[Any] | None, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values, the most extreme first; of equal values the first row."""
    order = np.argsort(-values if end == "largest" else values, kind="stable")
    chosen: list[int] = []
    seen: set[Any] = set()
    for row in order[np.isfinite(values[order])].tolist():
        group = row if groups is None else groups[row]
        if group not in seen:
            seen.add(group)
            chosen.append(row)
        if len(chosen) == top:
            break
    rows = np.array(chosen, np.int64)
    return rows, values[rows]


def _table(data: Input, tops: Sequence[Top]) -> dict[str, list[Any]]:
    rows = np.concatenate([top.rows for top in tops])
    table: dict[str, list[Any]] = {
        "column": [top.column for top in tops for _ in top.rows],
        "name": [top.name for top in tops for _ in top.rows],
        "end": [top.end for top in tops for _ in top.rows],
        "rank": [rank + 1 for top in tops for rank in range(len(top.rows))],
        "row": rows.tolist(),
        "value": np.concatenate([top.values for top in tops]).tolist(),
    }
    known = data.rows.take(rows)
    return table | {
        name: known[name].to_pylist() for name in KNOWN if name in data.rows.column_names
    }


def _write(data: Input, tops: Sequence[Top], out: Path) -> list[str]:
    """Write the SGF files; returns the samples of rows that have no board."""
    rows = sorted({row for top in tops for row in top.rows.tolist()})
    previews = dict(zip(rows, data.preview(rows), strict=True))
    missing = []
    for top in tops:
        diagrams = []
        known = data.rows.take(top.rows).to_pylist()
        for rank, (row, value) in enumerate(zip(top.rows.tolist(), top.values, strict=True)):
            board = read_board(previews[row])
            if board is None:
                missing.append(known[rank]["sample"])
            else:
                name = f"{top.title}, {rank + 1} of {len(top.rows)}"
                text = f"{top.name} = {value:.6g}\n{facts(known[rank])}"
                marked = _marked(known[rank])
                diagrams.append(Diagram(board, name, text, to_move(known[rank]), marked))
        if diagrams:
            ending = "" if top.end == "largest" else "_smallest"
            path = out / f"{quote(top.name, safe='')}{ending}.sgf"
            path.write_text(write_collection(diagrams), "utf-8", newline="\n")
    return sorted(set(missing))


def _marked(known: dict[str, Any]) -> list[Point]:
    """The point that a row is about. The boards are those of replicate 0, others may be turned."""
    if known.get("replicate") or known.get("y") is None or known.get("x") is None:
        return []
    return [(int(known["y"]), int(known["x"]))]
