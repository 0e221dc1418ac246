"""The positions of a run that are nearest to a given one, with their boards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from actx_core import Preview, StoreError, TapArray, atomic
from actx_katago.outputs.arrays import facts, first, games
from actx_katago.outputs.marks import read_board, write_game
from actx_katago.outputs.query import Query, find_query, run_source
from actx_katago.outputs.search import Metric, distances

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.4 sans-serif; margin: 2em; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, 15em); gap: 1.5em; }}
figure {{ margin: 0; }}
figcaption {{ white-space: pre-line; overflow-wrap: anywhere; }}
</style>
<h1>{title}</h1>
<main>
{figures}
</main>
</html>
"""


@dataclass(frozen=True)
class Neighbours:
    """What a search found, the nearest first: of each row its columns, distance and ``array_row``."""

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
    one_per_game: bool = False,
) -> Neighbours:
    """Search an array for a position, which ``find_query`` explains; a position of the run is not its own.

    ``one_per_game``: at most one row of each game, and none of the position's own, where games are known.
    """
    query = find_query(array, position)
    found = distances(array, query.vector, metric)
    without_distance = int(np.isnan(found).sum())
    if query.row is not None:
        found[pc.equal(array.rows["sample"], query.sample).to_numpy()] = np.nan
    groups = games(array.rows) if one_per_game else None
    if groups is not None:
        found[np.array([game == query.columns.get("game") for game in groups])] = np.nan
    rows = first(found, top, groups)
    columns = array.rows.take(rows).to_pylist()
    lines = [
        {**known, "distance": float(found[row]), "array_row": row}
        for row, known in zip(rows.tolist(), columns, strict=True)
    ]
    return Neighbours(query, metric, lines, without_distance)


def write_boards(array: TapArray, found: Neighbours, path: Path) -> None:
    """Write the position that was looked for, then those found: .sgf, or else a page of pictures.

    Raises StoreError where a position's file is not there any more.
    """
    shown = list(_shown(array, found))
    if path.suffix == ".sgf":
        text = "".join(_sgf_games(shown))
    else:
        title = escape(f"{array.name}: nearest to {found.query.sample}")
        text = _PAGE.format(title=title, figures="\n".join(_figures(shown)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def _shown(array: TapArray, found: Neighbours) -> Iterator[tuple[Preview, Mapping[str, Any], str]]:
    """(picture, columns, what it is) of each position, that which was looked for first."""
    query = found.query
    previews = run_source(array).preview([str(one["sample"]) for one in found.nearest])
    columns = [{**query.columns, "sample": query.sample}, *found.nearest]
    for rank, known in enumerate(columns):
        preview = previews[rank - 1] if rank else query.preview
        if preview is None:
            raise StoreError("the position cannot be drawn any more", where=str(known["sample"]))
        distance = f"{rank}: {found.metric} distance {known['distance']:.6g}" if rank else "query"
        yield preview, known, distance


def _figures(shown: Sequence[tuple[Preview, Mapping[str, Any], str]]) -> Iterator[str]:
    for preview, known, name in shown:
        caption = escape(f"{name}\n{facts(known)}")
        yield f"<figure>{preview.data!s}<figcaption>{caption}</figcaption></figure>"


def _sgf_games(shown: Sequence[tuple[Preview, Mapping[str, Any], str]]) -> Iterator[str]:
    for preview, known, name in shown:
        board = read_board(preview)
        assert board is not None  # the sources of positions draw boards
        yield write_game(board, known, name=name, comment=name)
