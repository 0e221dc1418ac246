"""Assign rows to the clusters of an old result: each to the nearest centre, in the old result's space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actx_cluster import costs
from actx_cluster.clustering.agreement import agreements
from actx_cluster.clustering.analyzer import ROW, SOLUTION
from actx_cluster.clustering.config import AssignConfig
from actx_cluster.clustering.leading import nearest
from actx_cluster.clustering.report import labels_of
from actx_cluster.clustering.space import TILE
from actx_cluster.rows import Rows
from actx_cluster.scaling import Scaler
from actx_cluster.shape import Shape
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result


class Assign(Analyzer[AssignConfig]):
    """The cluster and distance of each row, for each k of the old result; its preprocessing is applied.

    Tables ``assignments``, ``clusters``, ``agreement`` and ``enrichment`` as of a clustering. Array ``map``
    (row, map): the rows in the plane of the first two principal components of the old centres.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        rows = Rows(inputs[0])
        about, scaler, centers = self._clustering(rows)
        found, distances, places = _assigned(rows, scaler, centers)
        compared, enriched = agreements(
            labels_of(rows, self.config.labels),
            [(len(centers[name]), clusters) for name, clusters in found.items()],
        )
        tables = {
            "assignments": rows.assignments(
                {
                    name.replace("centers", word): values[name]
                    for name in centers
                    for word, values in (("cluster", found), ("distance", distances))
                }
            ),
            "clusters": _clusters(found, centers),
            "agreement": compared,
            "enrichment": enriched,
        }
        old = ", ".join(one["name"] for one in about["inputs"])
        return Result(
            tables={name: one for name, one in tables.items() if one},
            arrays={"map": (places, ("row", "map"))},
            notes=[f"clusters of {old}, from {about['analysis']} with digest {about['digest']}"],
            metrics={
                name.replace("centers", "inertia"): float(np.square(values).sum())
                for name, values in distances.items()
            },
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        shape = Shape.of(inputs[0])
        sizes = [len(a) for name, a in self._old()[1].items() if name.startswith("centers")]
        told = shape.count * (ROW + SOLUTION * len(sizes))
        tiles = 12 * min(TILE, shape.count * max(sizes, default=0))
        return costs.FIXED + told + costs.reading(shape) + tiles

    def _clustering(self, rows: Rows) -> tuple[dict[str, Any], Scaler, dict[str, np.ndarray]]:
        """What the old result says of itself, its preprocessing and its centres, if these rows fit."""
        about, arrays = self._old()
        centers = {name: array for name, array in arrays.items() if name.startswith("centers")}
        if not centers or about["type"].endswith("/hdbscan"):
            raise AnalysisError(
                f"expected a result with centres, found one of {about['type']}",
                where=str(self.config.result),
                hint="name a result of kmeans, agglomerative or leaders",
            )
        scaler = Scaler.restore(arrays, about["options"].get("preprocess", "none"))
        first = next(iter(centers.values())) if scaler.directions is None else scaler.directions
        if first.shape[1] != rows.size:
            raise AnalysisError(
                f"expected rows of {first.shape[1]} numbers, as in the old result, found {rows.size}",
                where=rows.data.name,
                hint="analyse the same tap with the same pooling",
            )
        return about, scaler, centers

    def _old(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What the old result says of itself, and its arrays."""
        folder, digest = self.config.result, self.config.digest
        try:
            about = json.loads((folder / "result.json").read_text("utf-8"))
            arrays = {
                name: np.load(folder / stored["file"], mmap_mode="r", allow_pickle=False)
                for name, stored in about["arrays"].items()
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AnalysisError(
                f"expected the folder of a result: {error}",
                where=str(folder),
                hint="name a folder runs/NAME/analyses/ANALYSIS/INPUT",
            ) from error
        if digest and about["digest"] != digest:
            raise AnalysisError(
                f"expected the result with digest {digest}, found {about['digest']}",
                where=str(folder),
                hint="the old clusters were replaced; leave digest out to take those of now",
            )
        return about, arrays


def _assigned(
    rows: Rows, scaler: Scaler, centers: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """The cluster of each row and its distance, by the name of the centres; and its place in the plane."""
    labels = {name: np.empty(rows.count, np.int64) for name in centers}
    distances = {name: np.empty(rows.count) for name in centers}
    middle, directions = _plane(max(centers.values(), key=len))
    places = np.zeros((rows.count, 2), np.float32)
    broken: list[int] = []
    for at, block in rows.scaled(scaler):
        broken += (np.flatnonzero(~np.isfinite(block).all(axis=1)) + at.start).tolist()
        if broken:
            continue
        places[at, : directions.shape[1]] = (block - middle) @ directions
        for name, array in centers.items():
            labels[name][at], distances[name][at] = nearest(block, array)
    if broken:
        raise rows.not_finite(broken)
    return labels, distances, places


def _plane(centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The middle of the centres and their first two principal directions (dimensions, at most 2)."""
    middle = centers.mean(axis=0)
    return middle, np.linalg.svd(centers - middle, full_matrices=False)[2][:2].T


def _clusters(
    found: Mapping[str, np.ndarray], centers: Mapping[str, np.ndarray]
) -> dict[str, list[int]]:
    """The number of rows of each old cluster, none too."""
    table: dict[str, list[int]] = {"k": [], "cluster": [], "rows": []}
    for name, clusters in found.items():
        k = len(centers[name])
        table["k"] += [k] * k
        table["cluster"] += range(k)
        table["rows"] += np.bincount(clusters, minlength=k).tolist()
    return table
