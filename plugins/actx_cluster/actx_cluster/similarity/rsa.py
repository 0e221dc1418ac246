"""Representational similarity analysis: RDMs of taps, models, sources, replicates and behaviour, compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from actx_cluster import costs
from actx_cluster.shape import Shape
from actx_cluster.similarity import figures
from actx_cluster.similarity.behaviour import Measured, read_behaviour
from actx_cluster.similarity.compare import (
    Comparer,
    bootstrap,
    noise_ceiling,
    permutation_p,
    refuse_constant,
)
from actx_cluster.similarity.config import RsaConfig
from actx_cluster.similarity.distances import Distances, condensed, working
from actx_cluster.similarity.points import Points, common, left_out, points, split
from actx_cluster.similarity.saved import Saved
from actx_core import AnalysisError, Analyzer, ArraySpec, Input, Result

MOST_BYTES = 2**32
"""Bytes of all RDMs in float64, at most: comparing them needs twice as much."""


@dataclass(frozen=True, slots=True)
class Item:
    """One RDM of the comparison.

    ``series`` is the source and model it belongs to, ``place`` its number there; items with one ``group``
    measure the same thing several times.
    """

    name: str
    series: str
    place: int
    group: str
    rdm: np.ndarray


class Rsa(Analyzer[RsaConfig]):
    """Tables ``pairs`` (similarity, p, interval), ``rdms`` and ``ceilings``; array ``similarity``.

    Conditions are matched by name; those that an input lacks are left out of all, and a note says how many.
    """

    many: ClassVar[bool] = True

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options = self.config
        parts = list(_parts(inputs, options))
        files = [read_behaviour(path, options.by[0]) for path in options.behaviour]
        named = [(name, p.names) for name, _, p in parts] + [(f.name, f.conditions) for f in files]
        names = common(named)
        self._refuse_size(parts, files, len(names))
        items = list(_measured(parts, names, options, out))
        if options.depth_bins:
            items = list(_binned(items, options.depth_bins))
        items += _behaviour(files, names)
        _refuse(items)
        comparer = Comparer(np.array([item.rdm for item in items]), options.compare)
        permutations, draws = Saved(out / "permutations.npz"), Saved(out / "draws.npz")
        p = permutation_p(comparer, options.permutations, options.seed, permutations)
        intervals = bootstrap(comparer, options.bootstraps, options.seed, draws)
        found = np.stack([comparer.observed(), *intervals])
        for path in (permutations.path, draws.path, *out.glob("rdm*.f32")):
            path.unlink(missing_ok=True)
        return _result(items, found, p, options, left_out(named, names), len(names))

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        options, shapes = self.config, [Shape.of(spec) for spec in inputs]
        if options.by != ("sample",) or options.split or options.behaviour:
            return None  # the number of conditions, or of matrices, is not known
        count = min(shape.count for shape in shapes)
        matrices = 8 * len(shapes) * count * (count - 1) // 2
        drawn = 4 * options.bootstraps * len(shapes) ** 2
        told = costs.conditions(shapes, options.by)
        distances = max(working(shape, options.metric) for shape in shapes)
        work = drawn + 7 * matrices + 24 * count**2 + distances
        return costs.FIXED + told + max(work, costs.matrix(len(shapes)))

    def _refuse_size(
        self, parts: Sequence[tuple[str, str, Points]], files: Sequence[Measured], count: int
    ) -> None:
        if count < 4:
            raise AnalysisError(
                f"expected at least 4 conditions that all inputs have, found {count}"
            )
        rdms = len(parts) + sum(len(f.labels) for f in files)
        size = rdms * count * (count - 1) * 4
        if size > MOST_BYTES:
            raise AnalysisError(
                f"{rdms} matrices of {count} conditions need {size / 1e9:.1f} GB, twice",
                hint='average the rows over a column with fewer values, by = "label", or say fewer taps',
            )


def _parts(inputs: Sequence[Input], options: RsaConfig) -> Iterator[tuple[str, str, Points]]:
    """(name, input, conditions) of each RDM of activations."""
    for data in inputs:
        whole = points(data, options.by)
        if options.split:
            for value, part in split(whole, options.split).items():
                yield f"{data.name} {options.split}={value}", data.name, part
        else:
            yield data.name, data.name, whole


def _measured(
    parts: Sequence[tuple[str, str, Points]], names: list[str], options: RsaConfig, out: Path
) -> Iterator[Item]:
    places: dict[str, int] = {}
    for number, (name, data, whole) in enumerate(parts):
        place = {condition: i for i, condition in enumerate(whole.names)}
        mine = whole if whole.names == names else whole.picked([place[n] for n in names])
        distances = Distances(mine, options.metric, options.shrinkage)
        series = data.rpartition("/")[0] + name.removeprefix(data)
        places[series] = places.get(series, 0) + 1
        rdm = condensed(distances, out / f"rdm{number:04d}.f32")
        yield Item(name, series, places[series], data, rdm.astype(np.float64))


def _binned(items: Sequence[Item], bins: int) -> Iterator[Item]:
    """The mean RDM of each bin of a series; each RDM counts alike, so it is divided by its mean."""
    for series in dict.fromkeys(item.series for item in items):
        mine = [item for item in items if item.series == series]
        if len(mine) < bins:
            raise AnalysisError(
                f"expected at least {bins} taps for as many bins of depth, found {len(mine)}",
                where=series,
                hint="lower depth_bins, or extract more taps",
            )
        for place, several in enumerate(np.array_split(np.arange(len(mine)), bins), 1):
            rdms = [mine[i].rdm / mine[i].rdm.mean() for i in several]
            name = f"{series} depth {place} of {bins}"
            group = f"{mine[0].group.rpartition('/')[0]} depth {place} of {bins}"
            yield Item(name, series, place, group, np.mean(rdms, axis=0))


def _behaviour(files: Sequence[Measured], names: list[str]) -> Iterator[Item]:
    for file in files:
        for label, rdm in zip(file.labels, file.picked(names), strict=True):
            name = f"{file.name} {label}".rstrip() if len(file.labels) > 1 else file.name
            yield Item(name, "", 0, file.name, rdm)


def _refuse(items: Sequence[Item]) -> None:
    if len(items) < 2:
        raise AnalysisError(
            f"expected at least 2 matrices to compare, found {len(items)}",
            hint="name more taps in on, say behaviour, or split the rows by a column",
        )
    if equal := refuse_constant(np.array([i.rdm for i in items]), [i.name for i in items]):
        raise AnalysisError(
            "all distances are equal, so no similarity exists", where=", ".join(equal[:5])
        )


def _result(
    items: Sequence[Item],
    found: np.ndarray,
    p: np.ndarray,
    options: RsaConfig,
    notes: list[str],
    conditions: int,
) -> Result:
    value, low, high = found
    i, j = np.triu_indices(len(items), 1)
    names = [item.name for item in items]
    shown = {"matrix": figures.matrix(value, names, options.compare)}
    for reference, lines in _lines(items, found).items():
        shown[f"depth_{reference}"] = figures.depth(lines, f"{options.compare} to {reference}")
    tested, drawn = options.permutations > 0, options.bootstraps > 0
    return Result(
        tables={
            "pairs": {
                "a": [names[k] for k in i],
                "b": [names[k] for k in j],
                "similarity": value[i, j].tolist(),
                "p": p[i, j].tolist() if tested else [None] * len(i),
                "low": low[i, j].tolist() if drawn else [None] * len(i),
                "high": high[i, j].tolist() if drawn else [None] * len(i),
            },
            "rdms": {
                "rdm": names,
                "series": [item.series for item in items],
                "depth": [item.place for item in items],
                "measures": [item.group for item in items],
            },
        }
        | _ceilings(items, options),
        arrays={"similarity": (value, ("rdm", "other"))},
        figures=shown,
        notes=[f"{conditions} conditions, matched by {', '.join(options.by)}", *notes],
        metrics={"conditions": conditions},
    )


def _ceilings(items: Sequence[Item], options: RsaConfig) -> dict[str, dict[str, list[object]]]:
    """Noise ceilings of what was measured several times."""
    groups: dict[str, list[np.ndarray]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item.rdm)
    several = {name: np.array(rdms) for name, rdms in groups.items() if len(rdms) > 1}
    if not several:
        return {}
    bounds = [noise_ceiling(rdms, options.compare) for rdms in several.values()]
    return {
        "ceilings": {
            "measures": list(several),
            "rdms": [len(rdms) for rdms in several.values()],
            "lower": [lower for lower, _ in bounds],
            "upper": [upper for _, upper in bounds],
        }
    }


def _lines(items: Sequence[Item], found: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Over depth, each series against each behaviour, and against the same depth of the first series."""
    every = dict.fromkeys(item.series for item in items if item.series)
    series = {name: [k for k, item in enumerate(items) if item.series == name] for name in every}
    deep = {name: mine for name, mine in series.items() if len(mine) > 1}
    if not deep:
        return {}
    lines = {
        item.name: {name: found[:, mine, k] for name, mine in deep.items()}
        for k, item in enumerate(items)
        if not item.series
    }
    (first, theirs), *others = deep.items()
    same = {name: found[:, mine, theirs] for name, mine in others if len(mine) == len(theirs)}
    return lines | ({first: same} if same else {})
