"""The figure of probes: score, control task and random network over the order of taps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actx_cluster.figures import COLOURS, INK, WIDE, canvas, png

NAMED = 60
"""Taps up to which each has its name under the axis."""


def depth(lines: Sequence[Mapping[str, Any]], measure: str) -> bytes:
    """A line per model, with its interval; its control task is dashed, chance dotted in grey.

    Taps stand in the order in which they were read; of models with different taps, from first to last.
    """
    figure, (axes,) = canvas(widths=(1,), height=4.4, width=WIDE)
    series: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        series.setdefault(_split(line["input"])[0], []).append(line)
    taps = {tuple(_split(line["input"])[1] for line in own) for own in series.values()}
    for number, (name, own) in enumerate(series.items()):
        x = np.arange(len(own)) if len(taps) == 1 else np.linspace(0, 1, len(own))
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(x, _column(own, "score"), "o-", ms=4, color=colour, label=name)
        axes.fill_between(
            x, _column(own, "low"), _column(own, "high"), color=colour, alpha=0.2, lw=0
        )
        if own[0]["control"] is not None:
            axes.plot(x, _column(own, "control"), "--", color=colour, label=f"{name}: control task")
    axes.axhline(lines[0]["chance"], ls=":", color=INK, label="chance")
    axes.set_ylabel(measure)
    if len(taps) == 1 and len(names := next(iter(taps))) <= NAMED:
        axes.set_xticks(np.arange(len(names)), names, rotation=45, ha="right", fontsize=8)
    else:
        axes.set_xlabel("depth, from the first tap to the last")
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return png(figure)


def _split(name: str) -> tuple[str, str]:
    """The model of an input and its tap; analyses add their name before and the array's behind."""
    parts = name.split("/")
    if len(parts) >= 5:
        return "/".join([*parts[:3], parts[-1]]), "/".join(parts[3:-1])
    return "/".join(parts[:2]), "/".join(parts[2:])


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [line[name] for line in lines]
