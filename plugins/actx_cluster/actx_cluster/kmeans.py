"""k-means: groups the rows of a tap around k centres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from actx_cluster import figures
from actx_cluster.config import KMeansConfig, Preprocess
from actx_cluster.fit import Fit, fit
from actx_cluster.rows import Moments, Rows, dominant
from actx_core import AnalysisError, Analyzer, Input, Result


class KMeans(Analyzer[KMeansConfig]):
    """scikit-learn's KMeans (k-means++, Lloyd) on one tap, for one or several k.

    Clusters are numbered from the largest to the smallest. Tables: ``assignments`` (the cluster of each
    row and its distance to the centre, for each k), ``clusters`` and ``fits`` (inertia, share of the
    variance explained, mean silhouette). Arrays: ``centers_kK`` in the preprocessed space, with ``mean``
    and ``scale`` where ``preprocess`` uses them.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options = self.config
        rows = Rows(inputs[0])
        if rows.count < max(options.k):
            raise AnalysisError(
                f"expected at least k = {max(options.k)} rows, found {rows.count}",
                where=rows.data.name,
                hint="ask for fewer clusters, or extract more samples",
            )
        moments = rows.moments()
        matrix = rows.matrix(options.preprocess, moments)
        if (matrix == matrix[0]).all():
            raise AnalysisError(
                f'expected rows that differ, but preprocess = "{options.preprocess}" makes all equal',
                where=rows.data.name,
                hint="use another preprocess",
            )
        # one thread: with several, scikit-learn adds partial sums in an order that changes
        with threadpool_limits(1):
            fits = [fit(matrix, k, options) for k in options.k]
            layout = figures.plane(matrix, options.seed)
        for found in fits:
            if not found.sizes.all():
                raise AnalysisError(
                    f"expected {found.k} clusters, but the rows fall into {(found.sizes > 0).sum()}:"
                    " too many are equal",
                    where=rows.data.name,
                    hint="ask for fewer clusters",
                )
        return self._result(rows, matrix, moments, fits, layout)

    def _result(
        self,
        rows: Rows,
        matrix: np.ndarray,
        moments: Moments,
        fits: Sequence[Fit],
        layout: figures.Plane,
    ) -> Result:
        variance = matrix.var(axis=0, dtype=np.float64)
        arrays = {
            f"centers_k{found.k}": (found.centers, ("cluster", rows.axis)) for found in fits
        } | _preprocessing(self.config.preprocess, moments, rows.axis)
        return Result(
            tables={
                "assignments": _assignments(rows, fits),
                "clusters": _clusters(fits),
                "fits": _fits(fits, float(variance.sum()) * rows.count),
            },
            arrays=arrays,
            figures={
                f"clusters_k{found.k}": figures.clusters(layout, found.labels, found.sizes)
                for found in fits
            },
            groups=dict(_groups(fits, self.config.exemplars)),
            notes=list(_notes(fits, self.config, rows.axis, variance)),
            metrics=_metrics(fits),
        )


def _assignments(rows: Rows, fits: Sequence[Fit]) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {"row": list(range(rows.count))}
    samples = rows.column("sample")
    if samples is not None:
        table["sample"] = samples
    for found in fits:
        table[f"cluster_k{found.k}"] = found.labels.tolist()
        table[f"distance_k{found.k}"] = found.distances.tolist()
    return table


def _clusters(fits: Sequence[Fit]) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {
        name: [] for name in ("k", "cluster", "rows", "inertia", "silhouette")
    }
    for found in fits:
        inertias = np.bincount(found.labels, found.distances**2, minlength=found.k)
        table["k"] += [found.k] * found.k
        table["cluster"] += range(found.k)
        table["rows"] += found.sizes.tolist()
        table["inertia"] += inertias.tolist()
        table["silhouette"] += found.silhouette_of_clusters()
    return table


def _fits(fits: Sequence[Fit], total: float) -> dict[str, list[Any]]:
    return {
        "k": [found.k for found in fits],
        "inertia": [found.inertia for found in fits],
        "variance_explained": [1 - found.inertia / total for found in fits],
        "silhouette": [found.silhouette for found in fits],
        "iterations": [found.iterations for found in fits],
    }


def _preprocessing(
    preprocess: Preprocess, moments: Moments, axis: str
) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    """What a new row needs before it can be compared with the centres."""
    arrays: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
    if preprocess in ("center", "zscore"):
        arrays["mean"] = (moments.mean, (axis,))
    if preprocess == "zscore":
        arrays["scale"] = (moments.scale, (axis,))
    return arrays


def _groups(fits: Sequence[Fit], exemplars: int) -> Iterator[tuple[str, list[int]]]:
    """The rows nearest each centre, nearest first."""
    for found in fits:
        prefix = f"k = {found.k}: " if len(fits) > 1 else ""
        for number, size in enumerate(found.sizes.tolist()):
            members = np.flatnonzero(found.labels == number)
            nearest = members[np.argsort(found.distances[members], kind="stable")][:exemplars]
            title = f"{prefix}cluster {number} ({size} row{'s' if size != 1 else ''})"
            yield title, nearest.tolist()


def _notes(
    fits: Sequence[Fit], options: KMeansConfig, axis: str, variance: np.ndarray
) -> Iterator[str]:
    for found in fits:
        if found.iterations >= options.max_iter:
            yield (
                f"warning: k = {found.k} was still moving after max_iter = {options.max_iter} iterations"
            )
    sampled = {len(found.judged) for found in fits} - {0, len(fits[0].labels)}
    if sampled:
        yield f"silhouettes are means over a seeded sample of {max(sampled)} rows"
    # the first of principal components dominate by construction
    if axis != "component" and (warning := dominant(variance)):
        yield warning


def _metrics(fits: Sequence[Fit]) -> dict[str, float]:
    metrics = {}
    for found in fits:
        metrics[f"inertia_k{found.k}"] = found.inertia
        if found.silhouette is not None:
            metrics[f"silhouette_k{found.k}"] = found.silhouette
    return metrics
