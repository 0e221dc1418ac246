"""The clusterings among the inputs of an analysis: columns ``cluster…`` of their rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from actx_core import AnalysisError, Input

if TYPE_CHECKING:
    import pyarrow as pa

COLUMN = re.compile(r"cluster(?:_k(\d+))?")


@dataclass(frozen=True, slots=True)
class Clustering:
    """Rows with their clusters: ``values`` holds None where a row has none.

    ``name`` is that of the analysis and its input, ``k`` the number of clusters that was asked for, if one
    was, and ``column`` says both in the rows.
    """

    name: str
    column: str
    k: int | None
    values: list[object | None]
    rows: pa.Table

    @property
    def label(self) -> str:
        """The name with its k, for figures and messages."""
        return self.name if self.k is None else f"{self.name} k={self.k}"

    def codes(self) -> tuple[list[object], np.ndarray]:
        """The clusters in ascending order, and each row's place among them; -1 for none."""
        names = sorted({value for value in self.values if value is not None}, key=_ascending)
        places = {name: place for place, name in enumerate(names)}
        return names, np.array([places.get(value, -1) for value in self.values], np.int64)


def _ascending(name: object) -> tuple[bool, object]:
    return isinstance(name, str), name


def clusterings(inputs: Sequence[Input]) -> list[Clustering]:
    """Every clustering of every input, in order; noise has no cluster.

    Raises AnalysisError for an input without one, and where no row has a cluster.
    """
    found: dict[tuple[str, str], Clustering] = {}
    for data in inputs:
        columns = {n: match for n in data.rows.column_names if (match := COLUMN.fullmatch(n))}
        if not columns:
            raise AnalysisError(
                "its rows have no clusters",
                where=data.name,
                hint='read a clustering, on = ["kmeans"], or a ConceptX file of clusters',
            )
        name = data.name.removesuffix("/map")  # the array by which a clustering is read
        for column, match in columns.items():
            values = [None if v == -1 else v for v in data.rows[column].to_pylist()]
            if not any(value is not None for value in values):
                raise AnalysisError(f"no row has a cluster in '{column}'", where=name)
            k = int(match[1]) if match[1] else None
            found[name, column] = Clustering(name, column, k, values, data.rows)
    return list(found.values())
