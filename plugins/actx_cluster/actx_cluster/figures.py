"""The figures of the analyzers: PNGs that read well on light and dark pages and in any colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING
from warnings import catch_warnings, filterwarnings

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.decomposition import PCA

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#7b7b7b"
"""Grey whose contrast is 4.2 : 1 to white and to a dark page (#17181c); the background is transparent."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#c46c9f", "#c48700", "#3b94c9", "#7d66c4", "#8a7048")
"""The hues of Okabe and Ito (2008), darkened to at least 3 : 1 to both."""
MARKERS = "os^DvPX*"
SHOWN_ROWS = 20_000
WIDTH, WIDE = 6.0, 12.2
"""Inches of a figure in one of the report's two columns, and across both: letters are equally large."""
FEW = 40
"""Clusters up to which each has a colour of its own, as on the map, and a number."""


def plane(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Rows in the plane of their first two principal components, (rows, 2), float32."""
    count = min(2, *matrix.shape)
    places = np.zeros((len(matrix), 2), np.float32)
    centred = matrix - matrix.mean(axis=0, dtype=np.float64).astype(matrix.dtype)
    places[:, :count] = PCA(count, random_state=seed).fit_transform(centred)
    return places


def shown(count: int, seed: int) -> np.ndarray:
    """Which rows a scatter shows: all, or a seeded sample."""
    if count <= SHOWN_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, SHOWN_ROWS, replace=False))


def clusters(sizes: np.ndarray, silhouettes: Sequence[float | None] = ()) -> bytes:
    """Each cluster's rows, and how well it is set apart, in the order of their numbers."""
    known = [value is not None for value in silhouettes]
    figure, plots = canvas(widths=(1, 1) if any(known) else (1,), height=2.9)
    numbers = np.arange(len(sizes))
    few = len(sizes) <= FEW
    inks = [colour(n) for n in range(len(sizes))] if few else COLOURS[0]
    bars = plots[0].bar(numbers, sizes, width=0.8 if few else 1.0, color=inks)
    if len(sizes) <= 10:
        plots[0].bar_label(bars, padding=2, color=INK, fontsize=9)
    plots[0].set_ylabel("rows")
    if any(known):
        values = np.array([np.nan if value is None else value for value in silhouettes], float)
        plots[1].scatter(numbers, values, s=24 if few else 6, c=inks, linewidths=0)
        plots[1].axhline(0, color=INK, linewidth=0.8)
        plots[1].set_ylabel("silhouette")
    for axes in plots:
        axes.set(xlabel="cluster", xlim=(-0.7, len(sizes) - 0.3))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    return png(figure)


def components(places: np.ndarray, ratios: np.ndarray, labels: Sequence[object] | None) -> bytes:
    """Scree plot beside rows on the first two components, coloured by their labels where there are such."""
    figure, (left, right) = canvas(widths=(1, 1.6), width=WIDE * 0.75, height=4.2)
    numbers = np.arange(1, len(ratios) + 1)
    left.bar(numbers, ratios, color=COLOURS[0], label="each")
    left.plot(numbers, np.cumsum(ratios), color=COLOURS[1], marker="o", ms=4, label="together")
    left.set(xlabel="component", ylabel="share of the variance", ylim=(0, 1.02))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend(frameon=False, labelcolor=INK)
    if labels is None:
        points(right, places, 0, len(places))
    else:
        _labelled_points(right, places, labels)
    _label_plane(right, ratios[:2].tolist())
    return png(figure)


def _labelled_points(axes: Axes, places: np.ndarray, labels: Sequence[object]) -> None:
    for number, value in enumerate(_ordered(labels)):
        mine = np.array([label == value for label in labels])
        # the space keeps matplotlib from hiding names that begin with an underscore
        points(axes, places[mine], number, len(places), f" {value}"[:30])
    legend = axes.legend(
        frameon=False, labelcolor=INK, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9
    )
    for handle in filter(None, legend.legend_handles):
        handle.set(sizes=[40], alpha=1)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _ordered(values: Sequence[object]) -> list[object]:
    try:
        return sorted(set(values))  # type: ignore[type-var]
    except TypeError:  # None among text
        return sorted(set(values), key=str)


def canvas(
    widths: Sequence[float], height: float = 3.4, width: float = WIDTH
) -> tuple[Figure, list[Axes]]:
    """A figure (in inches) with one plot beside another, their widths in proportion."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    plots = list(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
    for axes in plots:
        axes.patch.set_alpha(0)
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(INK)
    return figure, plots


def points(axes: Axes, places: np.ndarray, number: int, total: int, label: str = "") -> None:
    axes.scatter(
        places[:, 0],
        places[:, 1],
        s=float(np.clip(25_000 / total, 8, 48)),
        color=colour(number),
        marker=MARKERS[(number + number // len(COLOURS)) % len(MARKERS)],
        alpha=0.75,
        linewidths=0,
        label=label,
    )


def colour(number: int) -> str:
    """The colour of a cluster or line; they repeat after eight."""
    return COLOURS[number % len(COLOURS)]


def _label_plane(axes: Axes, shares: Sequence[float]) -> None:
    for axis, number, share in zip((axes.xaxis, axes.yaxis), (1, 2), shares, strict=False):
        axis.set_label_text(f"component {number} ({share:.0%} of the variance)")
    if len(shares) < 2:
        axes.set_yticks([])


def brief(names: Sequence[str], longest: int) -> list[str]:
    """Names without the folders that all of them share, cut at the left to a length."""
    parts = [name.split("/") for name in names]
    shared = 0
    while len({tuple(p[: shared + 1]) for p in parts}) == 1 < min(map(len, parts)) - shared:
        shared += 1
    rest = ["/".join(p[shared:]) for p in parts]
    return [name if len(name) <= longest else f"…{name[1 - longest :]}" for name in rest]


def png(figure: Figure) -> bytes:
    """The file's content, the same bytes each time."""
    file = BytesIO()
    with catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font")  # a label in a script it lacks
        figure.savefig(file, format="png", dpi=180, transparent=True, metadata={"Software": None})
    return file.getvalue()
