"""Group caps: which rows take part, by the size of their group."""

from __future__ import annotations

import numpy as np

from actx_cluster.clustering.agreement import coded
from actx_cluster.clustering.config import Caps
from actx_cluster.rows import Rows
from actx_core import AnalysisError


def column_of(rows: Rows, name: str) -> list[object]:
    """A column of the table of rows. Raises AnalysisError where there is none of that name."""
    values = rows.column(name)
    if values is None:
        raise AnalysisError(
            f"no column is called '{name}'",
            where=rows.data.name,
            hint=f"there are: {', '.join(rows.data.rows.column_names)}; [[join]] adds others",
        )
    return values


def capped(rows: Rows, caps: Caps, seed: int) -> tuple[np.ndarray, str]:
    """Numbers of the rows that stay, in order, and a sentence about those left out.

    Rows without a value are left out. Raises AnalysisError where none stays.
    """
    groups = coded(column_of(rows, caps.column))[1]
    sizes = np.bincount(groups[groups >= 0])
    good = sizes >= caps.min
    if caps.delete_above is not None:
        good &= sizes <= caps.delete_above
    named = groups >= 0
    keep = named.copy()
    keep[named] = good[groups[named]]
    if caps.max is not None:
        # the rows of a group in random order; those past the cap go
        order = np.lexsort((np.random.default_rng(seed).random(len(groups)), groups))
        place = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
        keep[order[place >= caps.max]] = False
    if not keep.any():
        raise AnalysisError(
            f"caps leave none of {rows.count} rows: the {len(sizes)} groups of '{caps.column}' have"
            f" {min(sizes, default=0)} to {max(sizes, default=0)} rows",
            where=rows.data.name,
            hint="lower min, or raise delete_above",
        )
    kept = np.flatnonzero(keep)
    of = len(np.unique(groups[keep]))
    note = (
        f"{len(kept)} of {rows.count} rows take part, of {of} of the {len(sizes)} groups of"
        f" '{caps.column}'"
    )
    return kept, note
