"""Any scikit-learn class as an analyzer: what it labels, predicts or transforms becomes a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from inspect import isclass
from pathlib import Path
from typing import Any

import numpy as np

from actx_cluster import figures
from actx_cluster.estimator.config import EstimatorConfig
from actx_cluster.rows import Rows
from actx_core import AnalysisError, Analyzer, Input, Result

GIVEN = ("labels_", "embedding_")
"""Fitted attributes that are in the result as ``labels`` and ``transformed``."""


class Estimator(Analyzer[EstimatorConfig]):
    """Build the class, fit it to the rows of a tap, and keep what it says of them.

    Table ``assignments``: the ``labels_`` that the fit left, or what ``predict`` gives; labels of clusters
    also as array ``labels`` (row). Array ``transformed`` (row, component): what ``transform`` gives, which
    other analyzers can read. What else the class learned in arrays is stored by its attributes' names:
    ``cluster_centers_``, ``components_``. The rows are held in memory.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options, rows = self.config, Rows(inputs[0])
        model = _build(options)
        matrix = rows.matrix(options.preprocess, rows.moments())
        labels, transformed = _fitted(model, matrix, options, rows)
        tables: dict[str, dict[str, list[Any]]] = {}
        arrays = dict(_learned(model, *matrix.shape))
        if transformed is not None:
            arrays["transformed"] = (transformed, ("row", "component"))
        if labels is None:
            return Result(arrays=arrays)
        name = "cluster" if labels.dtype.kind in "iub" else "value"
        tables["assignments"] = rows.assignments({name: labels})
        if labels.dtype.kind not in "iub":
            return Result(tables=tables, arrays=arrays)
        values, codes, sizes = _clusters(labels)
        tables["clusters"] = {"cluster": values, "rows": sizes.tolist()}
        return Result(
            tables=tables,
            arrays=arrays
            | {
                "labels": (labels, ("row",)),
                "map": (figures.plane(matrix, options.seed), ("row", "map")),
            },
            figures={"clusters": figures.clusters(sizes)},
            groups=dict(_groups(matrix, values, codes, sizes, options.exemplars))
            if options.exemplars
            else {},
            metrics={"clusters": float(len(values))},
        )


def _build(options: EstimatorConfig) -> Any:
    """An instance of the class. Raises AnalysisError for what is not there or does not fit."""
    module, _, name = options.estimator.rpartition(".")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AnalysisError(
            f"cannot find the class {options.estimator}: {error}", hint="check the name"
        ) from error
    if not isclass(found) or not hasattr(found, "fit"):
        raise AnalysisError(
            f"expected a class with the method fit, but {options.estimator} is not one",
            hint="name a class such as sklearn.cluster.Birch",
        )
    try:
        model = found(**options.params)
        names = model.get_params() if hasattr(model, "get_params") else {}
        if "random_state" in names and "random_state" not in options.params:
            model = found(**options.params | {"random_state": options.seed})
    except (TypeError, ValueError) as error:
        raise AnalysisError(
            f"{options.estimator} does not take these params: {error}",
            hint="params are the arguments of the class",
        ) from error
    return model


def _fitted(
    model: Any, matrix: np.ndarray, options: EstimatorConfig, rows: Rows
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Labels or predictions, and transformed rows, as far as the class gives them."""
    try:
        transformed: Any = None
        if hasattr(model, "fit_transform") and not hasattr(model, "transform"):
            transformed = model.fit_transform(matrix)  # such as t-SNE, which cannot place new rows
        else:
            model.fit(matrix)
            if hasattr(model, "transform"):
                transformed = model.transform(matrix)
        labels = getattr(model, "labels_", None)
        if labels is None and hasattr(model, "predict"):
            labels = model.predict(matrix)
    except (TypeError, ValueError) as error:
        raise AnalysisError(
            f"{options.estimator} cannot be fitted to {rows.count} rows of {rows.size} values: {error}",
            where=rows.data.name,
            hint="the class must learn from the rows alone; probe predicts a column from them",
        ) from error
    if hasattr(transformed, "toarray"):
        transformed = transformed.toarray()
    if labels is None and transformed is None:
        raise AnalysisError(
            f"{options.estimator} says nothing of the rows: it has neither labels_ nor predict nor transform",
            hint="name a class that clusters, transforms or predicts",
        )
    return (
        None if labels is None else np.asarray(labels),
        None if transformed is None else np.asarray(transformed).reshape(rows.count, -1),
    )


def _learned(
    model: Any, count: int, size: int
) -> Iterator[tuple[str, tuple[np.ndarray, tuple[str, ...]]]]:
    """The arrays of numbers among the fitted attributes; those as long as the rows follow them."""
    for name, value in vars(model).items():
        fitted = name.endswith("_") and not name.startswith("_") and name not in GIVEN
        if fitted and isinstance(value, np.ndarray) and value.ndim and value.dtype.kind in "biuf":
            axes = [f"axis{n}" for n in range(value.ndim)]
            if len(value) == count != size:
                axes[0] = "row"
            yield name, (value, tuple(axes))


def _clusters(labels: np.ndarray) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The labels of clusters, the code of each row (-1 for noise, whose label is below 0), and sizes."""
    values, codes, sizes = np.unique(
        labels.astype(np.int64), return_inverse=True, return_counts=True
    )
    noise = int((values < 0).sum())
    return values[noise:].tolist(), codes - noise, sizes[noise:]


def _groups(
    matrix: np.ndarray, values: Sequence[int], codes: np.ndarray, sizes: np.ndarray, exemplars: int
) -> Iterator[tuple[str, list[int]]]:
    """The rows nearest the mean of each cluster, nearest first."""
    for code, (value, size) in enumerate(zip(values, sizes.tolist(), strict=True)):
        members = np.flatnonzero(codes == code)
        held = matrix[members].astype(np.float64)
        far = np.linalg.norm(held - held.mean(axis=0), axis=1)
        nearest = members[np.argsort(far, kind="stable")][:exemplars]
        yield f"cluster {value} ({size} row{'s' if size != 1 else ''})", nearest.tolist()
