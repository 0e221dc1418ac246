"""The figures of concepts: alignment over layers, and the flow of rows between clusterings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import PercentFormatter

from actx_cluster.figures import INK, MARKERS, WIDE, brief, canvas, colour, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 24
"""Clusters of a clustering that the flow draws, the largest; all others are one, grey."""
GAP = 0.006
"""Between two clusters, as a share of the height."""
WIDTH = 0.03
LONGEST = 28


def alignments(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Overall alignment of clusterings in their order, a line for each threshold and k."""
    figure, (axes,) = canvas(widths=(1,))
    names = list(dict.fromkeys(line["clustering"] for line in lines))
    kinds = dict.fromkeys((line["k"], line["threshold"]) for line in lines)
    for number, (k, threshold) in enumerate(kinds):
        mine = [line for line in lines if (line["k"], line["threshold"]) == (k, threshold)]
        axes.plot(
            [names.index(line["clustering"]) for line in mine],
            [line["overall"] for line in mine],
            color=colour(number),
            marker=MARKERS[number % len(MARKERS)],
            ms=5,
            label=f"at least {threshold:.0%}" + (f", k = {k}" if k else ""),
        )
    _name(axes, names)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(ylabel="mean of alignment and coverage", ylim=(-0.02, 1.02))
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return png(figure)


def flow(codes: Sequence[np.ndarray], names: Sequence[str]) -> bytes:
    """The rows that all clusterings cluster, from one to the next; a bar's height is its rows."""
    figure, (axes,) = canvas(widths=(1,), height=5.6, width=WIDE)
    rows = np.logical_and.reduce([one >= 0 for one in codes])
    columns = [_largest(one[rows]) for one in codes]
    bars = [_stacked(columns[0], np.bincount(columns[0], minlength=SHOWN + 1).argsort()[::-1])]
    for before, after in pairwise(columns):
        bars.append(_stacked(after, _near(after, bars[-1], before)))
    for place, (column, (low, size)) in enumerate(zip(columns, bars, strict=True)):
        for cluster in np.flatnonzero(size).tolist():
            ink = INK if cluster == SHOWN else colour(cluster)
            axes.bar(place, size[cluster], WIDTH * 2, low[cluster], color=ink, align="center")
        if place + 1 < len(columns):
            _ribbons(axes, place, (column, columns[place + 1]), (bars[place], bars[place + 1]))
    _name(axes, names)
    axes.set(yticks=[], xlim=(-0.15, len(names) - 0.85))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return png(figure)


def _largest(codes: np.ndarray) -> np.ndarray:
    """The codes by size from 0 on, those past the largest all ``SHOWN``."""
    sizes = np.bincount(codes)
    place = np.empty(len(sizes), np.int64)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    found: np.ndarray = np.minimum(place, SHOWN)[codes]
    return found


def _stacked(codes: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower edge and height of each cluster's bar, the first of ``order`` on top; all together 1."""
    size = np.bincount(codes, minlength=SHOWN + 1) / max(1, len(codes))
    low = np.zeros(SHOWN + 1)
    top = 1.0
    for cluster in order.tolist():
        if size[cluster]:
            top -= size[cluster]
            low[cluster] = top
            top -= GAP
    return low, size


def _near(
    codes: np.ndarray, before: tuple[np.ndarray, np.ndarray], previous: np.ndarray
) -> np.ndarray:
    """The clusters by the mean height that their rows come from, so that few ribbons cross."""
    low, size = before
    heights = (low + size / 2)[previous]
    counts = np.bincount(codes, minlength=SHOWN + 1)
    means = np.bincount(codes, heights, minlength=SHOWN + 1) / np.maximum(counts, 1)
    return np.argsort(-means, kind="stable")


def _ribbons(
    axes: Axes,
    place: int,
    codes: tuple[np.ndarray, np.ndarray],
    bars: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> None:
    """A band for each two clusters that share rows."""
    counts = np.zeros((SHOWN + 1, SHOWN + 1))
    np.add.at(counts, codes, 1)
    heights = counts / max(1, len(codes[0]))
    left, right = (low + size for low, size in bars)  # the next free upper edge of each bar
    order = [np.argsort(-low, kind="stable").tolist() for low, _ in bars]
    for source in order[0]:
        for target in order[1]:
            height = heights[source, target]
            if not height:
                continue
            a, b = left[source], right[target]
            left[source] -= height
            right[target] -= height
            axes.add_patch(_band(place, (a, b), height, source))


def _band(place: int, tops: tuple[float, float], height: float, source: int) -> PathPatch:
    start, middle, end = place + WIDTH, place + 0.5, place + 1 - WIDTH
    a, b = tops
    curve = Outline.CURVE4
    outline = Outline(
        [
            *((start, a), (middle, a), (middle, b), (end, b)),
            *((end, b - height), (middle, b - height), (middle, a - height), (start, a - height)),
        ],
        [Outline.MOVETO, curve, curve, curve, Outline.LINETO, curve, curve, curve],
    )
    ink = INK if source == SHOWN else colour(source)
    return PathPatch(outline, facecolor=ink, alpha=0.35, lw=0)


def _name(axes: Axes, names: Sequence[str]) -> None:
    """Write the names below."""
    short = brief(names, LONGEST)
    axes.set_xticks(range(len(names)), short, rotation=20, ha="right", fontsize=8)
    for text in axes.get_xticklabels():
        text.set_parse_math(False)
