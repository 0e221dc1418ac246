"""Compares two arrays position by position: what changes in each channel, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actx_core import AnalysisError, TapArray
from actx_katago.outputs.arrays import number_names, samples

BLOCK = 1 << 22
"""Bytes of rows of each array in memory at a time, about."""
VARIES = ("komi_shown", "symmetry")
"""Columns that say how the replicates of a position differ."""
EXECUTION = ("batch_size", "board_size", "device", "seed", "network", "layer_selection")
"""Options of a model that do not say what it computes; the network is compared by its content."""

READING = {"tap", "pooling", "dtype"}
"""Differences in what is taken of a network, which stays the same."""

Key = tuple[str, int]
"""A sample and its replicate."""


@dataclass(frozen=True)
class Pairs:
    """Rows of a and b that belong together; ``facts`` say which replicates, where there are several."""

    a: np.ndarray
    b: np.ndarray
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Comparison:
    """The effects per channel, as columns of a table, and what is to be known of the pairs.

    ``identical`` counts the pairs with the same input; None where the sources give no digests. ``only_a``
    and ``only_b`` are samples without a partner.
    """

    effects: Mapping[str, Sequence[Any]]
    pairs: int
    identical: int | None
    only_a: Sequence[str]
    only_b: Sequence[str]
    notes: Sequence[str]


def compare(a: TapArray, b: TapArray) -> Comparison:
    """Pair the rows of two arrays by sample id, and measure b - a in each channel.

    Replicates are compared one by one: where only one array has several (a sweep of komi), each of them
    with the other's row. Columns: ``pairs`` that are finite, ``mean_a``, ``mean_b``, ``difference`` (the
    mean of b - a), ``cohen_d`` (that in standard deviations of b - a; null where these are no more than
    rounding leaves of equal differences),
    ``share_up`` and ``share_down`` (of the pairs).

    Raises AnalysisError where no rows belong together, or are not of the same position; where rows have
    different shapes; and where nothing was changed: all inputs are the same, and so is the network.
    """
    if a.spec.row_shape != b.spec.row_shape:
        raise AnalysisError(
            f"expected rows of the same shape, found {a.spec.row_shape} and {b.spec.row_shape}",
            where=f"{a.name}, {b.name}",
        )
    keys_a, keys_b = _keys(a), _keys(b)
    groups = [found for found in _groups(a, b, keys_a, keys_b) if len(found.a)]
    if not groups:
        raise AnalysisError(
            f"no sample is in both: {keys_a[0][0]}, … and {keys_b[0][0]}, …",
            where=f"{a.run.path}, {b.run.path}",
            hint="compare runs of the same positions",
        )
    _expect_same_positions(a, b, groups)
    identical = _identical(a, b, keys_a, keys_b, groups)
    pairs = sum(len(found.a) for found in groups)
    differences = _differences(a, b)
    if identical == pairs and READING.issuperset(differences):
        raise AnalysisError(
            f"the inputs of all {pairs} pairs are identical, and so is the network:"
            " nothing was changed whose effect could be measured",
            where=f"{a.run.path}, {b.run.path}",
            hint="check `counterfactual` and `path` of the sources",
        )
    tables = [_effects(a, b, found) for found in groups]
    return Comparison(
        {name: [value for table in tables for value in table[name]] for name in tables[0]},
        pairs,
        identical,
        _alone(keys_a, [found.a for found in groups]),
        _alone(keys_b, [found.b for found in groups]),
        list(_notes(identical, pairs, differences)),
    )


def _keys(array: TapArray) -> list[Key]:
    names = ("sample", "replicate")
    return list(zip(*(array.rows[name].to_pylist() for name in names), strict=True))


def _groups(
    a: TapArray, b: TapArray, keys_a: Sequence[Key], keys_b: Sequence[Key]
) -> Iterator[Pairs]:
    """The pairs of each replicate of a with one of b."""
    rows_a, rows_b = ({key: i for i, key in enumerate(keys)} for keys in (keys_a, keys_b))
    many_a, many_b = (sorted({key[1] for key in keys}) for keys in (keys_a, keys_b))
    if min(len(many_a), len(many_b)) == 1:
        couples = [(i, j) for i in many_a for j in many_b]
    else:
        couples = [(i, i) for i in many_a if i in many_b]
    for i, j in couples:
        found = [
            (row, rows_b[sample, j])
            for (sample, replicate), row in rows_a.items()
            if replicate == i and (sample, j) in rows_b
        ]
        places = np.array(found, np.int64).reshape(-1, 2)
        facts: dict[str, Any] = {}
        if found and len(couples) > 1:
            facts = {"replicate_a": i, "replicate_b": j}
            facts |= _variant(a, found[0][0], "a") | _variant(b, found[0][1], "b")
        yield Pairs(places[:, 0], places[:, 1], facts)


def _variant(array: TapArray, row: int, side: str) -> dict[str, Any]:
    """How the replicate of a row differs from others of its position."""
    known = [name for name in VARIES if name in array.rows.column_names]
    return {f"{name}_{side}": array.rows[name][row].as_py() for name in known}


def _expect_same_positions(a: TapArray, b: TapArray, groups: Sequence[Pairs]) -> None:
    """Raise AnalysisError where one name stands for two positions: games or turns differ."""
    for name in ("game", "turn"):
        if name in a.rows.column_names and name in b.rows.column_names:
            known_a, known_b = (array.rows[name].to_pylist() for array in (a, b))
            for found in groups:
                for i, j in zip(found.a.tolist(), found.b.tolist(), strict=True):
                    if known_a[i] != known_b[j]:
                        raise AnalysisError(
                            f"expected the same position in both, found {name} {known_a[i]}"
                            f" and {name} {known_b[j]}",
                            where=f"{a.run.path}, {b.run.path}: {a.rows['sample'][i]}",
                            hint="compare runs of the same files",
                        )


def _identical(
    a: TapArray,
    b: TapArray,
    keys_a: Sequence[Key],
    keys_b: Sequence[Key],
    groups: Sequence[Pairs],
) -> int | None:
    digests_a, digests_b = _digests(a), _digests(b)
    if not (digests_a and digests_b):
        return None
    return sum(
        digests_a.get(keys_a[i], "") == digests_b.get(keys_b[j])
        for found in groups
        for i, j in zip(found.a.tolist(), found.b.tolist(), strict=True)
    )


def _digests(array: TapArray) -> dict[Key, str]:
    """sha256 of the inputs of each sample whose source gives one."""
    table = samples(array)
    keys = zip(table["sample"], table["replicate"], strict=True)
    found = zip(keys, table.get("sha256", ()), strict=False)
    return {key: digest for key, digest in found if digest}


def _differences(a: TapArray, b: TapArray) -> list[str]:
    """What beside the inputs differs between two arrays."""
    found = [] if _fingerprint(a) == _fingerprint(b) else ["network"]
    options = [
        {k: v for k, v in array.cell.request["model"].items() if not k.startswith(EXECUTION)}
        for array in (a, b)
    ]
    names = sorted(options[0].keys() | options[1].keys())
    found += [name for name in names if options[0].get(name) != options[1].get(name)]
    found += ["tap"] if a.spec.tap != b.spec.tap else []
    found += ["pooling"] if a.tap.pool != b.tap.pool else []
    found += ["dtype"] if a.spec.dtype != b.spec.dtype else []
    return list(dict.fromkeys(found))


def _fingerprint(array: TapArray) -> str:
    return str(array.run.manifest["cells"][array.cell.id]["model"]["fingerprint"])


def _effects(a: TapArray, b: TapArray, pairs: Pairs) -> dict[str, list[Any]]:
    """A line per channel: sums first, then the spread around their means."""
    names = number_names(a.axes[1:], a.spec.row_shape)
    sums = np.zeros((6, len(names)))
    for first, second, both in _blocks(a, b, pairs):
        change = second - first
        parts = (both, first, second, change, change > 0, change < 0)
        sums += np.stack([part.sum(axis=0) for part in parts])
    count = np.where(sums[0] > 0, sums[0], np.nan)
    mean = sums[3] / count
    squares = np.zeros(len(names))
    for first, second, both in _blocks(a, b, pairs):
        squares += np.where(both, (second - first - mean) ** 2, 0).sum(axis=0)
    spread = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
    rounding = 10 * np.finfo(np.promote_types(a.dtype, np.float16)).eps
    varies = spread > rounding * (np.abs(sums[1]) + np.abs(sums[2])) / count
    effect = np.divide(mean, spread, out=np.full_like(mean, np.nan), where=varies)
    columns = {
        "mean_a": sums[1] / count,
        "mean_b": sums[2] / count,
        "difference": mean,
        "cohen_d": effect,
        "share_up": sums[4] / count,
        "share_down": sums[5] / count,
    }
    return {
        **{name: [value] * len(names) for name, value in pairs.facts.items()},
        "channel": list(range(len(names))),
        "name": names,
        "pairs": sums[0].astype(int).tolist(),
        **{
            name: [value if np.isfinite(value) else None for value in values.tolist()]
            for name, values in columns.items()
        },
    }


def _blocks(
    a: TapArray, b: TapArray, pairs: Pairs
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Paired rows as matrices of float64, 0 where either is not finite, and where both are finite."""
    step = max(1, BLOCK // max(1, a.spec.row_bytes))
    for start in range(0, len(pairs.a), step):
        part = slice(start, start + step)
        found = [array[rows[part]] for array, rows in ((a, pairs.a), (b, pairs.b))]
        first, second = (rows.reshape(len(rows), -1).astype(np.float64) for rows in found)
        both = np.isfinite(first) & np.isfinite(second)
        yield np.where(both, first, 0), np.where(both, second, 0), both


def _alone(keys: Sequence[Key], used: Sequence[np.ndarray]) -> list[str]:
    """Samples of rows that are in no pair."""
    paired = set(np.concatenate(used).tolist())
    return list(dict.fromkeys(keys[row][0] for row in range(len(keys)) if row not in paired))


def _notes(identical: int | None, pairs: int, differences: Sequence[str]) -> Iterator[str]:
    if identical is None:
        yield "the sources give no digests: whether inputs are identical is not known"
    elif identical == pairs:
        yield f"all inputs are identical: what is compared is the {' and the '.join(differences)}"
    elif identical:
        yield f"the inputs of {identical} of {pairs} pairs are identical"
    if differences and identical != pairs:
        yield f"beside the inputs, these differ: {', '.join(differences)}"
    if "network" in differences:
        yield "channels of two networks correspond only if one network was made from the other"
