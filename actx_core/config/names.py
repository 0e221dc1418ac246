"""Checks what entries are called, and what analyses say they work on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from typing import Any

from actx_core.config.locate import Path
from actx_core.config.problems import Problems, did_you_mean

RESERVED = {"source": ("analyses", "receipts")}
"""Names that a run's own folders have beside those of its sources."""


def check_ids(
    section: str, entries: Iterable[tuple[Path, str | None, Any]], problems: Problems
) -> None:
    """Ids are parts of paths and of globs, and unique even where case does not count."""
    seen: dict[str, str] = {}
    for path, name, _ in entries:
        if name is None:
            continue
        at = (*path, "as")
        if wrong := _wrong(section, name):
            problems.add(at, f"'{name}' cannot be the name of a {section}: {wrong}", 'set as = "…"')
        elif name.casefold() in seen:
            other = seen[name.casefold()]
            differ = "" if other == name else f" (case does not count: '{other}')"
            problems.add(at, f"two of '{section}' are called '{name}'{differ}", 'set as = "…"')
        seen.setdefault(name.casefold(), name)


def _wrong(section: str, name: str) -> str:
    if not name.strip() or name != name.strip():
        return "it is empty or has blanks at an end"
    if name.startswith("."):
        return "it begins with '.'"
    if bad := re.search(r"[/\\*?\[\]{}]|[^\x20-\x7e\w -\U0010ffff]", name):
        return f"it contains {bad[0]!r}"
    if len(name) > 100:
        return "it is longer than 100 characters"
    return "a run has a folder of that name" if name.casefold() in RESERVED.get(section, ()) else ""


@dataclass(frozen=True)
class Wanted:
    """What one analysis works on; ``id`` is None where a mistake hides it."""

    path: Path
    id: str | None
    on: tuple[str, ...]


def check_on(analyses: Sequence[Wanted], cells: Sequence[str] | None, problems: Problems) -> None:
    """Each pattern must be able to match a tap of a cell (``source/model``) or name another analysis.

    ``cells`` is None where mistakes hide some of them: then only the order of analyses is checked.
    """
    ids = {a.id for a in analyses if a.id is not None}
    hidden = cells is None or len(ids) < len(analyses)
    for analysis in analyses:
        for n, pattern in enumerate(analysis.on):
            known = hidden or pattern in ids or any(_reaches(pattern, f"{c}/") for c in cells or ())
            if not known:
                tap = "/".join(pattern.split("/")[2:]) or "*"
                there = [*(f"{c}/{tap}" for c in cells or ()), *sorted(ids - {analysis.id})]
                problems.add(
                    (*analysis.path, "on", n),
                    f"'{pattern}' can match nothing: neither source/model/tap nor another analysis",
                    did_you_mean(pattern, there, "there are"),
                )
    _check_cycles(analyses, ids, problems)


def _check_cycles(analyses: Sequence[Wanted], ids: set[str], problems: Problems) -> None:
    graph = {a.id: set(a.on) & ids for a in analyses if a.id is not None}
    paths = {a.id: a.path for a in reversed(analyses)}
    while True:
        try:
            TopologicalSorter(graph).prepare()
            return
        except CycleError as error:
            cycle = error.args[1][::-1]  # each waits for the next
        first = min(cycle[:-1], key=lambda i: list(graph).index(i))
        cycle = cycle[cycle.index(first) : -1] + cycle[: cycle.index(first)] + [first]
        chain = " → ".join(f"'{i}'" for i in cycle)
        problems.add((*paths[first], "on"), f"analyses wait for each other: {chain}")
        graph[first] -= {cycle[1]}  # go on behind this cycle


def _reaches(pattern: str, start: str) -> bool:
    """Whether the glob matches some text that goes on behind ``start``."""
    tokens = re.findall(r"\[!?\]?[^\]]*\]|.", pattern, re.DOTALL)
    states = {0}
    for char in start:
        for state in sorted(states):
            while state < len(tokens) and tokens[state] == "*":
                state += 1
                states.add(state)
        stay = {s for s in states if tokens[s : s + 1] == ["*"]}
        step = {s + 1 for s in states - stay if s < len(tokens) and fnmatchcase(char, tokens[s])}
        states = stay | step
    return any(s < len(tokens) for s in states)
