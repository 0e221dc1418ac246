"""Representational dissimilarity matrix of a tap: distances between all its conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from actx_cluster import costs
from actx_cluster.shape import Shape
from actx_cluster.similarity import figures
from actx_cluster.similarity.config import RdmConfig
from actx_cluster.similarity.distances import Distances, condensed, working
from actx_cluster.similarity.points import Points, points
from actx_cluster.similarity.rdm_file import write_rdm
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result

SHOWN = 800
"""Conditions that the heat map shows at most."""
TREE = 10_000
"""Conditions up to which a tree orders them: it needs all distances in float64."""


class Rdm(Analyzer[RdmConfig]):
    """Array ``rdm``: float32, the pairs (0, 1), (0, 2) … as scipy's ``squareform`` expects them.

    Table ``conditions``: their names in that order, and the rows that each is the mean of.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        found = points(inputs[0], self.config.by)
        ranks = _order_of(found, self.config.order)
        metric = self.config.metric
        path = out / "distances.f32"
        distances = condensed(Distances(found, metric, self.config.shrinkage), path)
        if self.config.rsatoolbox:
            write_rdm(out / "rdm.h5", distances, found.names, metric, found.input)
        order, groups = _ordered(found, distances, ranks, self.config.order)
        few = order[np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).astype(int))]
        result = Result(
            tables={
                "conditions": {
                    "condition": found.names,
                    "rows": np.diff(found.bounds).tolist(),
                    "place": np.argsort(order).tolist(),
                }
            },
            arrays={"rdm": (distances, ("pair",))},
            figures={
                "rdm": figures.dissimilarities(
                    _square(distances, few), [groups[i] for i in few], metric
                )
            },
            notes=_notes(found, len(few)),
            metrics={
                "mean": float(distances.mean(dtype=np.float64)),
                "largest": float(distances.max()),
            },
        )
        path.unlink()  # the map of it stays readable until core has stored the array
        return result

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        shape = Shape.of(inputs[0])
        if self.config.by:
            return None  # the number of conditions is not known
        pairs = shape.count * (shape.count - 1) // 2
        tree = 16 * pairs if self.config.order == "tree" and shape.count <= TREE else 0
        # distances are mapped from a file
        told = 4 * pairs + costs.conditions([shape]) + 48 * min(shape.count, SHOWN) ** 2
        return costs.FIXED + told + max(working(shape, self.config.metric), tree, costs.HEATMAP)


def _order_of(found: Points, order: str) -> list[object] | None:
    """The values that order the heat map; None for a tree, or without such a column."""
    if order == "tree":
        if found.count > TREE:
            raise AnalysisError(
                f"expected at most {TREE} conditions to order by a tree, found {found.count}",
                where=found.input,
                hint="order by a column",
            )
        return None
    values = found.first(order)
    if values is None and order != "label":
        columns = ", ".join(found.rows.data.rows.column_names)
        raise AnalysisError(
            f"the rows have no column '{order}' to order by",
            where=found.input,
            hint=f'they have {columns}; order = "tree" needs none',
        )
    return values


def _ordered(
    found: Points, distances: np.ndarray, values: list[object] | None, order: str
) -> tuple[np.ndarray, Sequence[object]]:
    """Conditions in the order of the heat map, and for each condition the name of its group."""
    if order == "tree":
        return leaves_list(linkage(distances, "average")), found.names
    if values is None:
        return np.arange(found.count), found.names
    try:
        kinds = sorted(set(values))  # type: ignore[type-var]
    except TypeError:  # None among text
        kinds = sorted(set(values), key=str)
    rank = {value: i for i, value in enumerate(kinds)}
    return np.argsort([rank[v] for v in values], kind="stable"), values


def _square(distances: np.ndarray, few: np.ndarray) -> np.ndarray:
    """The square matrix of some conditions."""
    count = round((1 + np.sqrt(1 + 8 * len(distances))) / 2)
    i, j = (few[k] for k in np.triu_indices(len(few), 1))
    low, high = np.minimum(i, j).astype(np.int64), np.maximum(i, j)
    square: np.ndarray = squareform(distances[low * count - low * (low + 1) // 2 + high - low - 1])
    return square


def _notes(found: Points, shown: int) -> list[str]:
    notes = []
    if found.averaged:
        notes.append(f"{len(found.members)} rows were averaged to {found.count} conditions")
    if shown < found.count:
        notes.append(f"the heat map shows {shown} of the {found.count} conditions, evenly spaced")
    return notes
