"""Linear probes of many taps: what can be read from each, beyond chance, memory and a random network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actx_cluster import costs
from actx_cluster.probes import figures
from actx_cluster.probes.config import ProbeConfig
from actx_cluster.probes.fit import Scored, probe
from actx_cluster.probes.task import Task, task
from actx_cluster.rows import Rows
from actx_cluster.shape import Shape
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result, atomic

Line = dict[str, Any]


class Probe(Analyzer[ProbeConfig]):
    """Logistic or ridge regression from each tap to a column, by grouped cross-validation.

    Scores are accuracy or R² of rows that the probe has not seen; intervals of 95 % come from a bootstrap
    over groups. Selectivity (Hewitt and Liang 2019) is the score less that of the control task, in which
    labels are shuffled. Tables: ``probes`` (a line per tap) and ``folds``. Figure: ``depth``.
    """

    many = True

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options = self.config
        pairs = _pairs(inputs, options.random)
        lines, folds, tasks = [], [], []
        for number, data in enumerate(inputs):
            rows = Rows(data)
            tasks.append(task(rows, options))
            line, of_folds = _done(rows, tasks[-1], options, out / f"probe.{number}.json")
            lines.append(line)
            folds += of_folds
        scores = {line["input"]: line["score"] for line in lines}
        for line in lines:
            other = pairs.get(line["input"])
            line["random"] = scores[other] if other else None
            line["beyond_random"] = line["score"] - scores[other] if other else None
        for path in out.glob("probe.*.json"):
            path.unlink()
        best = max(lines, key=lambda line: line["score"])
        return Result(
            tables={"probes": _table(lines), "folds": _table(folds)},
            figures={"depth": figures.depth(lines, _measure(tasks[0]))},
            notes=list(_notes(lines, tasks, options, best)),
            metrics={"best_score": best["score"], "best_selectivity": best["selectivity"]}
            if options.controls
            else {"best_score": best["score"]},
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        return max(self._of_one(Shape.of(spec)) for spec in inputs)

    def _of_one(self, shape: Shape) -> int:
        """One tap after the other: columns as text, the rows used, and the copies of a fold."""
        used = min(shape.count, self.config.rows) * shape.size * shape.itemsize
        return costs.FIXED + shape.count * 6 * costs.TEXT + max(costs.reading(shape), 6 * used)


def _done(rows: Rows, about: Task, options: ProbeConfig, path: Path) -> tuple[Line, list[Line]]:
    """The probe of one tap; kept in ``path``, so that it need not be fitted again after a stop."""
    if path.exists():
        line, folds = json.loads(path.read_text("utf-8"))
        return line, folds
    line, folds = _one(rows, about, options)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps([line, folds]), "utf-8")
    return line, folds


def _one(rows: Rows, about: Task, options: ProbeConfig) -> tuple[Line, list[Line]]:
    rows.moments()  # names rows that are not finite
    matrix = _matrix(rows, about.numbers)
    folds = about.folds(options.folds, options.seed)
    found = probe(matrix, about, about.labels, folds, options)
    random = np.random.default_rng(options.seed)
    controls = [
        probe(matrix, about, about.control(random), folds, options) for _ in range(options.controls)
    ]
    control = float(np.mean([c.score for c in controls])) if controls else None
    line = {
        "input": rows.data.name,
        "score": found.score,
        "low": found.low,
        "high": found.high,
        "chance": about.chance,
        "control": control,
        "selectivity": None if control is None else found.score - control,
        "rows": len(about.labels),
        "groups": int(about.groups.max()) + 1,
        "classes": len(about.classes) or None,
        "dimensions": rows.size,
        "unconverged": found.unconverged,
    }
    return line, list(_folds(rows.data.name, found, folds))


def _folds(
    name: str, found: Scored, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Iterator[Line]:
    for number, (train, test) in enumerate(folds):
        yield {
            "input": name,
            "fold": number,
            "score": found.folds[number],
            "alpha": found.alphas[number],
            "train_rows": len(train),
            "test_rows": len(test),
        }


def _matrix(rows: Rows, numbers: np.ndarray) -> np.ndarray:
    """Some rows in memory, by their numbers in ascending order."""
    return np.concatenate([block for _, block in Rows(rows.data, numbers).blocks()])


def _pairs(inputs: Sequence[Input], random: str) -> dict[str, str]:
    """For each tap, the same tap of the random model. Raises AnalysisError where there is none."""
    if not random:
        return {}
    names = [data.name for data in inputs]
    theirs: dict[tuple[str, ...], str] = {}
    for name in names:
        parts = tuple(name.split("/"))
        if random in parts:
            at = parts.index(random)
            theirs[(*parts[:at], *parts[at + 1 :])] = name
    found = {}
    for name in names:
        parts = tuple(name.split("/"))
        if random not in parts:
            cuts = ((*parts[:i], *parts[i + 1 :]) for i in range(len(parts)))
            other = next((theirs[cut] for cut in cuts if cut in theirs), None)
            if other:
                found[name] = other
    if not found:
        raise AnalysisError(
            f"no tap has its like in a model '{random}' among {', '.join(names)}",
            hint="`on` must take the same taps of both models, and random is the `as` of the one with"
            " random weights",
        )
    return found


def _table(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [line[name] for line in lines] for name in lines[0]}


def _measure(about: Task) -> str:
    return "accuracy" if about.classes else "R²"


def _notes(
    lines: Sequence[Line], tasks: Sequence[Task], options: ProbeConfig, best: Line
) -> Iterator[str]:
    yield (
        f"{_measure(tasks[0])} of '{options.column}' is highest in {best['input']}: {best['score']:.3f}"
        f" (95 % interval {best['low']:.3f} to {best['high']:.3f}; chance {best['chance']:.3f})"
    )
    if tasks[0].unlabelled:
        yield f"{tasks[0].unlabelled} rows have no value in '{options.column}' and were left out"
    if any(about.unused for about in tasks):
        most = max(len(about.numbers) for about in tasks)
        yield f"probes use a seeded choice of whole groups: at most {most} rows (rows = {options.rows})"
    moving = sum(line["unconverged"] for line in lines)
    if moving:
        yield f"warning: {moving} fits were still moving after max_iter = {options.max_iter} iterations"
