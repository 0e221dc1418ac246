"""The format ``katago-sgf``: the groups of positions that analyses found, such as clusters, as SGF files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from actx_core import Config, Format, Run, StoreError, TapArray, atomic
from actx_katago.outputs.arrays import finished
from actx_katago.outputs.marks import own_point, read_board, write_game
from actx_katago.outputs.query import run_source


class KatagoSgf(Format[Config]):
    """A folder per result of an analysis, as in the run's; in it, an SGF collection per group.

    Groups are those that the report shows: of clusters and parts the positions that stand for them.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        finished(run)
        found = [result for result in _results(run) if result[1]["groups"]]
        if not found:
            what = "expected an analysis that groups positions, found none"
            raise StoreError(what, where=str(run.path), hint="run one, such as kmeans")
        files: list[Path] = []
        with ExitStack() as stack:
            for folder, about in found:
                array = _array(run, about["inputs"][0]["name"])
                (path / folder).mkdir(parents=True, exist_ok=True)
                for number, (title, rows) in enumerate(about["groups"].items()):
                    file = path / folder / f"{number:03d}_{_slug(title)}.sgf"
                    text = "".join(_sgf_games(array, title, rows))
                    stack.enter_context(atomic(file)).write_text(text, "utf-8", newline="\n")
                    files.append(file)
        return files


def _results(run: Run) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """(folder, what is known) of each stored result."""
    root = run.path / "analyses"
    for file in sorted(root.glob("*/*/result.json")):
        yield file.parent.relative_to(root), json.loads(file.read_text("utf-8"))


def _array(run: Run, name: str) -> TapArray:
    """The array of a result's input, or the one that a chain began with."""
    return run[max((array for array in run.arrays if array in name), key=len)]


def _slug(title: str) -> str:
    return re.sub(r"[^\w.-]+", "_", title).strip("_")[:80]


def _sgf_games(array: TapArray, title: str, rows: Sequence[int]) -> Iterator[str]:
    known = array.rows.take(rows).to_pylist() if rows else []
    previews = run_source(array).preview([str(about["sample"]) for about in known])
    for rank, (about, preview) in enumerate(zip(known, previews, strict=True), 1):
        board = read_board(preview)
        if board is None:
            raise StoreError("the position cannot be drawn any more", where=str(about["sample"]))
        name = f"{title}, {rank} of {len(rows)}"
        yield write_game(board, about, name=name, comment=name, marked=own_point(about))
