"""What a probe has to predict: labels, groups that must not be torn apart, folds, and control labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedGroupKFold

from actx_cluster.probes.config import ProbeConfig
from actx_cluster.rows import Rows
from actx_core import AnalysisError, Input

Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Task:
    """``numbers`` are the rows used, in order; ``labels`` are numbers, or codes of ``classes``.

    ``groups`` and ``types`` are codes; each type has one label in the control task.
    """

    numbers: np.ndarray
    labels: np.ndarray
    classes: Sequence[Any]
    groups: np.ndarray
    types: np.ndarray
    unlabelled: int
    unused: int

    @property
    def chance(self) -> float:
        """The score of one answer for all rows: share of the largest class, or an R² of 0."""
        return float(np.bincount(self.labels).max() / len(self.labels)) if self.classes else 0.0

    def folds(self, count: int, seed: int) -> list[Fold]:
        """Positions of the rows to learn from and to test on; groups stay whole, classes balanced."""
        return split(self.labels, self.groups, count, seed, classify=bool(self.classes))

    def control(self, random: np.random.Generator) -> np.ndarray:
        """Labels of a control task (Hewitt and Liang 2019): those of the types, shuffled among them."""
        _, first = np.unique(self.types, return_index=True)
        shuffled: np.ndarray = random.permutation(self.labels[first])[self.types]
        return shuffled


def split(
    labels: np.ndarray, groups: np.ndarray, count: int, seed: int, *, classify: bool
) -> list[Fold]:
    """Grouped folds, stratified where there are classes."""
    if classify:
        method = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        return list(method.split(np.zeros(len(labels)), labels, groups))
    names = np.unique(groups)
    return [
        (np.flatnonzero(np.isin(groups, names[a])), np.flatnonzero(np.isin(groups, names[b])))
        for a, b in KFold(count, shuffle=True, random_state=seed).split(names)
    ]


def task(rows: Rows, options: ProbeConfig) -> Task:
    """The task that the options name. Raises AnalysisError where the columns do not allow it."""
    values = _column(rows, options.column)
    known = np.flatnonzero([value is not None and value == value for value in values])
    groups = _codes(_column(rows, options.group), known)
    used = _whole_groups(groups, options)
    numbers, groups = known[used], np.unique(groups[used], return_inverse=True)[1]
    chosen = [values[number] for number in numbers]
    classes: list[Any] = []
    if options.method == "ridge" or (options.method == "auto" and _floats(chosen)):
        labels = _numbers(rows, chosen, options)
        _enough(rows, len(np.unique(groups)), options, "groups to split")
    else:
        labels, classes = _classes(chosen)
        _enough_classes(rows, labels, classes, groups, options)
    if options.control:
        types = _codes(_column(rows, options.control), numbers)
    else:
        types = groups if _constant(labels, groups) else np.arange(len(labels))
    return Task(
        numbers, labels, classes, groups, types, len(values) - len(known), len(known) - len(numbers)
    )


def _column(rows: Rows, name: str) -> list[Any]:
    values = rows.column(name)
    if values is None:
        raise missing(rows.data, name)
    return values


def missing(data: Input, name: str) -> AnalysisError:
    """The error for a column that the table of rows does not have."""
    return AnalysisError(
        f"the rows have no column '{name}'; there are {', '.join(data.rows.column_names)}",
        where=data.name,
        hint="name another column, or bring it in with [[join]]",
    )


def _codes(values: Sequence[Any], numbers: np.ndarray) -> np.ndarray:
    """Equal values have equal codes, in the order of the values' text: it does not depend on that of rows."""
    texts = np.array([f"{type(values[n]).__name__}:{values[n]}" for n in numbers], dtype=object)
    codes: np.ndarray = np.unique(texts.astype(str), return_inverse=True)[1]
    return codes


def _whole_groups(groups: np.ndarray, options: ProbeConfig) -> np.ndarray:
    """Which rows to use: all, or a seeded choice of groups with at most ``rows`` rows together."""
    if len(groups) <= options.rows:
        return np.arange(len(groups))
    sizes = np.bincount(groups)
    order = np.random.default_rng(options.seed).permutation(len(sizes))
    kept = order[np.cumsum(sizes[order]) <= options.rows]
    return np.flatnonzero(np.isin(groups, kept))


def _floats(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, float) for value in values)


def _numbers(rows: Rows, values: Sequence[Any], options: ProbeConfig) -> np.ndarray:
    try:
        labels = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise AnalysisError(
            f"expected numbers in the column '{options.column}', found {values[0]!r}",
            where=rows.data.name,
            hint='say method = "logistic" for classes',
        ) from error
    if not np.isfinite(labels).all():
        raise AnalysisError(
            f"{int((~np.isfinite(labels)).sum())} values of the column '{options.column}' are infinite",
            where=rows.data.name,
            hint="leave the label of these rows empty",
        )
    if len(labels) and not np.ptp(labels):
        raise AnalysisError(
            f"all values of the column '{options.column}' are equal",
            where=rows.data.name,
            hint="name another column",
        )
    return labels


def _classes(values: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    classes = sorted(set(values), key=lambda value: (str(type(value)), value))
    codes = {value: code for code, value in enumerate(classes)}
    return np.array([codes[value] for value in values], np.int64), classes


def _enough(rows: Rows, found: int, options: ProbeConfig, what: str) -> None:
    if found < options.folds:
        raise AnalysisError(
            f"expected at least folds = {options.folds} {what}, found {found}",
            where=rows.data.name,
            hint=f"groups are equal values of '{options.group}'; ask for fewer folds, or extract more",
        )


def _enough_classes(
    rows: Rows, labels: np.ndarray, classes: Sequence[Any], groups: np.ndarray, options: ProbeConfig
) -> None:
    if len(classes) < 2:
        raise AnalysisError(
            f"expected at least 2 classes in the column '{options.column}', found {len(classes)}",
            where=rows.data.name,
            hint="name another column",
        )
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    sizes = np.bincount(pairs[0], minlength=len(classes))
    few = np.flatnonzero(sizes < options.folds)
    if len(few):
        named = ", ".join(f"'{classes[code]}' ({sizes[code]})" for code in few[:5])
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        numeric = isinstance(classes[0], int) and not isinstance(classes[0], bool)
        raise AnalysisError(
            f"expected at least folds = {options.folds} groups of each class, found fewer of"
            f" {named}{more}",
            where=rows.data.name,
            hint="ask for fewer folds, or leave the label of these rows empty"
            + ('; for numbers, say method = "ridge"' if numeric else ""),
        )


def _constant(labels: np.ndarray, groups: np.ndarray) -> bool:
    """Whether all rows of a group have one label."""
    _, first, codes = np.unique(groups, return_index=True, return_inverse=True)
    return bool((labels == labels[first][codes]).all())
