"""The conditions of an input (rows, or means of rows that share a name), read lazily and matched by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from actx_cluster.rows import Rows
from actx_core import AnalysisError, Input

READ_BYTES = 2**25
"""Rows that are read at a time while means are taken."""


@dataclass(frozen=True, slots=True)
class Points:
    """The conditions of one input as vectors of ``size`` numbers, in a fixed order.

    Condition ``i`` is the mean of the rows ``members[bounds[i]:bounds[i + 1]]``.
    """

    rows: Rows
    names: list[str]
    members: np.ndarray
    bounds: np.ndarray

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def size(self) -> int:
        return self.rows.size

    @property
    def input(self) -> str:
        """The name of the input."""
        return self.rows.data.name

    @property
    def averaged(self) -> bool:
        """Whether any condition is the mean of several rows."""
        return len(self.members) > self.count

    def block(self, start: int, stop: int) -> np.ndarray:
        """Conditions ``start`` to ``stop``, (conditions, size), in float32 or wider.

        Raises AnalysisError where a value is not finite.
        """
        if not self.averaged:
            return self._read(self.members[start:stop])
        sums = np.zeros((stop - start, self.size))
        step = max(1, READ_BYTES // (4 * self.size))
        for first in range(self.bounds[start], self.bounds[stop], step):
            last = min(first + step, self.bounds[stop])
            owner = np.searchsorted(self.bounds, np.arange(first, last), "right") - 1 - start
            mine, begins = np.unique(owner, return_index=True)
            values = self._read(self.members[first:last])
            sums[mine] += np.add.reduceat(values, begins, axis=0, dtype=np.float64)
        means = sums / np.diff(self.bounds[start : stop + 1])[:, None]
        return means.astype(self.rows.dtype)

    def picked(self, conditions: Sequence[int]) -> Points:
        """Only some conditions, in the order given."""
        parts = [self.members[self.bounds[i] : self.bounds[i + 1]] for i in conditions]
        bounds = np.cumsum([0, *map(len, parts)])
        members = np.concatenate(parts) if parts else self.members[:0]
        return Points(self.rows, [self.names[i] for i in conditions], members, bounds)

    def first(self, column: str) -> list[object] | None:
        """A column's value in the first row of each condition, if the rows have it."""
        values = self.rows.column(column)
        return None if values is None else [values[row] for row in self.members[self.bounds[:-1]]]

    def named(self, conditions: np.ndarray, most: int = 5) -> str:
        """Some conditions by name, for messages."""
        names = [f"'{self.names[i]}'" for i in conditions[:most]]
        more = len(conditions) - most
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")

    def _read(self, members: np.ndarray) -> np.ndarray:
        """Rows by number: one slice where they follow each other, otherwise in ascending order."""
        array, dtype = self.rows.data.array, self.rows.dtype
        if len(members) and (np.diff(members) == 1).all():
            values = np.asarray(array[int(members[0]) : int(members[-1]) + 1], dtype)
        else:
            order = np.argsort(members)
            values = np.empty((len(members), *array.shape[1:]), dtype)
            values[order] = array[members[order]]
        values = values.reshape(len(members), self.size)
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            broken = members[~finite].tolist()
            raise AnalysisError(
                f"rows hold NaN or infinite values: {self.rows.named(broken)}",
                where=self.input,
                hint="store the tap as float32 if it overflows float16, or leave these samples out",
            )
        return values


def points(data: Input, by: Sequence[str] = ()) -> Points:
    """The conditions of an input: rows with equal values in the columns ``by``, in order of appearance.

    Without ``by`` every row is a condition, named after its sample. Raises AnalysisError where a column is
    missing, where it has no value in a row, and where rows have several axes.
    """
    rows = Rows(data)
    if not by:
        samples = rows.column("sample") or range(rows.count)
        numbers = np.arange(rows.count)
        return Points(rows, [str(s) for s in samples], numbers, np.arange(rows.count + 1))
    keys = zip(*(values(rows, column) for column in by), strict=True)
    numbers_of: dict[tuple[object, ...], int] = {}
    found = (numbers_of.setdefault(key, len(numbers_of)) for key in keys)
    owner = np.fromiter(found, np.int64, rows.count)
    counts = np.bincount(owner, minlength=len(numbers_of))
    names = [" / ".join(map(str, key)) for key in numbers_of]
    return Points(rows, names, np.argsort(owner, kind="stable"), np.append(0, np.cumsum(counts)))


def points_of(inputs: Sequence[Input], by: Sequence[str]) -> list[Points]:
    """The conditions of several inputs; those with the same names share one list of them."""
    every: list[Points] = []
    for data in inputs:
        found = points(data, by)
        if every and found.names == every[0].names:
            found = replace(found, names=every[0].names)
        every.append(found)
    return every


def split(whole: Points, column: str) -> dict[str, Points]:
    """Per value of a column, the conditions made of its rows only; in the order of the values."""
    of_row = np.array([str(v) for v in values(whole.rows, column)])
    of_member = of_row[whole.members]
    owner = np.repeat(np.arange(whole.count), np.diff(whole.bounds))
    found = {}
    for value in dict.fromkeys(of_row.tolist()):
        mine = of_member == value
        counts = np.bincount(owner[mine], minlength=whole.count)
        kept = np.flatnonzero(counts)
        names = [whole.names[i] for i in kept]
        bounds = np.cumsum([0, *counts[kept]])
        found[value] = Points(whole.rows, names, whole.members[mine], bounds)
    return found


def matched(every: Sequence[Points]) -> list[Points]:
    """The conditions that all inputs have, in the order of the first. Raises AnalysisError for none."""
    names = common([(p.input, p.names) for p in every])
    return [p if p.names == names else p.picked(_places(p.names, names)) for p in every]


def common(every: Sequence[tuple[str, list[str]]]) -> list[str]:
    """Names that all of several named lists hold, in the order of the first."""
    (first, names), *others = every
    left = names
    for other, theirs in others:
        if theirs == left:
            continue
        known = set(theirs)
        left = [name for name in left if name in known]
        if not left:
            raise AnalysisError(
                f"no condition is in {first} and in {other}: the first has '{names[0]}',"
                f" the second '{theirs[0]}'",
                hint='match by a column that both have, by = "COLUMN"; [[join]] can add one',
            )
    return left


def left_out(every: Sequence[tuple[str, Sequence[str]]], names: Sequence[str]) -> list[str]:
    """A sentence for each input of which conditions are left out."""
    return [
        f"{len(theirs) - len(names)} of the {len(theirs)} conditions of {name} are not in all inputs"
        " and were left out"
        for name, theirs in every
        if len(theirs) > len(names)
    ]


def _places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    place = {name: i for i, name in enumerate(names)}
    return [place[name] for name in wanted]


def values(rows: Rows, column: str) -> list[object]:
    """A column of the rows. Raises AnalysisError where it is missing, or has no value in some rows."""
    found = rows.column(column)
    if found is None:
        columns = ", ".join(rows.data.rows.column_names)
        raise AnalysisError(
            f"the rows have no column '{column}'",
            where=rows.data.name,
            hint=f"they have {columns}; [[join]] can add one",
        )
    empty = [row for row, value in enumerate(found) if value is None]
    if empty:
        raise AnalysisError(
            f"column '{column}' has no value in {len(empty)} rows: {rows.named(empty)}",
            where=rows.data.name,
            hint="complete the joined table, or leave these rows out with [rows] keep",
        )
    return found
