"""Previews of the rows of a run: each sample is read once, and a row of a text knows its place in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from math import ceil

import pyarrow as pa

from actx_core.config.pipeline import SourceEntry
from actx_core.errors import ActxError
from actx_core.plan import build_source
from actx_core.results import Run
from actx_core.types import SAMPLE, Preview

Previews = Callable[[str, Sequence[int]], list[Preview | None]]
"""Shows rows of an array."""
SPAN = ["char_start", "char_end"]
"""Columns of rows that are about a part of their sample's text: its characters."""
PLACES = 6000
"""Rows that the groups of all analyses show together, at most."""
AROUND = 40
"""Characters of a text on either side of a token in the words for it."""


class RunPreviews:
    """Previews of samples and of rows; None where the data cannot be read any more."""

    def __init__(self, run: Run, sources: Sequence[SourceEntry]) -> None:
        self._run = run
        self._entries = {entry.id: entry for entry in sources}
        self._build = cache(lambda name: build_source(self._entries[name]))
        self._known: dict[tuple[str, str], Preview | None] = {}

    def samples(self, source: str, samples: Sequence[str]) -> list[Preview | None]:
        """Previews of samples of a source."""
        new = [s for s in dict.fromkeys(samples) if (source, s) not in self._known]
        found: Sequence[Preview | None] = [None] * len(new)
        if new and source in self._entries:
            try:
                found = self._build(source).preview(new)
            except ActxError:  # the data may have moved since; figures stand without them
                del self._entries[source]
        self._known.update(zip([(source, s) for s in new], found, strict=True))
        return [self._known[source, sample] for sample in samples]

    def rows(self, name: str, rows: Sequence[int]) -> list[Preview | None]:
        """Previews of rows of an array, or of the array that a chain began with."""
        array = origin(name, self._run.arrays)
        if array is None:
            return [None] * len(rows)
        source, table = self._tables(array)
        return self.of(source, table.take(pa.array(rows, pa.int64())))

    def of(self, source: str, table: pa.Table) -> list[Preview | None]:
        """Previews of the rows of a table."""
        found = self.samples(source, table[SAMPLE].to_pylist())
        if not set(SPAN) <= set(table.column_names):
            return found
        spans = zip(*(table[column].to_pylist() for column in SPAN), strict=True)
        return [
            replace(one, span=span) if one and one.kind == "text" and None not in span else one
            for one, span in zip(found, spans, strict=True)
        ]

    @cached_property
    def _tables(self) -> Callable[[str], tuple[str, pa.Table]]:
        return cache(lambda name: (self._run[name].spec.source, self._run[name].rows))


def in_words(table: pa.Table, previews: Sequence[Preview | None]) -> list[str]:
    """What to call rows: the sample's name, or the part of a text that a row is about, in brackets."""
    names = table[SAMPLE].to_pylist()
    return [
        _in_text(str(one.data), *one.span) if one and one.span else str(name)
        for name, one in zip(names, previews, strict=True)
    ]


def _in_text(text: str, start: int, end: int) -> str:
    parts = text[max(0, start - AROUND) : start], text[start:end], text[end : end + AROUND]
    return " ".join("{}[{}]{}".format(*parts).split())


def share(groups: Iterable[Sequence[int]]) -> float:
    """The share of each group's rows to show, so that all together keep ``PLACES``."""
    return min(1.0, PLACES / max(1, sum(map(len, groups))))


def few(groups: Mapping[str, Sequence[int]], share: float) -> dict[str, Sequence[int]]:
    """The first rows of each group, at least one."""
    return {title: rows[: ceil(len(rows) * share)] for title, rows in groups.items()}


def origin(name: str, arrays: Collection[str]) -> str | None:
    """The array that an input is, or that the chain began with that made it."""
    return next((a for a in sorted(arrays, key=len, reverse=True) if a in name), None)
