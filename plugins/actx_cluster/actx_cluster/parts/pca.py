"""Principal component analysis of a tap's rows: one pass finds the components, one makes the scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from actx_cluster import costs, figures
from actx_cluster.parts.config import PcaConfig
from actx_cluster.parts.rowfile import RowFile
from actx_cluster.rows import Rows, dominant
from actx_cluster.shape import Shape
from actx_cluster.spectrum import Spectrum, principal
from actx_core import Analyzer, ArraySpec, Input, Result

LABELS = 20


class Pca(Analyzer[PcaConfig]):
    """PCA by the eigenvectors of the covariance, summed over blocks of rows.

    The largest entry of each component is positive, so that signs are repeatable. Variances are divided by
    the number of rows - 1. Table: ``explained``. Arrays: ``scores`` (row, component), which other analyzers
    can read, ``components`` and ``mean``.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options, rows = self.config, Rows(inputs[0])
        found = principal(rows, options.components, options.seed)
        ratios = found.energies / found.squares.sum()
        scores = project(rows, found, out / "scores.part", whiten=options.whiten).finish()
        return Result(
            tables={
                "explained": {
                    "component": list(range(1, len(ratios) + 1)),
                    "variance": (found.energies / (rows.count - 1)).tolist(),
                    "ratio": ratios.tolist(),
                    "cumulative": np.cumsum(ratios).tolist(),
                }
            },
            arrays={
                "scores": (scores, ("row", "component")),
                "components": (found.directions.astype(rows.dtype), ("component", rows.axis)),
                "mean": (found.mean, (rows.axis,)),
            },
            figures={"components": _figure(rows, scores, ratios, options.seed)},
            notes=list(_notes(found, options)),
            metrics={"variance_explained": float(ratios.sum())},
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        shape, few = Shape.of(inputs[0]), self.config.components
        told = shape.count * (costs.TEXT + few * shape.itemsize)
        return costs.FIXED + costs.spectrum(shape, few) + told


def project(rows: Rows, found: Spectrum, path: Path, *, whiten: bool) -> RowFile:
    """The rows' scores on principal components; of unit variance (over rows - 1) where ``whiten``."""
    scale = np.sqrt(found.energies / (rows.count - 1)) if whiten else 1.0
    turn = found.directions.T / scale
    mean = found.mean.astype(rows.dtype)
    rest = (found.mean - mean) @ turn  # what the mean lost when it was rounded
    scores = RowFile(path, rows.count, turn.shape[1], rows.dtype)
    for at, block in rows.blocks():
        scores.write(at, (block - mean) @ turn.astype(rows.dtype) - rest)
    return scores


def _figure(rows: Rows, scores: np.ndarray, ratios: np.ndarray, seed: int) -> bytes:
    shown = figures.shown(rows.count, seed)
    places = np.zeros((len(shown), 2))
    places[:, : scores.shape[1]] = scores[shown, :2]
    labels = few_labels(rows, "label")
    return figures.components(
        places, ratios, None if labels is None else [labels[row] for row in shown]
    )


def few_labels(rows: Rows, column: str) -> list[object] | None:
    """A column to colour rows by, if there is one and a legend of its values can be read."""
    labels = rows.column(column)
    return None if labels is None or len(set(labels)) > LABELS else labels


def _notes(found: Spectrum, options: PcaConfig) -> Iterator[str]:
    if len(found.energies) < options.components:
        yield (
            f"{len(found.energies)} of the {options.components} components asked for exist:"
            " the rows span no more dimensions"
        )
    if not found.exact:
        yield "components come from a randomized SVD: small ones are approximate"
    if warning := dominant(found.squares):
        yield warning
