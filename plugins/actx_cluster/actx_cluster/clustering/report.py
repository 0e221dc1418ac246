"""The result of a clustering: tables, arrays, figures, exemplars, notes and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from actx_cluster import figures
from actx_cluster.clustering.agreement import Table, agreements
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

Tops = dict[tuple[int, int], tuple[str, float, float]]
"""By k and cluster: a label, its share of the cluster, and the corrected p-value of its enrichment."""
SIGNIFICANT = 0.05
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


def result(found: Found, options: ClusterConfig, extra: Result) -> Result:
    """Put everything together; ``extra`` holds what only this method has."""
    rows, partitions = found.space.rows, found.partitions
    fits = _fits(found)
    places, held = _map(found.space)
    compared, enriched = agreements(
        labels_of(rows, options.labels), [(len(one.sizes), one.labels) for one in partitions]
    )
    tops = top_labels(enriched)
    tables: dict[str, Any] = {
        "fits": fits,
        "agreement": compared,
        "clusters": _clusters(found, tops),
        "enrichment": enriched,
        **extra.tables,
        "assignments": rows.assignments(
            {
                f"{name}{one.suffix}": values
                for one in partitions
                for name, values in (("cluster", one.labels), ("distance", one.distances))
            }
        )
        | dict(extra.tables.get("assignments", {})),
    }
    drawn = {
        f"clusters{one.suffix}": figures.clusters(
            one.sizes, judged.of_clusters(one.labels, len(one.sizes))
        )
        for one, judged in zip(partitions, found.silhouettes, strict=True)
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
        groups=dict(_groups(found, options.exemplars, tops)) if options.exemplars else {},
        notes=[*found.notes, *_notes(found, suggested), *extra.notes],
        metrics=_metrics(found, fits) | {"map_variance": held} | dict(extra.metrics),
    )


def _clusters(found: Found, tops: Mapping[str, Tops]) -> Table:
    """One line for each cluster of each solution, with the label that tells it best from the others."""
    table: Table = {name: [] for name in ("k", "cluster", "rows", "inertia", "silhouette")}
    for one, judged in zip(found.partitions, found.silhouettes, strict=True):
        k, mine = len(one.sizes), one.labels != NOISE
        table["k"] += [k] * k
        table["cluster"] += range(k)
        table["rows"] += one.sizes.tolist()
        inertias = np.bincount(one.labels[mine], one.distances[mine] ** 2, minlength=k)
        table["inertia"] += inertias.tolist()
        table["silhouette"] += judged.of_clusters(one.labels, k)
    places = list(zip(table["k"], table["cluster"], strict=True))
    for column, known in tops.items():
        told = [known.get(place, (None, None, None)) for place in places]
        for number, name in enumerate(("", "_share", "_q")):
            table[f"top_{column}{name}"] = [one[number] for one in told]
    return table


def top_labels(enriched: Table) -> dict[str, Tops]:
    """Of each column the label that is most enriched in each cluster: the first line of the cluster."""
    found: dict[str, Tops] = {}
    names = ("column", "k", "cluster", "label", "share", "q")
    for column, k, cluster, *told in zip(*(enriched.get(n, ()) for n in names), strict=True):
        found.setdefault(column, {}).setdefault((k, cluster), (told[0], told[1], told[2]))
    return found


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


def labels_of(rows: Rows, names: Sequence[str] | None) -> dict[str, list[object]]:
    """The columns to compare clusters with: those named, else ``label``, if there is one."""
    if names is None:
        label = rows.column("label")
        return {} if label is None else {"label": label}
    return {name: column_of(rows, name) for name in names}


def _map(space: Space) -> tuple[np.ndarray, float]:
    """All rows of the input in the plane of the first two components of those that take part; and the share
    of the variance that the plane holds.
    """
    few = max(2, min(figures.SHOWN_ROWS, PLANE_BYTES // (8 * space.size)))
    count = min(2, space.size, space.count)
    sample = space.take(np.sort(space.order[:few]))
    middle = sample.mean(axis=0, dtype=np.float64)
    # scikit-learn takes a mean off sums of squares in float32: little would be left far from zero
    method = PCA(count, random_state=space.seed).fit(sample - middle)
    directions = method.components_.T
    every = Rows(space.rows.data)
    places = np.zeros((every.count, 2), np.float32)
    with np.errstate(all="ignore"):  # rows that take no part may hold anything
        for at, block in every.blocks():
            places[at, :count] = (space.scaler(block) - middle) @ directions
    held = float(method.explained_variance_ratio_.sum())
    return places, held if np.isfinite(held) else 0.0


def _groups(
    found: Found, exemplars: int, tops: Mapping[str, Tops]
) -> Iterator[tuple[str, list[int]]]:
    """The rows nearest each centre, nearest first, and half as many farthest, farthest first."""
    numbers = found.space.rows.numbers
    known = next(iter(tops.values()), {})
    for one in found.partitions:
        k = len(one.sizes)
        prefix = f"k = {k}: " if len(found.partitions) > 1 else ""
        order = np.lexsort((one.distances, one.labels))[one.noise :]
        ends = np.cumsum(one.sizes)
        for number, (end, size) in enumerate(zip(ends.tolist(), one.sizes.tolist(), strict=True)):
            members = numbers[order[end - size : end]].tolist()
            about = f"{size} row{'s' if size != 1 else ''}{_mostly(known.get((k, number)))}"
            title = f"{prefix}cluster {number} ({about})"
            yield title, members[:exemplars]
            rest = members[exemplars:][::-1][: exemplars // 2]
            if rest:
                yield f"{title}, farthest", rest


def _mostly(top: tuple[str, float, float] | None) -> str:
    """The top label of a cluster for its title, if it is there by more than chance."""
    if top is None or top[2] >= SIGNIFICANT:
        return ""
    return f", {top[1]:.0%} {' '.join(top[0].split())[:30]}"


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
