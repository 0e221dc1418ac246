"""The analyzer ``top-positions``: for each channel, part or component the positions of largest value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from actx_core import AnalysisError, Analyzer, Input, Result
from actx_katago.outputs.arrays import first, games
from actx_katago.outputs.columns import Columns, End
from actx_katago.outputs.config import TopPositionsConfig
from actx_katago.outputs.marks import (
    Board,
    Point,
    as_drawn,
    own_point,
    point_name,
    read_board,
    write_game,
)

FEW = 32
"""Columns that are taken where none are named."""
LABELS = 3
"""Points of a plane that get a label."""
KNOWN = ("sample", "replicate", "file", "game", "turn", "to_move", "y", "x")
"""Columns of rows that go into the table, where there are such."""


@dataclass(frozen=True)
class Top:
    """One column's rows of largest or smallest values, the most extreme first.

    ``points[rank]`` are those that the value comes from: of a plane, or the one that the row is about.
    """

    column: int
    name: str
    end: End
    rows: np.ndarray
    values: np.ndarray
    points: Sequence[Sequence[Point]]

    @property
    def title(self) -> str:
        return self.name if self.end == "largest" else f"{self.name}, smallest"


class TopPositions(Analyzer[TopPositionsConfig]):
    """The rows of the largest values of each column: as boards, as a table, and as SGF files.

    Columns are the numbers of a row, in C order where it has several axes; where rows keep the points of
    the board, a column is a plane, and its value that of its largest point. Values that are not finite are
    left out. Tables: ``top``, ``columns``. Files: an SGF collection per column, with the stones as setup, a
    triangle on the last move, and labels on the points that the value comes from.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        data = inputs[0]
        columns = Columns(data)
        variances = columns.variances()
        chosen = self._chosen(data, variances)
        ends: tuple[End, ...] = (
            ("largest", "smallest") if self.config.end == "both" else (self.config.end,)
        )
        values = {end: columns.values(chosen, end) for end in ends}
        groups = games(data.rows) if self.config.one_per_game else None
        tops = [
            self._top(columns, column, end, values[end][:, i], groups)
            for i, column in enumerate(chosen)
            for end in ends
        ]
        missing = _write_files(data, tops, out)
        notes = list(self._notes(data, len(columns.names), values[ends[0]], missing))
        return Result(
            tables={
                "top": _table(data, tops),
                "columns": {
                    "column": chosen,
                    "name": [columns.names[column] for column in chosen],
                    "variance": variances[chosen].tolist(),
                },
            },
            groups={top.title: top.rows.tolist() for top in tops},
            notes=notes,
        )

    def _chosen(self, data: Input, variances: np.ndarray) -> list[int]:
        named = list(dict.fromkeys(self.config.columns))
        if wrong := [column for column in named if column >= len(variances)]:
            raise AnalysisError(
                f"expected columns from 0 to {len(variances) - 1}, found {wrong}", where=data.name
            )
        most: list[int] = np.argsort(-variances, kind="stable")[:FEW].tolist()
        return named or sorted(most)

    def _top(
        self,
        columns: Columns,
        column: int,
        end: End,
        values: np.ndarray,
        groups: Sequence[Any] | None,
    ) -> Top:
        rows = first(-values if end == "largest" else values, self.config.top, groups)
        known = columns.data.rows.take(rows).to_pylist()
        points = [
            as_drawn(columns.strongest(row, column, end, LABELS), about) or own_point(about)
            for row, about in zip(rows.tolist(), known, strict=True)
        ]
        return Top(column, columns.names[column], end, rows, values[rows], points)

    def _notes(
        self, data: Input, count: int, values: np.ndarray, missing: Sequence[str]
    ) -> Iterator[str]:
        if not self.config.columns and count > FEW:
            yield f"the {FEW} of {count} columns whose values vary most"
        if self.config.one_per_game and "game" not in data.rows.column_names:
            yield "rows say no game: at most one row of each position"
        if left := int((~np.isfinite(values)).any(axis=1).sum()):
            yield f"{left} of {len(values)} rows hold values that are not finite, which are left out"
        if missing:
            yield (
                f"warning: {len(missing)} positions have no board, and are not in SGF files:"
                f" {', '.join(missing[:5])}"
            )


def _table(data: Input, tops: Sequence[Top]) -> dict[str, list[Any]]:
    rows = np.concatenate([top.rows for top in tops])
    known = data.rows.take(rows)
    return {
        "column": [top.column for top in tops for _ in top.rows],
        "name": [top.name for top in tops for _ in top.rows],
        "end": [top.end for top in tops for _ in top.rows],
        "rank": [rank + 1 for top in tops for rank in range(len(top.rows))],
        "row": rows.tolist(),
        "value": np.concatenate([top.values for top in tops]).tolist(),
        **{name: known[name].to_pylist() for name in KNOWN if name in known.column_names},
    }


def _write_files(data: Input, tops: Sequence[Top], out: Path) -> list[str]:
    """Write the SGF files; returns the samples of rows that have no board."""
    rows = sorted({row for top in tops for row in top.rows.tolist()})
    boards = dict(zip(rows, map(read_board, data.preview(rows)), strict=True))
    for top in tops:
        if text := "".join(_sgf_games(data, top, boards)):
            ending = "" if top.end == "largest" else "_smallest"
            path = out / f"{quote(top.name, safe='')}{ending}.sgf"
            path.write_text(text, "utf-8", newline="\n")
    without = [row for row in rows if boards[row] is None]
    return sorted(set(data.rows["sample"].take(without).to_pylist())) if without else []


def _sgf_games(data: Input, top: Top, boards: Mapping[int, Board | None]) -> Iterator[str]:
    known = data.rows.take(top.rows).to_pylist()
    for rank, row in enumerate(top.rows.tolist()):
        if board := boards[row]:
            points = top.points[rank]
            said = [f"{top.name} = {top.values[rank]:.6g}"]
            said += [f"at {', '.join(point_name(p, board.size) for p in points)}"] if points else []
            yield write_game(
                board,
                known[rank],
                name=f"{top.title}, {rank + 1} of {len(top.rows)}",
                comment=" ".join(said),
                marked=points,
            )
