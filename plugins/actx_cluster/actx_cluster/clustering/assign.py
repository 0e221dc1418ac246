"""Assign rows to the clusters of an old result: each to the nearest centre, in the old result's space."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actx_cluster.clustering.agreement import Table
from actx_cluster.clustering.config import AssignConfig
from actx_cluster.clustering.leading import nearest
from actx_cluster.rows import Rows
from actx_cluster.scaling import Scaler
from actx_core import AnalysisError, Analyzer, Input, Result


class Assign(Analyzer[AssignConfig]):
    """The cluster and distance of each row, for each k of the old result; its preprocessing is applied."""

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        rows = Rows(inputs[0])
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
        table = _assigned(rows, scaler, centers)
        old = ", ".join(one["name"] for one in about["inputs"])
        return Result(
            tables={"assignments": table},
            notes=[f"clusters of {old}, from {about['analysis']} with digest {about['digest']}"],
            metrics={
                name.replace("distance", "inertia"): float(np.square(values).sum())
                for name, values in table.items()
                if name.startswith("distance")
            },
        )

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


def _assigned(rows: Rows, scaler: Scaler, centers: Mapping[str, np.ndarray]) -> Table:
    labels = {name: np.empty(rows.count, np.int64) for name in centers}
    distances = {name: np.empty(rows.count) for name in centers}
    broken: list[int] = []
    for at, block in rows.scaled(scaler):
        broken += (np.flatnonzero(~np.isfinite(block).all(axis=1)) + at.start).tolist()
        for name, array in centers.items():
            labels[name][at], distances[name][at] = nearest(block, array)
    if broken:
        raise rows.not_finite(broken)
    table: Table = {"row": list(range(rows.count))}
    samples = rows.column("sample")
    if samples is not None:
        table["sample"] = samples
    for name in centers:
        table[name.replace("centers", "cluster")] = labels[name].tolist()
        table[name.replace("centers", "distance")] = distances[name].tolist()
    return table
