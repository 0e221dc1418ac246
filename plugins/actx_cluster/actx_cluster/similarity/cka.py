"""Centred kernel alignment between taps and models, linear, in one pass over their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from actx_cluster import costs
from actx_cluster.shape import Shape
from actx_cluster.similarity import figures
from actx_cluster.similarity.config import CkaConfig
from actx_cluster.similarity.points import Points, left_out, matched, points_of
from actx_cluster.similarity.products import Kernels, kernels, working
from actx_cluster.similarity.saved import Saved
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result


class Cka(Analyzer[CkaConfig]):
    """Array ``cka``, (tap, other), and the table ``pairs``; rows are matched by name."""

    many: ClassVar[bool] = True

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        every, notes = paired(inputs, self.config.by)
        found = hsic(kernels(every, Saved(out / "sums.npz")), self.config.estimator == "debiased")
        own = np.diag(found)
        refuse_equal(every, own <= 0)
        cka = found / np.sqrt(np.outer(own, own))
        return pairs_result("cka", cka, every, notes, f"{self.config.estimator} CKA")

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        shapes = [Shape.of(spec) for spec in inputs]
        told = costs.conditions(shapes, self.config.by)
        return costs.FIXED + told + max(working(shapes), costs.matrix(len(shapes)))


def hsic(k: Kernels, debiased: bool) -> np.ndarray:
    """Hilbert-Schmidt independence criterion of all pairs, to a factor that CKA does not have.

    Debiased: HSIC_1 of Song et al. (2012, eq. 5), as Nguyen et al. (2021) use it. Biased: tr(K H L H) of
    Kornblith et al. (2019).
    """
    n = k.n
    if debiased:
        totals = np.outer(k.totals, k.totals) / ((n - 1) * (n - 2))
        return np.asarray(k.traces + totals - 2 / (n - 2) * k.rows)
    full = k.totals + k.sums
    rows = k.rows + k.mixed + k.mixed.T + k.diagonals
    return np.asarray(k.traces + k.diagonals - 2 / n * rows + np.outer(full, full) / n**2)


def paired(inputs: Sequence[Input], by: Sequence[str]) -> tuple[list[Points], list[str]]:
    """The conditions that all inputs have, and what to say about the others and about averages."""
    if len(inputs) < 2:
        raise AnalysisError(
            f"expected at least 2 inputs to compare, found {len(inputs)}",
            hint="name more taps in on",
        )
    whole = points_of(inputs, by)
    every = matched(whole)
    count = every[0].count
    if count < 4:
        raise AnalysisError(f"expected at least 4 rows that all inputs have, found {count}")
    notes = [f"{count} rows, matched by {', '.join(by)}"]
    notes += left_out([(p.input, p.names) for p in whole], every[0].names)
    notes += [
        f"{p.input}: {len(p.members)} rows were averaged to {count}" for p in every if p.averaged
    ]
    return every, notes


def refuse_equal(every: Sequence[Points], equal: np.ndarray) -> None:
    """Refuse inputs whose rows are all equal."""
    if equal.any():
        names = ", ".join(p.input for p, bad in zip(every, equal, strict=True) if bad)
        raise AnalysisError(
            "expected rows that differ, but all are equal",
            where=names,
            hint="check that the tap depends on the input, and that the samples differ",
        )


def pairs_result(
    name: str, square: np.ndarray, every: Sequence[Points], notes: Sequence[str], measure: str
) -> Result:
    """A square matrix between inputs as array, table and figure."""
    names = [p.input for p in every]
    i, j = np.triu_indices(len(names), 1)
    return Result(
        tables={
            "pairs": {
                "a": [names[k] for k in i],
                "b": [names[k] for k in j],
                name: square[i, j].tolist(),
            },
            "taps": {"tap": names, "dimensions": [p.size for p in every]},
        },
        arrays={name: (square, ("tap", "other"))},
        figures={"matrix": figures.matrix(square, names, measure)},
        notes=notes,
        metrics={"rows": every[0].count},
    )
