"""The result of a clustering: tables, arrays, figures, exemplars, notes and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from actx_cluster import figures
from actx_cluster.clustering.agreement import Table, agreement, coded, enrichment
from actx_cluster.clustering.caps import column_of
from actx_cluster.clustering.config import ClusterConfig
from actx_cluster.clustering.partition import (
    NOISE,
    Partition,
    calinski_harabasz,
    davies_bouldin,
    spreads,
)
from actx_cluster.clustering.pictures import sweep
from actx_cluster.clustering.quality import Silhouettes
from actx_cluster.clustering.space import Space
from actx_cluster.rows import Rows, dominant
from actx_core import Result

PLANE_BYTES = 2**26
"""Memory for the rows that decide the plane of the map."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that was found out about the rows; one entry per solution, ``stability`` may be empty."""

    space: Space
    partitions: Sequence[Partition]
    silhouettes: Sequence[Silhouettes]
    stability: Sequence[float | None]
    notes: Sequence[str]

    @property
    def axis(self) -> str:
        """The axis of a row in the space of the distances."""
        scaler = self.space.scaler
        return self.space.rows.axis if scaler.directions is None else "component"


def spread_out(rows: Rows, values: np.ndarray) -> list[Any]:
    """A value for each row of the input: None for rows that take no part, and instead of NaN."""
    column: list[Any] = [None] * rows.data.array.shape[0]
    for number, value in zip(rows.numbers.tolist(), values.tolist(), strict=True):
        column[number] = None if value != value else value
    return column


def result(found: Found, options: ClusterConfig, extra: Result) -> Result:
    """Put everything together; ``extra`` holds what only this method has."""
    rows, partitions = found.space.rows, found.partitions
    fits = _fits(found)
    layout, places = _map(found.space)
    labels = _compared(rows, options)
    compared, enriched = _agreement(found, labels)
    tables: dict[str, Any] = dict(extra.tables) | {
        "assignments": _assignments(found) | dict(extra.tables.get("assignments", {})),
        "clusters": _clusters(found),
        "fits": fits,
        "agreement": compared,
        "enrichment": enriched,
    }
    drawn = {
        f"clusters{one.suffix}": figures.clusters(layout, one.labels, one.sizes)
        for one in partitions
    }
    suggested = _suggested(fits)
    if len(partitions) > 2:
        curves = {
            name.replace("_", " "): fits[name]
            for name in ("variance_explained", "silhouette", "stability")
        }
        drawn["sweep"] = sweep(fits["k"], curves, suggested)
    return Result(
        tables={name: table for name, table in tables.items() if any(table.values())},
        arrays={
            **{
                f"centers{one.suffix}": (one.centers, ("cluster", found.axis))
                for one in partitions
                if len(one.centers)
            },
            **found.space.scaler.arrays(rows.axis),
            "map": (places, ("row", "map")),
            **extra.arrays,
        },
        figures=drawn | dict(extra.figures),
        groups=dict(_groups(found, options.exemplars)),
        notes=[*found.notes, *_notes(found, suggested), *extra.notes],
        metrics=_metrics(found, fits) | dict(extra.metrics),
    )


def _assignments(found: Found) -> Table:
    """One line for each row of the input; None where it takes no part."""
    rows = found.space.rows
    table: Table = {"row": list(range(rows.data.array.shape[0]))}
    samples = Rows(rows.data).column("sample")
    if samples is not None:
        table["sample"] = samples
    for one in found.partitions:
        for name, values in (("cluster", one.labels), ("distance", one.distances)):
            table[f"{name}{one.suffix}"] = spread_out(rows, values)
    return table


def _clusters(found: Found) -> Table:
    table: Table = {name: [] for name in ("k", "cluster", "rows", "inertia", "silhouette")}
    for one, judged in zip(found.partitions, found.silhouettes, strict=True):
        k, mine = len(one.sizes), one.labels != NOISE
        table["k"] += [k] * k
        table["cluster"] += range(k)
        table["rows"] += one.sizes.tolist()
        inertias = np.bincount(one.labels[mine], one.distances[mine] ** 2, minlength=k)
        table["inertia"] += inertias.tolist()
        table["silhouette"] += judged.of_clusters(one.labels, k)
    return table


def _fits(found: Found) -> Table:
    """One line for each solution."""
    total = float(found.space.variance.sum()) * found.space.count
    table: Table = {
        "k": [len(one.sizes) for one in found.partitions],
        "inertia": [one.inertia for one in found.partitions],
        "variance_explained": [
            None if one.noise else 1 - one.inertia / total for one in found.partitions
        ],
        "silhouette": [one.mean for one in found.silhouettes],
        "silhouette_error": [one.error for one in found.silhouettes],
        "davies_bouldin": [
            davies_bouldin(spread, one.means)
            for spread, one in zip(
                spreads(found.space, found.partitions), found.partitions, strict=True
            )
        ],
        "calinski_harabasz": [calinski_harabasz(one) for one in found.partitions],
        "stability": list(found.stability) or [None] * len(found.partitions),
        "noise": [one.noise for one in found.partitions],
        "iterations": [one.solution.iterations for one in found.partitions],
    }
    return table


def _suggested(fits: Mapping[str, Sequence[Any]]) -> int | None:
    """The k with the highest silhouette, if several were tried."""
    known = [(s, -k) for k, s in zip(fits["k"], fits["silhouette"], strict=True) if s is not None]
    return -max(known)[1] if len(known) > 2 else None


def _compared(rows: Rows, options: ClusterConfig) -> dict[str, list[object]]:
    if options.labels is None:
        label = rows.column("label")
        return {} if label is None else {"label": label}
    return {name: column_of(rows, name) for name in options.labels}


def _agreement(found: Found, labels: Mapping[str, list[object]]) -> tuple[Table, Table]:
    compared: Table = {}
    enriched: Table = {}
    for name, values in labels.items():
        names, codes = coded(values)
        for one in found.partitions:
            mine = (codes >= 0) & (one.labels != NOISE)
            if not mine.any():
                continue
            about: dict[str, Any] = {"column": name, "k": len(one.sizes), "rows": int(mine.sum())}
            for key, value in (about | agreement(one.labels[mine], codes[mine])).items():
                compared.setdefault(key, []).append(value)
            lines = enrichment(one.labels[mine], codes[mine], names)
            count = len(lines["cluster"])
            start: Table = {"column": [name] * count, "k": [len(one.sizes)] * count}
            for key, column in (start | lines).items():
                enriched.setdefault(key, []).extend(column)
    return compared, enriched


def _map(space: Space) -> tuple[figures.Plane, np.ndarray]:
    """All rows of the input in the plane of the first two components of those that take part."""
    few = max(2, min(figures.SHOWN_ROWS, PLANE_BYTES // (8 * space.size)))
    count = min(2, space.size, space.count)
    method = PCA(count, random_state=space.seed)
    method.fit(space.take(np.sort(space.order[:few])))
    middle, directions = method.mean_, method.components_.T
    every = Rows(space.rows.data)
    places = np.zeros((every.count, 2), np.float32)
    with np.errstate(all="ignore"):  # rows that take no part may hold anything
        for at, block in every.blocks():
            places[at, :count] = (space.scaler(block) - middle) @ directions
    shown = np.sort(space.order[: figures.SHOWN_ROWS])
    shares = method.explained_variance_ratio_.tolist()
    return figures.Plane(shown, places[space.rows.numbers[shown]], shares), places


def _groups(found: Found, exemplars: int) -> Iterator[tuple[str, list[int]]]:
    """The rows nearest each centre, nearest first, and half as many farthest, farthest first."""
    numbers = found.space.rows.numbers
    for one in found.partitions:
        prefix = f"k = {len(one.sizes)}: " if len(found.partitions) > 1 else ""
        order = np.lexsort((one.distances, one.labels))[one.noise :]
        ends = np.cumsum(one.sizes)
        for number, (end, size) in enumerate(zip(ends.tolist(), one.sizes.tolist(), strict=True)):
            members = numbers[order[end - size : end]].tolist()
            title = f"{prefix}cluster {number} ({size} row{'s' if size != 1 else ''})"
            yield title, members[:exemplars]
            rest = members[exemplars:][::-1][: exemplars // 2]
            if rest:
                yield f"{title}, farthest", rest


def _notes(found: Found, suggested: int | None) -> Iterator[str]:
    for one in found.partitions:
        if one.solution.moving:
            yield (
                f"warning: k = {one.solution.asked} was still moving after max_iter ="
                f" {one.solution.iterations} iterations"
            )
        if one.noise:
            yield f"{one.noise} of {found.space.count} rows are noise: in no cluster"
    judged = max((len(one.judged) for one in found.silhouettes), default=0)
    if 0 < judged < found.silhouettes[0].rows:
        yield f"silhouettes are means over a seeded sample of {judged} rows, each over all rows"
    if suggested is not None:
        yield f"of these k, the silhouette is highest at k = {suggested}"
    # the first of principal components dominate by construction
    if found.axis != "component" and (warning := dominant(found.space.variance)):
        yield warning


def _metrics(found: Found, fits: Mapping[str, Sequence[Any]]) -> dict[str, float]:
    metrics = {}
    for number, one in enumerate(found.partitions):
        for name in ("inertia", "silhouette", "stability"):
            if fits[name][number] is not None:
                metrics[f"{name}{one.suffix}"] = fits[name][number]
    return metrics
