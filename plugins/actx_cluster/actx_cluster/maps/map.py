"""The rows of a tap in a plane, for the eye: PCA always, PaCMAP, UMAP and t-SNE where they are installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.manifold import trustworthiness

from actx_cluster import costs
from actx_cluster.maps.config import MapConfig
from actx_cluster.maps.methods import METHODS, lay_out
from actx_cluster.parts.pca import project
from actx_cluster.rows import Rows
from actx_cluster.shape import Shape
from actx_cluster.spectrum import principal
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result

JUDGED = 2000
NEIGHBOURS = 12


class Map(Analyzer[MapConfig]):
    """Places of rows in a plane whose distances should tell which rows are alike; not how much.

    Array: ``map`` (row, 2), float32, which the report draws. Metric: trustworthiness (Venna and Kaski 2001)
    with 12 neighbours, of at most 2000 rows: 1 where neighbours on the map are neighbours among the rows.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options, rows = self.config, Rows(inputs[0])
        wide = options.method != "pca"
        if wide:
            _enough(rows, options)
        found = principal(rows, options.components if wide else 2, options.seed)
        scores = project(rows, found, out / "scores.part", whiten=False).finish()
        if wide:
            places = lay_out(np.array(scores, np.float32), options)
        else:
            places = np.zeros((rows.count, 2), np.float32)
            places[:, : scores.shape[1]] = scores
        metrics = _trust(rows, places, options.seed)
        return Result(
            arrays={"map": (places, ("row", "map"))},
            metrics=metrics,
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        shape = Shape.of(inputs[0])
        if self.config.method != "pca":
            return None  # what its library takes is not known
        judged = 24 * min(shape.count, JUDGED) ** 2
        told = shape.count * (costs.TEXT + 16)
        return costs.FIXED + max(costs.spectrum(shape, 2), judged) + told


def _enough(rows: Rows, options: MapConfig) -> None:
    """Refuse maps in which a row would need more neighbours than there are."""
    needed = METHODS[options.method].rows(options.neighbours)
    if rows.count < needed:
        raise AnalysisError(
            f'method = "{options.method}" expects at least {needed} rows, found {rows.count}',
            where=rows.data.name,
            hint='ask for fewer neighbours, or say method = "pca"',
        )


def _trust(rows: Rows, places: np.ndarray, seed: int) -> dict[str, float]:
    judged = np.arange(rows.count)
    if rows.count > JUDGED:
        judged = np.sort(np.random.default_rng(seed).choice(rows.count, JUDGED, replace=False))
    if len(judged) <= 2 * NEIGHBOURS:
        return {}
    matrix = np.concatenate([block for _, block in Rows(rows.data, judged).blocks()])
    return {
        "trustworthiness": float(trustworthiness(matrix, places[judged], n_neighbors=NEIGHBOURS))
    }
