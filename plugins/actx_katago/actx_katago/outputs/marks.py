"""SGF files of positions with marks, for editors such as Sabaki and Lizzie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actx_core import Preview
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


@dataclass(frozen=True, slots=True)
class Diagram:
    """A position as it is shown: ``to_move`` is black, white or unknown, ``marked`` points get a square."""

    board: Board
    name: str
    comment: str
    to_move: str | None = None
    marked: Sequence[Point] = ()


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


def write_collection(diagrams: Iterable[Diagram]) -> str:
    """SGF (FF[4]) with a game per diagram: stones as setup, a triangle on the last move, a comment."""
    return "".join(f"{_game(diagram)}\n" for diagram in diagrams)


def _game(diagram: Diagram) -> str:
    board = diagram.board
    y, x = board.size
    head = f"(;FF[4]GM[1]CA[UTF-8]AP[actx]SZ[{x if x == y else f'{x}:{y}'}]"
    parts = [head, _text("GN", " ".join(diagram.name.split()))]
    parts += [_points("AB", board.black), _points("AW", board.white)]
    if diagram.to_move in ("black", "white"):
        parts.append(f"PL[{diagram.to_move[0].upper()}]")
    marked = [point for point in diagram.marked if point != board.last]  # one mark on a point
    parts += [_points("TR", [board.last] if board.last else []), _points("SQ", marked)]
    return "".join([*parts, _text("C", diagram.comment), ")"])


def _points(name: str, points: Sequence[Point]) -> str:
    places = "".join(f"[{chr(97 + x)}{chr(97 + y)}]" for y, x in sorted(points))
    return f"{name}{places}" if places else ""


def _text(name: str, text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("]", "\\]")
    return f"{name}[{escaped}]"
