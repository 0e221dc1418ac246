"""The figures of similarity: heat maps of matrices, lines over depth, tuning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from actx_cluster.figures import COLOURS, INK, MARKERS, WIDE, WIDTH, brief, canvas, colour, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 60
"""Rows of a matrix up to which each has its name beside it."""
WRITTEN = 8
"""Rows of a matrix up to which its numbers stand in it."""
NARROW = 16
"""Rows of a matrix that fit into one column of the report."""
LONGEST = 34


def dissimilarities(square: np.ndarray, groups: Sequence[object], measure: str) -> bytes:
    """An RDM as a heat map; ``groups`` name its rows, equal neighbours once."""
    begins = [i for i, g in enumerate(groups) if i == 0 or g != groups[i - 1]]
    figure, axes = _square(len(begins))
    shown = axes.imshow(square, cmap="viridis", interpolation="nearest", rasterized=True)
    if len(begins) <= NAMED:
        ends = [*begins[1:], len(groups)]
        middles = [(a + b - 1) / 2 for a, b in zip(begins, ends, strict=True)]
        _names(axes, middles, [str(groups[i]) for i in begins])
        for edge in begins[1:] if len(begins) < len(groups) else ():
            axes.axhline(edge - 0.5, color="white", lw=0.6)
            axes.axvline(edge - 0.5, color="white", lw=0.6)
    else:
        axes.set(xlabel="condition", ylabel="condition")
    _bar(figure.colorbar(shown, ax=axes, shrink=0.8), measure)
    return png(figure)


def matrix(square: np.ndarray, names: Sequence[str], measure: str) -> bytes:
    """Values between all pairs of a few named things, with the numbers where there is room."""
    figure, axes = _square(len(names))
    shown = axes.imshow(square, cmap="viridis", interpolation="nearest")
    if len(names) <= NAMED:
        _names(axes, range(len(names)), brief(names, LONGEST))
    else:
        axes.set(xlabel="number in the table", ylabel="number in the table")
    if len(names) <= WRITTEN:
        middle = (np.nanmin(square) + np.nanmax(square)) / 2
        for (row, column), value in np.ndenumerate(square):
            ink = "black" if value > middle else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
    _bar(figure.colorbar(shown, ax=axes, shrink=0.8), measure)
    return png(figure)


def depth(lines: Mapping[str, np.ndarray], measure: str) -> bytes:
    """Values over the order of taps. A line is (3, taps): value, low and high; NaN hides an interval."""
    figure, (axes,) = canvas(widths=(1,))
    for number, (name, (middle, low, high)) in enumerate(lines.items()):
        places = np.arange(1, len(middle) + 1)
        ink = colour(number)
        axes.plot(places, middle, color=ink, marker=MARKERS[number % len(MARKERS)], ms=5)
        axes.plot([], [], color=ink, marker=MARKERS[number % len(MARKERS)], label=f" {name}"[-60:])
        axes.fill_between(places, low, high, color=ink, alpha=0.2, lw=0)
    axes.axhline(0, color=INK, lw=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="depth (tap or bin, from the input on)", ylabel=measure)
    legend = axes.legend(
        frameon=False, labelcolor=INK, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1)
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return png(figure)


def tuning(curves: np.ndarray, values: np.ndarray, selectivity: np.ndarray, name: str) -> bytes:
    """Curves (values, dimensions), each scaled to its own range and sorted by its peak; and selectivities."""
    figure, (left, right) = canvas(widths=(1.6, 1))
    low, high = curves.min(axis=0), curves.max(axis=0)
    scaled = (curves - low) / np.where(high > low, high - low, 1)
    order = np.argsort(curves.argmax(axis=0), kind="stable")
    shown = left.imshow(
        scaled[:, order].T, aspect="auto", cmap="viridis", interpolation="nearest", rasterized=True
    )
    some = np.unique(np.linspace(0, len(values) - 1, min(len(values), 7)).astype(int))
    left.set_xticks(some, [f"{values[i]:g}" for i in some])
    left.set(xlabel=name[:LONGEST], ylabel="dimension, by preferred value")
    left.xaxis.label.set_parse_math(False)
    _bar(figure.colorbar(shown, ax=left), "response, scaled")
    right.hist(selectivity[np.isfinite(selectivity)], bins=24, range=(0, 1), color=COLOURS[0])
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.set(xlabel="selectivity", ylabel="dimensions")
    return png(figure)


def _square(names: int) -> tuple[Figure, Axes]:
    """Room for a matrix: wide where as many names stand beside it."""
    wide = NARROW < names <= NAMED
    figure, (axes,) = canvas(
        (1,), height=WIDE * 0.75 if wide else WIDTH * 0.85, width=WIDE if wide else WIDTH
    )
    return figure, axes


def _names(axes: Axes, places: Sequence[float] | range, names: Sequence[str]) -> None:
    short = [n if len(n) <= LONGEST else f"…{n[1 - LONGEST :]}" for n in names]
    size = 9 if len(names) <= 30 else 7.5
    axes.set_xticks(list(places), short, rotation=90, fontsize=size)
    axes.set_yticks(list(places), short, fontsize=size)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)


def _bar(bar: object, label: str) -> None:
    axes: Axes = bar.ax  # type: ignore[attr-defined]
    axes.set_ylabel(label, color=INK)
    axes.tick_params(colors=INK)
    bar.outline.set_visible(False)  # type: ignore[attr-defined]
