"""Memory that the analyses of a pipeline will take, foretold from what it will store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from actx_core.config.pipeline import AnalysisEntry
from actx_core.config.problems import did_you_mean
from actx_core.contracts import Analyzer
from actx_core.errors import ActxError, AnalysisError
from actx_core.plan import Plan
from actx_core.registry import registry
from actx_core.types import ArraySpec

Specs = Mapping[str, tuple[ArraySpec, bool]]
"""What will be stored, by name, and whether the number of its rows is exact, not an upper bound."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """One call of an analyzer: the bytes it takes at most, or why they are not known, or the refusal.

    ``exact`` says whether the rows of all inputs are, rather than an upper bound.
    """

    inputs: tuple[str, ...]
    bytes: int | None = None
    exact: bool = True
    why: str = ""
    refused: ActxError | None = None


def forecasts(plan: Plan, entries: Sequence[AnalysisEntry]) -> dict[str, list[Forecast]]:
    """By the name of the analysis, its calls. Imports the analyzers; reads and writes nothing."""
    specs = {}
    for cell, tap, _, exact in plan.arrays():
        spec = tap.spec(cell, cell.rows(tap)[0])
        specs[spec.name] = spec, exact
    names = {entry.id for entry in entries}
    return {entry.id: list(_calls(entry, specs, names - {entry.id})) for entry in entries}


def refuse(plan: Plan, entries: Sequence[AnalysisEntry]) -> None:
    """Raise the first refusal that extraction cannot change, so that it comes before hours of work."""
    for calls in forecasts(plan, entries).values():
        for call in calls:
            if call.inputs and call.exact and call.refused is not None:
                raise call.refused


def _calls(entry: AnalysisEntry, specs: Specs, others: set[str]) -> Iterator[Forecast]:
    found = tuple(n for n in specs if any(fnmatchcase(n, pattern) for pattern in entry.on))
    chained = tuple(name for name in entry.on if name in others)
    try:
        analyzer: Analyzer[Any] = registry().load(entry.component)(entry.config)
    except ActxError as error:
        yield Forecast((*chained, *found), refused=error)
        return
    if not found and not chained:
        hint = did_you_mean(entry.on[0], [*specs, *others], "there are")
        message = f"nothing matches on = {list(entry.on)}"
        yield Forecast((), refused=AnalysisError(message, where=entry.id, hint=hint))
    elif analyzer.many:
        yield _call(analyzer, found, specs, chained)
    else:
        for name in found:
            yield _call(analyzer, (name,), specs)
        for name in chained:
            yield _call(analyzer, (), specs, (name,))


def _call(
    analyzer: Analyzer[Any], names: tuple[str, ...], specs: Specs, chained: tuple[str, ...] = ()
) -> Forecast:
    every = (*chained, *names)
    if chained:
        return Forecast(every, why=f"what {', '.join(chained)} will make is not known yet")
    inputs = [specs[name][0] for name in names]
    if any(spec.rows is None for spec in inputs):
        return Forecast(every, why="the number of rows is not known yet")
    exact = all(specs[name][1] for name in names)
    try:
        size = analyzer.memory(inputs)
    except AnalysisError as error:
        return Forecast(every, exact=exact, refused=error)
    return Forecast(every, size, exact, "" if size is not None else "the analyzer cannot tell")
