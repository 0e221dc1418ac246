"""SGF files of positions with marks, for editors such as Sabaki and Lizzie."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actx_core import Preview
from actx_katago.outputs.arrays import facts
from actx_katago.positions.picture import STEP

Point = tuple[int, int]
"""(y, x), both from 0, y from the top."""

_SIZE = re.compile(r'viewBox="0 0 (\d+) (\d+)"')
_CIRCLE = re.compile(r'<circle cx="(\d+)" cy="(\d+)" r="[\d.]+" fill="(#111|#fff|none)"')


@dataclass(frozen=True, slots=True)
class Board:
    """The stones of a position, and its last move; ``size`` is (y, x)."""

    size: tuple[int, int]
    black: tuple[Point, ...]
    white: tuple[Point, ...]
    last: Point | None = None


def read_board(preview: Preview | None) -> Board | None:
    """The board that ``picture.draw_board`` drew; None for anything else.

    Analyzers know a position by the picture that its source gives, and by nothing else.
    """
    if preview is None or preview.kind != "svg":
        return None
    text = preview.data if isinstance(preview.data, str) else preview.data.decode()
    size = _SIZE.search(text)
    if size is None:
        return None
    points: dict[str, list[Point]] = {"#111": [], "#fff": [], "none": []}
    for x, y, fill in _CIRCLE.findall(text):
        points[fill].append((int(y) // STEP, int(x) // STEP))
    last = points["none"][0] if points["none"] else None
    black, white = tuple(points["#111"]), tuple(points["#fff"])
    return Board((int(size[2]) // STEP, int(size[1]) // STEP), black, white, last)


def write_game(
    board: Board,
    known: Mapping[str, Any],
    *,
    name: str,
    comment: str,
    marked: Sequence[Point] = (),
) -> str:
    """A position as a game of one node in SGF (FF[4]): stones as setup, who is to move, komi, rules.

    ``known`` are the columns of its row. A triangle is on the last move, labels 1, 2, … on ``marked``; the
    comment ends with what the row says of itself. A player of unknown colour is black, as in the picture.
    """
    y, x = board.size
    to_move = known.get("to_move") or "black"
    labels = [f"{_place(point)}:{i}" for i, point in enumerate(marked, 1)]
    values: dict[str, Sequence[str]] = {
        "SZ": [f"{x}" if x == y else f"{x}:{y}"],
        "GN": [_text(" ".join(name.split()))],
        "KM": [f"{known['komi']:g}"] if known.get("komi") is not None else [],
        "RU": [_text(known["rules"])] if known.get("rules") else [],
        "AB": [_place(point) for point in sorted(board.black)],
        "AW": [_place(point) for point in sorted(board.white)],
        "PL": [str(to_move)[0].upper()],
        "TR": [_place(board.last)] if board.last else [],
        "LB": labels,
        "C": [_text(f"{comment}\n{facts(known)}")],
    }
    texts = (key + "".join(f"[{v}]" for v in found) for key, found in values.items() if found)
    return f"(;FF[4]GM[1]CA[UTF-8]AP[actx]{''.join(texts)})\n"


def as_drawn(points: Sequence[Point], known: Mapping[str, Any]) -> Sequence[Point]:
    """Points as they lie on the picture: it shows replicate 0, of which other symmetries are turned."""
    return () if known.get("replicate") and known.get("symmetry") else points


def own_point(known: Mapping[str, Any]) -> Sequence[Point]:
    """The point that a row is about, if it is about one."""
    if known.get("y") is None or known.get("x") is None:
        return ()
    return as_drawn([(int(known["y"]), int(known["x"]))], known)


def point_name(point: Point, size: tuple[int, int]) -> str:
    """``D4``: columns skip I, row 1 is lowest."""
    return f"{'ABCDEFGHJKLMNOPQRST'[point[1]]}{size[0] - point[0]}"


def _place(point: Point) -> str:
    return f"{chr(97 + point[1])}{chr(97 + point[0])}"


def _text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("]", "\\]")
