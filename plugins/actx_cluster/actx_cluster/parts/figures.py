"""The figures of NMF: how large, distinct and stable each part is, and how a sweep of k went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from actx_cluster.figures import COLOURS, INK, canvas, png


def parts(shares: np.ndarray, unique: np.ndarray, stable: np.ndarray) -> bytes:
    """Each part's share beside how distinct and how stable it is."""
    figure, (left, right) = canvas(widths=(1, 1))
    numbers = np.arange(len(shares))
    left.bar(numbers, shares, color=COLOURS[0])
    left.set(xlabel="part", ylabel="share of the parts' squares")
    left.yaxis.set_major_formatter(PercentFormatter(1))
    right.plot(numbers, unique, "s", color=COLOURS[1], ms=4, label="uniqueness")
    if len(stable):
        right.plot(numbers, stable, "o", color=COLOURS[2], ms=4, label="stability")
    right.set(xlabel="part", ylim=(-0.02, 1.02))
    right.legend(frameon=False, labelcolor=INK)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return png(figure)


def sweep(fits: Mapping[str, Sequence[Any]]) -> bytes:
    """Reconstruction, and what the parts are worth, over the number of parts."""
    figure, (left, right) = canvas(widths=(1, 1))
    order = np.argsort(fits["k"])
    plots = ((left, "error"), (left, "r2"), (right, "uniqueness"), (right, "stability"))
    for number, (axes, name) in enumerate(plots):
        if name in fits:
            x, y = (np.asarray(fits[column])[order] for column in ("k", name))
            axes.plot(x, y, "o-", ms=4, color=COLOURS[number], label=name.replace("r2", "R²"))
    for axes in (left, right):
        axes.set(xlabel="parts", ylim=(-0.02, 1.02))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, labelcolor=INK)
    return png(figure)
