"""Maps: rows as points in the plane, coloured by a column; each says on hover which row it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from numbers import Integral
from typing import Any

import numpy as np

POINTS = 2000
"""Rows that a map shows, at most: a seeded sample of more."""
COLOURS = 8
GREY = COLOURS
"""Colour of rows without a value, or with a number below 0: they are in no group."""
NAMED = 60
"""Groups up to which each has its name at its median."""
WIDTH, HEIGHT, EDGE = 700, 460, 8

Point = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Points:
    """The rows of one value of a column: its colour's number, its points (x, y, words), and their middle."""

    value: str
    colour: int
    points: Sequence[Point]
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class MapView:
    """A map of ``total`` rows, coloured by ``column`` where it has a name."""

    name: str
    column: str
    groups: Sequence[Points]
    total: int

    @property
    def shown(self) -> int:
        """How many points there are."""
        return sum(len(group.points) for group in self.groups)

    @property
    def named(self) -> bool:
        """Whether each group has its name on the map."""
        return bool(self.column) and len(self.groups) <= NAMED

    def thinned(self, share: float) -> MapView:
        """The same with a share of the points."""
        step = ceil(1 / share)
        return replace(self, groups=[replace(g, points=g.points[::step]) for g in self.groups])


def chosen(total: int) -> list[int]:
    """The rows that a map shows."""
    if total <= POINTS:
        return list(range(total))
    rows: list[int] = np.random.default_rng(0).choice(total, POINTS, replace=False).tolist()
    return sorted(rows)


def draw_maps(
    name: str,
    places: np.ndarray,
    columns: Mapping[str, Sequence[Any]],
    titles: Sequence[str],
    total: int,
) -> list[MapView]:
    """One map of the chosen of ``total`` rows per column, or one without colours; places are (rows, 2)."""
    points = _scaled(places)
    if not columns:
        return [MapView(name, "", [_group("", 0, points, titles)], total)]
    return [
        MapView(name, column, _grouped(points, titles, values), total)
        for column, values in columns.items()
    ]


def _grouped(points: np.ndarray, words: Sequence[str], values: Sequence[Any]) -> list[Points]:
    """Numbers in their order, so that a cluster has one colour on every map; words by frequency."""
    if all(isinstance(value, Integral | None) for value in values):
        order = sorted(set(values), key=lambda v: (v is None or v < 0, v is None, v))
    else:
        order = [value for value, _ in Counter(values).most_common()]
    groups = []
    for place, value in enumerate(order):
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        number = int(value) if whole else place
        named = "none" if value is None else str(value)
        mine = [i for i, one in enumerate(values) if one == value]
        colour = GREY if value is None or number < 0 else number % COLOURS
        groups.append(_group(named, colour, points[mine], [f"{words[i]}: {named}" for i in mine]))
    return groups


def _group(value: str, colour: int, points: np.ndarray, words: Sequence[str]) -> Points:
    x, y = np.median(points, axis=0).round(1).tolist()
    joined = [(float(a), float(b), word) for (a, b), word in zip(points, words, strict=True)]
    return Points(value, colour, joined, x, y)


def _scaled(places: np.ndarray) -> np.ndarray:
    """Into the picture, in proportion, y upwards."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE])
    spread = np.where(high > low, high - low, 1)
    points = (places - (low + high) / 2) * (room / spread).min() * [1, -1]
    return np.asarray(points + np.array([WIDTH, HEIGHT]) / 2).round(1)
