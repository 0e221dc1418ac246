"""The libraries that lay out neighbours in a plane; each is imported when it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from warnings import catch_warnings

import numpy as np

from actx_cluster.maps.config import MapConfig
from actx_core import AnalysisError

Layout = Callable[[np.ndarray, int, int], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """``layout`` takes rows, neighbours and seed; ``per`` rows must be there for each neighbour."""

    library: str
    layout: Layout
    neighbours: int
    per: int = 1

    def rows(self, neighbours: int | None) -> int:
        """The least number of rows."""
        return self.per * (neighbours or self.neighbours) + 2


def lay_out(matrix: np.ndarray, options: MapConfig) -> np.ndarray:
    """Places (rows, 2) in float32. Raises AnalysisError where the library is not installed."""
    method = METHODS[options.method]
    # numba and its users warn of their own code
    with catch_warnings(action="ignore"):
        try:
            places = method.layout(matrix, options.neighbours or method.neighbours, options.seed)
        except ModuleNotFoundError as error:
            raise AnalysisError(
                f'method = "{options.method}" needs {method.library}, which is not installed',
                hint="pip install actx-cluster[maps]",
            ) from error
    return np.asarray(places, np.float32)


def _pacmap(matrix: np.ndarray, neighbours: int, seed: int) -> Any:
    logging.getLogger("pacmap").setLevel(logging.ERROR)  # says at each call that a seed is set
    method = import_module("pacmap").PaCMAP(
        2, n_neighbors=neighbours, apply_pca=False, random_state=seed
    )
    return method.fit_transform(matrix, init="pca")


def _umap(matrix: np.ndarray, neighbours: int, seed: int) -> Any:
    method = import_module("umap").UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    return method.fit_transform(matrix)


def _tsne(matrix: np.ndarray, neighbours: int, seed: int) -> Any:
    method = import_module("openTSNE").TSNE(perplexity=neighbours, random_state=seed, n_jobs=1)
    return method.fit(matrix)


METHODS = {
    "pacmap": Method("pacmap", _pacmap, 10),
    "umap": Method("umap-learn", _umap, 15),
    "tsne": Method("openTSNE", _tsne, 30, per=3),
}
