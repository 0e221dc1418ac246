"""What a report shows, as plain values; `write_report` turns it into HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from actx_core.report.maps import MapView
from actx_core.types import Preview

Facts = Sequence[tuple[str, str]]
"""Labels with their values, ready to be read."""


@dataclass(frozen=True, slots=True)
class SourceView:
    """A source: how many samples (None: not known), their columns, and a few of them."""

    name: str
    type: str
    samples: int | None = None
    columns: Sequence[str] = ()
    previews: Sequence[Preview | None] = ()


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model and what is worth knowing of it: weights, device, parameters, licence."""

    name: str
    type: str
    facts: Facts = ()


@dataclass(frozen=True, slots=True)
class ArrayView:
    """A stored array: ``rows`` x ``shape``, where ``axes`` names the axes of one row.

    ``name`` is ``source/model/tap``, ``pooled`` says how the tap was pooled (empty: not at all).
    ``mean`` and ``std`` are over all finite values, ``nonfinite`` counts the others.
    """

    name: str
    rows: int
    axes: Sequence[str]
    shape: Sequence[int]
    dtype: str
    bytes: int
    pooled: str = ""
    mean: float | None = None
    std: float | None = None
    nonfinite: int = 0


LINES = 1000
"""Lines of a table that the page may show."""


@dataclass(frozen=True, slots=True)
class TableView:
    """The first rows of a table; ``total`` counts all, ``path`` is its file, relative to the page."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    total: int
    path: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        columns: Mapping[str, Sequence[Any]],
        path: str = "",
        total: int | None = None,
    ) -> TableView:
        """A table by its columns, as in ``Result.tables``; ``total`` where they are only its first rows."""
        rows = list(islice(zip(*columns.values(), strict=True), LINES))
        count = len(next(iter(columns.values()), ()))
        return cls(name, list(columns), rows, count if total is None else total, path)


@dataclass(frozen=True, slots=True)
class AnalysisView:
    """One analysis of one input (or of several, named in one string).

    ``figures`` are the contents of PNG, JPEG or SVG files. ``groups`` maps titles to previews of their rows.
    A note that begins with ``warning: `` stands out. ``folder`` holds the results, relative to the page.
    ``maps`` are drawn where the analysis laid out rows in the plane.
    """

    id: str
    type: str
    input: str
    notes: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    tables: Sequence[TableView] = ()
    figures: Mapping[str, bytes] = field(default_factory=dict)
    maps: Sequence[MapView] = ()
    groups: Mapping[str, Sequence[Preview | None]] = field(default_factory=dict)
    folder: str = ""


@dataclass(frozen=True, slots=True)
class ReportPage:
    """All that the page of a run shows.

    ``subtitle`` is a sentence on what ran on what; an empty one is made from the rest of the page.
    ``facts`` are the key figures at the top, ``timings`` steps with their seconds, ``skipped`` samples with
    the reason, ``problems`` what needs attention, ``notes`` what is good to know, ``versions`` the software.
    """

    title: str
    subtitle: str = ""
    facts: Facts = ()
    sources: Sequence[SourceView] = ()
    models: Sequence[ModelView] = ()
    arrays: Sequence[ArrayView] = ()
    analyses: Sequence[AnalysisView] = ()
    timings: Sequence[tuple[str, float]] = ()
    skipped: Sequence[tuple[str, str]] = ()
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
