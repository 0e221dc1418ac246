"""Maps: rows as points in the plane, coloured by a column; each says on hover which row it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

POINTS = 2000
"""Rows that a map shows, at most: a seeded sample of more."""
COLOURS = 8
WIDTH, HEIGHT, EDGE = 700, 460, 8


@dataclass(frozen=True, slots=True)
class MapView:
    """``groups`` are (value of the column, colour number, points (x, y, words)), the most frequent first."""

    name: str
    column: str
    groups: Sequence[tuple[str, int, Sequence[tuple[float, float, str]]]]
    shown: int
    total: int


def draw_maps(
    name: str, places: np.ndarray, columns: Mapping[str, Sequence[Any]], titles: Sequence[str]
) -> list[MapView]:
    """One map per column, or one without colours. ``places`` is (rows, 2), finite."""
    total = len(places)
    rows = list(range(total))
    if total > POINTS:
        rows = np.sort(np.random.default_rng(0).choice(total, POINTS, replace=False)).tolist()
    points = _scaled(places[rows])
    words = [titles[row] for row in rows]
    if not columns:
        return [MapView(name, "", [("", 0, _join(points, words))], len(rows), total)]
    return [
        MapView(name, column, _grouped(points, words, [values[r] for r in rows]), len(rows), total)
        for column, values in columns.items()
    ]


def _grouped(
    points: np.ndarray, words: Sequence[str], values: Sequence[Any]
) -> list[tuple[str, int, list[tuple[float, float, str]]]]:
    known = ["none" if value is None else str(value) for value in values]
    order = [value for value, _ in Counter(known).most_common()]
    groups = []
    for number, value in enumerate(order):
        mine = [i for i, one in enumerate(known) if one == value]
        named = [f"{words[i]}: {value}" for i in mine]
        groups.append((value, number % COLOURS, _join(points[mine], named)))
    return groups


def _scaled(places: np.ndarray) -> np.ndarray:
    """Into the picture, in proportion, y upwards."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE])
    spread = np.where(high > low, high - low, 1)
    points = (places - (low + high) / 2) * (room / spread).min() * [1, -1]
    return np.asarray(points + np.array([WIDTH, HEIGHT]) / 2).round(1)


def _join(points: np.ndarray, words: Sequence[str]) -> list[tuple[float, float, str]]:
    return [(float(x), float(y), word) for (x, y), word in zip(points, words, strict=True)]
