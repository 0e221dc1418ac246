"""The maps of a stored result: which arrays are drawn, which columns colour them, what rows are called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from actx_core.analyze import ASSIGNMENTS, Analysis
from actx_core.previews import SPAN, in_words
from actx_core.report.maps import MapView, chosen, draw_maps
from actx_core.tables import read_table
from actx_core.types import SAMPLE, Preview

AXES = ["row", "map"]
"""Axes of an array that lays out rows in the plane."""
MAPS = 3
"""Maps of one array, each coloured by another column."""
LEGEND = 40
"""Values that a column of the rows may have to colour a map."""


def maps_of(
    result: Analysis, previews: Callable[[Sequence[int]], list[Preview | None]]
) -> list[MapView]:
    """Maps of the arrays that lay out rows in the plane, coloured by what the result and the rows say."""
    found = []
    for name, about in result.about["arrays"].items():
        if about["axes"] != AXES:
            continue
        places = np.load(result.folder / about["file"], mmap_mode="r")
        rows = chosen(len(places))
        table = read_table(result.folder / "rows.parquet")
        own = result.about["tables"].get(ASSIGNMENTS)
        columns = _columns(table, read_table(result.folder / own) if own else table.select([]))
        colours = {c: values.take(pa.array(rows)).to_pylist() for c, values in columns.items()}
        shown = previews(rows) if set(SPAN) <= set(table.column_names) else [None] * len(rows)
        titles = in_words(table.take(pa.array(rows)), shown)
        found += draw_maps(name, places[rows], colours, titles, len(places))
    return found


def _columns(rows: pa.Table, told: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Columns that sort rows into groups, each in another way: of the result first, then ``label``."""
    if len(told) != len(rows):
        told = rows.select([])
    known = [(c, told[c], sys.maxsize) for c in told.column_names]
    known += [
        (c, rows[c], LEGEND)
        for c in sorted(rows.column_names, key="label".__ne__)
        if c not in told.column_names
    ]
    found: dict[str, pa.ChunkedArray] = {}
    kinds: list[pa.Array] = []
    for name, values, most in known:
        if name in (SAMPLE, "replicate") or not _sorts(values, most) or len(found) == MAPS:
            continue
        groups = values.combine_chunks().dictionary_encode("encode").indices
        if not any(map(groups.equals, kinds)):
            found[name] = values
            kinds.append(groups)
    return found


def _sorts(values: pa.ChunkedArray, most: int) -> bool:
    """Whether words or whole numbers recur, and are ``most`` different ones at most."""
    if pa.types.is_floating(values.type):
        return False
    return 1 < len(values.unique()) <= min(most, max(2, len(values) // 2))
