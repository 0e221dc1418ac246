"""Principal component analysis of a tap's rows: exact wherever rows or dimensions are few enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from sklearn import decomposition

from actx_cluster import figures
from actx_cluster.config import PcaConfig
from actx_cluster.rows import Moments, Rows, dominant
from actx_core import AnalysisError, Analyzer, Input, Result

EXACT = 4096
"""Rows or dimensions up to which a covariance or Gram matrix is decomposed exactly."""
MEMORY = 2**30
"""Bytes up to which few, long rows are held in memory for their Gram matrix."""
LABELS = 20


@dataclass(frozen=True, slots=True)
class Components:
    """Directions (components, dimensions) of unit length, and the variance along each.

    Variances are divided by the number of rows - 1.
    """

    directions: np.ndarray
    variances: np.ndarray
    exact: bool = True


class Pca(Analyzer[PcaConfig]):
    """PCA by the eigenvectors of the covariance, summed in float64 over blocks of rows.

    The largest entry of each component is positive, so that signs are repeatable. Table: ``explained``.
    Arrays: ``scores`` (row, component), which other analyzers can read, ``components`` and ``mean``.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        rows = Rows(inputs[0])
        if rows.count < 2:
            raise AnalysisError(
                f"expected at least 2 rows, found {rows.count}",
                where=rows.data.name,
                hint="extract more samples",
            )
        moments = rows.moments()
        total = moments.variance.sum() * rows.count / (rows.count - 1)
        found = _decompose(rows, moments, self.config)
        scores = _scores(rows, moments, found, whiten=self.config.whiten)
        ratios = found.variances / total
        return Result(
            tables={
                "explained": {
                    "component": list(range(1, len(ratios) + 1)),
                    "variance": found.variances.tolist(),
                    "ratio": ratios.tolist(),
                    "cumulative": np.cumsum(ratios).tolist(),
                }
            },
            arrays={
                "scores": (scores, ("row", "component")),
                "components": (found.directions.astype(rows.dtype), ("component", rows.axis)),
                "mean": (moments.mean, (rows.axis,)),
            },
            figures={"components": _figure(rows, scores, ratios, self.config.seed)},
            notes=list(_notes(found, self.config, moments)),
            metrics={"variance_explained": float(ratios.sum())},
        )


def _decompose(rows: Rows, moments: Moments, options: PcaConfig) -> Components:
    few = min(options.components, rows.count - 1, rows.size)
    if rows.size <= min(rows.count, EXACT):
        found = _from_covariance(rows, moments, few)
    elif rows.count <= EXACT and rows.count * rows.size * 8 <= MEMORY:
        found = _from_gram(rows, moments, few)
    else:
        found = _randomized(rows, moments, few, options.seed)
    # what rounding leaves of a missing dimension is no component
    kept = found.variances > max(rows.count, rows.size) * np.finfo(float).eps * found.variances[0]
    directions = found.directions[kept]
    largest = np.take_along_axis(
        directions, np.abs(directions).argmax(axis=1, keepdims=True), axis=1
    )
    return Components(directions * np.sign(largest), found.variances[kept], found.exact)


def _from_covariance(rows: Rows, moments: Moments, few: int) -> Components:
    scatter = np.zeros((rows.size, rows.size))
    for _, block in _centred(rows, moments):
        scatter += block.T @ block
    values, vectors = eigh(
        scatter, subset_by_index=(rows.size - few, rows.size - 1), overwrite_a=True
    )
    return Components(vectors[:, ::-1].T, values[::-1] / (rows.count - 1))


def _from_gram(rows: Rows, moments: Moments, few: int) -> Components:
    """The same components where there are fewer rows than dimensions, from the smaller matrix."""
    matrix = np.empty((rows.count, rows.size))
    for at, block in _centred(rows, moments):
        matrix[at] = block
    values, vectors = eigh(
        matrix @ matrix.T, subset_by_index=(rows.count - few, rows.count - 1), overwrite_a=True
    )
    directions = vectors[:, ::-1].T @ matrix
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    return Components(directions, values[::-1] / (rows.count - 1))


def _randomized(rows: Rows, moments: Moments, few: int, seed: int) -> Components:
    method = decomposition.PCA(few, svd_solver="randomized", random_state=seed)
    method.fit(rows.matrix("center", moments))
    directions = method.components_.astype(np.float64)
    return Components(directions, method.explained_variance_.astype(np.float64), exact=False)


def _scores(rows: Rows, moments: Moments, found: Components, *, whiten: bool) -> np.ndarray:
    scores = np.empty((rows.count, len(found.directions)), rows.dtype)
    scale = np.sqrt(found.variances) if whiten else 1.0
    for at, block in _centred(rows, moments):
        scores[at] = block @ found.directions.T / scale
    return scores


def _centred(rows: Rows, moments: Moments) -> Iterator[tuple[slice, np.ndarray]]:
    for at, block in rows.blocks():
        yield at, block - moments.mean


def _figure(rows: Rows, scores: np.ndarray, ratios: np.ndarray, seed: int) -> bytes:
    shown = figures.shown(rows.count, seed)
    places = np.zeros((len(shown), 2))
    places[:, : scores.shape[1]] = scores[shown, :2]
    labels = rows.column("label")
    if labels is not None and len(set(labels)) > LABELS:
        labels = None
    return figures.components(figures.Plane(shown, places, ratios[:2].tolist()), ratios, labels)


def _notes(found: Components, options: PcaConfig, moments: Moments) -> Iterator[str]:
    if len(found.variances) < options.components:
        yield (
            f"{len(found.variances)} of the {options.components} components asked for exist:"
            " the rows span no more dimensions"
        )
    if not found.exact:
        yield "components come from a randomized SVD: small ones are approximate"
    if warning := dominant(moments.variance):
        yield warning
