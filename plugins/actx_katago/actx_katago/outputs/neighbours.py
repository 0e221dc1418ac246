"""The positions of a run that are nearest to a given one, with their boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actx_core import StoreError, TapArray, atomic
from actx_katago.outputs.arrays import facts, to_move
from actx_katago.outputs.marks import Diagram, read_board, write_collection
from actx_katago.outputs.query import Query, find_query, run_source
from actx_katago.outputs.search import Metric, distances, nearest


@dataclass(frozen=True)
class Neighbours:
    """What a search found: for each row its number, distance and columns, the nearest first."""

    query: Query
    metric: Metric
    nearest: Sequence[Mapping[str, Any]]
    without_distance: int


def find_neighbours(
    array: TapArray,
    position: str,
    *,
    top: int = 10,
    metric: Metric = "cosine",
    different_games: bool = False,
    same_size: bool = False,
) -> Neighbours:
    """Search an array for a position, which ``find_query`` explains; a position of the run is not its own.

    ``different_games``: at most one row per game, and none of the position's game, where games are known.
    """
    query = find_query(array, position)
    known = {name: array.rows[name].to_pylist() for name in ("sample", "board_y", "board_x")}
    among = np.ones(len(array), bool)
    if query.row is not None:
        among &= np.array([sample != query.sample for sample in known["sample"]])
    if same_size:
        size = query.columns["board_y"], query.columns["board_x"]
        boards = zip(known["board_y"], known["board_x"], strict=True)
        among &= np.array([board == size for board in boards])
    groups = None
    if different_games:
        games = array.rows["game"].to_pylist()
        groups = [g or sample for g, sample in zip(games, known["sample"], strict=True)]
        among &= np.array([group != query.columns.get("game") for group in groups])
    found = distances(array, query.vector, metric)
    rows, values = nearest(found, top=top, among=among, groups=groups)
    columns = array.rows.take(rows).to_pylist()
    lines = [
        {"row": row, "distance": value, **{k: v for k, v in known.items() if k != "row"}}
        for row, value, known in zip(rows.tolist(), values.tolist(), columns, strict=True)
    ]
    return Neighbours(query, metric, lines, int((~np.isfinite(found)).sum()))


def write_boards(array: TapArray, found: Neighbours, path: Path) -> None:
    """Write an SGF collection: the position that was looked for, then those found, nearest first.

    Raises StoreError where a position's file is not there any more.
    """
    query = found.query
    ids = [str(one["sample"]) for one in found.nearest]
    previews = [query.preview, *run_source(array).preview(ids)]
    columns = [{**query.columns, "sample": query.sample}, *found.nearest]
    diagrams = []
    for rank, (preview, known) in enumerate(zip(previews, columns, strict=True)):
        board = read_board(preview)
        if board is None:
            raise StoreError("the position cannot be drawn any more", where=str(known["sample"]))
        name, text = "the position", facts(known)
        if rank:
            name = f"{rank} of {len(ids)}"
            text = f"{found.metric} distance {known['distance']:.6g}\n{text}"
        diagrams.append(Diagram(board, name, text, to_move(known)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(write_collection(diagrams), "utf-8", newline="\n")
