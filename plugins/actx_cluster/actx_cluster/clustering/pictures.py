"""Figures of clusterings: the tree, cut to its top so that it stays readable, and the sweep over k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import dendrogram as laid_out

from actx_cluster.figures import COLOURS, INK, WIDE, canvas, colour, png

LEAVES = 60
"""Branches that are drawn; what lies below is told by the number of its rows."""


def dendrogram(tree: np.ndarray, ks: Sequence[int], leaf: str = "row") -> bytes:
    """The top of a tree in scipy's form, with the heights where it falls into k clusters.

    ``leaf`` says what was merged.
    """
    leaves = min(LEAVES, len(tree) + 1)
    plan = laid_out(tree, p=leaves, truncate_mode="lastp", no_plot=True, color_threshold=0)
    figure, (axes,) = canvas((1,), height=4.4, width=WIDE)
    lines = [
        list(zip(x, y, strict=True)) for x, y in zip(plan["icoord"], plan["dcoord"], strict=True)
    ]
    axes.add_collection(LineCollection(lines, colors=INK, linewidths=1))
    axes.set_xlim(0, 10 * leaves)
    low, high = float(tree[1 - leaves, 2]), float(tree[-1, 2])
    axes.set_ylim(max(0.0, low - (high - low) / 4), high * 1.05 or 1)
    axes.set_xticks(np.arange(5, 10 * leaves, 10), plan["ivl"])
    axes.tick_params(axis="x", rotation=90, labelsize=8 if leaves > 20 else 9, length=0)
    shown = [k for k in sorted(ks) if 1 < k <= leaves]
    for number, k in enumerate(shown):
        height = float(tree[-k : len(tree) - k + 2, 2].mean())
        axes.axhline(height, color=colour(number), linewidth=1, linestyle="--")
        axes.annotate(
            f"k = {k}",
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour(number),
            annotation_clip=False,
        )
    hidden = len(ks) - len(shown) - (1 in ks)
    axes.set_xlabel(
        f"the {leaves} topmost branches: ({leaf}s) below each, or a {leaf}'s number"
        + (f"; {hidden} cut{'s' * (hidden > 1)} lie{'s' * (hidden == 1)} lower" if hidden else "")
    )
    axes.set_ylabel("height of the merge")
    return png(figure)


def sweep(
    ks: Sequence[int], curves: Mapping[str, Sequence[float | None]], suggested: int | None
) -> bytes:
    """One small plot for each measure over k; the k suggested is marked."""
    shown = {name: values for name, values in curves.items() if any(v is not None for v in values)}
    figure, plots = canvas((1,) * max(1, len(shown)), height=2.6)
    order = np.argsort(ks)
    for axes, (name, values) in zip(plots, shown.items(), strict=False):
        known = [(ks[i], values[i]) for i in order if values[i] is not None]
        axes.plot(*zip(*known, strict=True), color=COLOURS[0], marker="o", ms=4)
        if suggested is not None:
            axes.axvline(suggested, color=COLOURS[1], linewidth=1, linestyle="--")
        axes.set_title(name, color=INK, fontsize=9)
        axes.set_xlabel("k")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.tick_params(labelsize=8)
    return png(figure)
