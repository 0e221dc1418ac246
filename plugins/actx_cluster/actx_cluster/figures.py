"""The figures of the analyzers: PNGs that read well on light and dark pages and in any colour vision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
STYLES = len(COLOURS) * len(MARKERS)
"""After as many clusters, colours and markers repeat."""
SHOWN_ROWS = 20_000
NUMBERED = 40


@dataclass(frozen=True, slots=True)
class Plane:
    """Rows in the plane of their first two principal components; of very many rows a seeded sample.

    ``places`` has the shape (rows, 2), ``shares`` is each component's share of the variance.
    """

    rows: np.ndarray
    places: np.ndarray
    shares: Sequence[float]


def plane(matrix: np.ndarray, seed: int) -> Plane:
    """Lay out the rows of a matrix."""
    rows = shown(len(matrix), seed)
    count = min(2, matrix.shape[1])
    method = PCA(count, random_state=seed)
    places = np.zeros((len(rows), 2))
    places[:, :count] = method.fit_transform(matrix[rows])
    return Plane(rows, places, method.explained_variance_ratio_.tolist())


def shown(count: int, seed: int) -> np.ndarray:
    """Which rows a scatter shows: all, or a seeded sample."""
    if count <= SHOWN_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, SHOWN_ROWS, replace=False))


def clusters(layout: Plane, labels: np.ndarray, sizes: np.ndarray) -> bytes:
    """Rows coloured by cluster, with the cluster's number at its median, beside the clusters' sizes.

    Rows with a label below 0 are in no cluster: small and grey.
    """
    figure, (left, right) = canvas(widths=(3, 1))
    shown_labels = labels[layout.rows]
    for number in range(min(len(sizes), STYLES)):
        mine = (shown_labels >= 0) & (shown_labels % STYLES == number)
        points(left, layout.places[mine], number, len(layout.rows))
    noise = layout.places[shown_labels < 0]
    left.scatter(noise[:, 0], noise[:, 1], s=3, color=INK, linewidths=0)
    for number in range(min(len(sizes), NUMBERED)):
        places = layout.places[shown_labels == number]
        if len(places):
            left.annotate(
                str(number),
                np.median(places, axis=0),
                ha="center",
                va="center",
                color="white",
                fontsize=9,
                fontweight="bold",
                bbox={
                    "boxstyle": "round,pad=0.25",
                    "fc": colour(number),
                    "ec": "white",
                    "lw": 0.8,
                },
                zorder=3,
            )
    _label_plane(left, layout.shares)
    _sizes(right, sizes)
    return png(figure)


def components(layout: Plane, ratios: np.ndarray, labels: Sequence[object] | None) -> bytes:
    """Scree plot beside the rows on the first two components, coloured by label where there are labels."""
    figure, (left, right) = canvas(widths=(1, 1.6))
    numbers = np.arange(1, len(ratios) + 1)
    left.bar(numbers, ratios, color=COLOURS[0], label="each")
    left.plot(numbers, np.cumsum(ratios), color=COLOURS[1], marker="o", ms=4, label="together")
    left.set(xlabel="component", ylabel="share of the variance", ylim=(0, 1.02))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.yaxis.set_major_formatter(PercentFormatter(1))
    left.legend(frameon=False, labelcolor=INK)
    if labels is None:
        points(right, layout.places, 0, len(layout.rows))
    else:
        _labelled_points(right, layout, [labels[row] for row in layout.rows])
    _label_plane(right, layout.shares)
    return png(figure)


def _labelled_points(axes: Axes, layout: Plane, labels: Sequence[object]) -> None:
    for number, value in enumerate(_ordered(labels)):
        mine = np.array([label == value for label in labels])
        # the space keeps matplotlib from hiding names that begin with an underscore
        points(axes, layout.places[mine], number, len(layout.rows), f" {value}"[:30])
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


def canvas(widths: Sequence[float], height: float = 3.9) -> tuple[Figure, list[Axes]]:
    """A figure of the report's width (in inches) with one plot beside another, their widths in proportion."""
    figure = Figure(figsize=(7.2, height), layout="constrained")
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


def _sizes(axes: Axes, sizes: np.ndarray) -> None:
    few = sizes[:NUMBERED]
    numbers = np.arange(len(few))
    bars = axes.barh(numbers, few, color=[colour(n) for n in range(len(few))])
    if len(few) <= 20:
        axes.bar_label(bars, padding=3, color=INK, fontsize=9)
        axes.set_yticks(numbers)
    axes.set_ylim(len(few) - 0.4, -0.6)
    axes.margins(x=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    more = f" ({len(few)} largest of {len(sizes)})" if len(sizes) > len(few) else ""
    axes.set(xlabel="rows", ylabel=f"cluster{more}")


def png(figure: Figure) -> bytes:
    """The file's content, the same bytes each time."""
    file = BytesIO()
    with catch_warnings():
        filterwarnings("ignore", "Glyph .* missing from font")  # a label in a script it lacks
        figure.savefig(file, format="png", dpi=180, transparent=True, metadata={"Software": None})
    return file.getvalue()
