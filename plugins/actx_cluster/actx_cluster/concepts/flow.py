"""Where the rows of each cluster go in the next layer, and how far clusterings agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from actx_cluster.clustering.agreement import Table
from actx_cluster.concepts import pictures
from actx_cluster.concepts.clusterings import Clustering, clusterings
from actx_cluster.concepts.config import FlowConfig
from actx_cluster.similarity.figures import matrix
from actx_core import AnalysisError, Analyzer, Input, Result

Lined = tuple[Clustering, list[object], np.ndarray]
"""A clustering, its clusters, and the place among them of each row that all clusterings have."""

TOLD = ("cluster", "distance", "leader", "probability")
"""Beginnings of columns that clusterings add to rows."""


class Flow(Analyzer[FlowConfig]):
    """Tables ``flow`` (rows that each cluster shares with those of the next clustering) and ``agreement``.

    Clusterings are taken in the order of the inputs, those with the same k together. ``agreement`` has the
    adjusted Rand index and the adjusted mutual information of every two, over rows that both cluster.
    """

    many: ClassVar[bool] = True

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        groups: dict[int | None, list[Clustering]] = {}
        for one in clusterings(inputs):
            groups.setdefault(one.k, []).append(one)
        flows: Table = {}
        agreements: Table = {}
        figures: dict[str, bytes] = {}
        arrays: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
        notes: list[str] = []
        for k, group in groups.items():
            if len(group) < 2:
                notes.append(f"{group[0].label}: no other clustering has this k")
                continue
            suffix = "" if k is None else f"_k{k}"
            lined, said = _lined(group, self.config.by)
            notes += said
            _add(flows, (line for a, b in pairwise(lined) for line in _flow(k, a, b)))
            ari = np.eye(len(lined))
            _add(agreements, _agreement(k, lined, ari))
            names = [one.name for one, _, _ in lined]
            arrays[f"ari{suffix}"] = (ari, ("clustering", "other"))
            figures[f"flow{suffix}"] = pictures.flow([codes for _, _, codes in lined], names)
            figures[f"ari{suffix}"] = matrix(ari, names, "adjusted Rand index")
        if not flows:
            raise AnalysisError(
                "expected two clusterings with the same k",
                hint='name several taps: on = ["kmeans"]',
            )
        return Result(
            tables={"flow": flows, "agreement": agreements},
            arrays=arrays,
            figures=figures,
            notes=notes,
        )


def _add(table: Table, lines: Iterator[dict[str, Any]]) -> None:
    for line in lines:
        for name, value in line.items():
            table.setdefault(name, []).append(value)


def _lined(group: Sequence[Clustering], by: Sequence[str]) -> tuple[list[Lined], list[str]]:
    """The clusterings over the rows that all have, in one order, and what to say of the others."""
    coded = [(one, *one.codes()) for one in group]
    if not by:
        for one in group[1:]:
            _refuse_others(group[0], one)
        return coded, []
    places = [_places(one, by) for one in group]
    shared = [key for key in places[0] if all(key in other for other in places[1:])]
    if not shared:
        raise AnalysisError(f"no row of {group[0].name} is in all others by {', '.join(by)}")
    notes = [
        f"{one.name}: {len(place) - len(shared)} of {len(place)} rows are not in all inputs"
        for one, place in zip(group, places, strict=True)
        if len(place) > len(shared)
    ]
    return [
        (one, names, codes[[place[key] for key in shared]])
        for (one, names, codes), place in zip(coded, places, strict=True)
    ], notes


def _refuse_others(first: Clustering, other: Clustering) -> None:
    """Refuse rows that are not the same: their samples and coordinates differ."""
    hint = 'say by which columns they belong together: by = ["sample", "position"]'
    if len(first.rows) != len(other.rows):
        raise AnalysisError(
            f"expected {len(first.rows)} rows, as in {first.name}, found {len(other.rows)}",
            where=other.name,
            hint=hint,
        )
    for name in first.rows.column_names:
        given = name in other.rows.column_names and not name.startswith(TOLD)
        whole = pa.types.is_string(first.rows[name].type) or pa.types.is_integer(
            first.rows[name].type
        )
        if given and whole and not first.rows[name].equals(other.rows[name]):
            raise AnalysisError(
                f"its rows are others than those of {first.name}: '{name}' differs",
                where=other.name,
                hint=hint,
            )


def _places(one: Clustering, by: Sequence[str]) -> dict[tuple[object, ...], int]:
    """The row of each key."""
    missing = [name for name in by if name not in one.rows.column_names]
    if missing:
        raise AnalysisError(
            f"no column is called '{missing[0]}'",
            where=one.name,
            hint=f"there are: {', '.join(one.rows.column_names)}",
        )
    keys = list(zip(*(one.rows[name].to_pylist() for name in by), strict=True))
    places = {key: row for row, key in enumerate(keys)}
    if len(places) < len(keys):
        twice = next(key for row, key in enumerate(keys) if places[key] != row)
        raise AnalysisError(
            f"several rows have {', '.join(by)} = {', '.join(map(str, twice))}", where=one.name
        )
    return places


def _flow(k: int | None, here: Lined, there: Lined) -> Iterator[dict[str, Any]]:
    """A line for each two clusters that share rows, the most rows first within the first cluster."""
    (a, names, codes), (b, others, theirs) = here, there
    both = (codes >= 0) & (theirs >= 0)
    pairs, counts = np.unique(codes[both] * len(others) + theirs[both], return_counts=True)
    mine, other = np.divmod(pairs, len(others))
    sizes = np.bincount(codes[both], minlength=len(names))
    reached = np.bincount(theirs[both], minlength=len(others))
    for place in np.lexsort((other, -counts, mine)).tolist():
        rows = int(counts[place])
        yield {
            "k": k,
            "from": a.name,
            "cluster": str(names[mine[place]]),
            "to": b.name,
            "to_cluster": str(others[other[place]]),
            "rows": rows,
            "share": rows / int(sizes[mine[place]]),
            "share_of_to": rows / int(reached[other[place]]),
        }


def _agreement(k: int | None, lined: Sequence[Lined], ari: np.ndarray) -> Iterator[dict[str, Any]]:
    """A line for each two clusterings; ``ari`` is filled in."""
    for i, j in combinations(range(len(lined)), 2):
        (a, _, codes), (b, _, theirs) = lined[i], lined[j]
        both = (codes >= 0) & (theirs >= 0)
        if not both.any():
            raise AnalysisError(f"no row has a cluster here and in {a.label}", where=b.label)
        ari[i, j] = ari[j, i] = adjusted_rand_score(codes[both], theirs[both])
        yield {
            "k": k,
            "a": a.name,
            "b": b.name,
            "rows": int(both.sum()),
            "ari": float(ari[i, j]),
            "ami": float(adjusted_mutual_info_score(codes[both], theirs[both])),
        }
