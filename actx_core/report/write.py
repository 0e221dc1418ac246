"""Writes the report: fills the template, and keeps the page below its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from actx_core.files import atomic
from actx_core.report import words
from actx_core.report.groups import Chapter, chapters
from actx_core.report.maps import MapView
from actx_core.report.page import LINES, AnalysisView, ReportPage
from actx_core.report.pictures import Album, Encode, figures, thumbnail
from actx_core.types import Preview
from actx_core.units import size

LIMIT = 14_000_000
"""Bytes of the page, at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything the page shows."""

    picture_bytes: int = 6_500_000
    places: int = 8000
    points: int = 24_000
    figure_bytes: int = 2_400_000
    whole: int = LINES
    rows: int = 10
    columns: int = 12
    groups: int = 1000
    analyses: int = 200
    listed: int = 400

    def scaled(self, images: float, lists: float) -> Limits:
        """The same for a page with a share of the images and of the length of lists."""
        return Limits(
            picture_bytes=int(self.picture_bytes * images),
            places=int(self.places * lists),
            points=int(self.points * lists),
            figure_bytes=int(self.figure_bytes * images),
            whole=int(self.whole * images),
            rows=int(self.rows * lists),
            groups=int(self.groups * lists),
            analyses=int(self.analyses * lists),
            listed=int(self.listed * lists),
        )


def write_report(page: ReportPage, path: Path) -> Path:
    """Write the page as one HTML file of at most 14 MB that loads nothing; equal pages give equal bytes.

    Pictures become thumbnails of 160 pixels. Of very many, thumbnails get smaller and strips shorter; then
    figures and lists too, which end with a count of what is left out. Raises StoreError if the disk is full.
    """
    encode = cache(thumbnail)
    for images, lists in ((1, 1), (0.6, 1), (0.3, 0.5), (0.1, 0.25), (0, 0.1)):
        html = _render(page, Limits().scaled(images, lists), encode).encode(errors="replace")
        if len(html) <= LIMIT:
            break
    with atomic(path) as temporary:
        temporary.write_bytes(html)
    return path


def _render(page: ReportPage, limits: Limits, encode: Encode) -> str:
    environment = Environment(
        loader=PackageLoader("actx_core.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        breakable=words.breakable,
        brief=words.brief,
        cell=words.cell,
        count=words.count,
        duration=words.duration,
        link=words.link,
        middle=words.middle,
        number=words.number,
        short=words.short,
        size=size,
    )
    views = page.analyses[: limits.analyses]
    told = [chapters(view.groups, limits.groups) for view in views]
    album = Album(list(_strips(page, told)), limits.picture_bytes, limits.places, encode)
    shown = iter(figures([f for view in views for f in view.figures.values()], limits.figure_bytes))
    return environment.get_template("page.html.j2").render(
        page=page,
        limits=limits,
        views=views,
        sentence=words.sentence(page),
        album=album,
        chapters=told,
        maps=_maps(views, limits),
        figures=[
            dict(zip(view.figures, islice(shown, len(view.figures)), strict=True)) for view in views
        ],
        numeric=words.numeric,
        longest=max((seconds for _, seconds in page.timings), default=0.0) or 1.0,
    )


def _strips(
    page: ReportPage, told: Sequence[Sequence[Chapter]]
) -> Iterator[Sequence[Preview | None]]:
    """Every row of previews that the page shows."""
    for source in page.sources:
        yield source.previews
    for group in (group for view in told for chapter in view for group in chapter.groups):
        yield from (strip for _, strip in group.strips)


def _maps(views: Sequence[AnalysisView], limits: Limits) -> list[list[MapView]]:
    """The maps of each analysis, with an equal share of their points where there are too many."""
    points = sum(map.shown for view in views for map in view.maps)
    part = min(1.0, limits.points / max(1, points))
    return [[map.thinned(part) for map in view.maps] for view in views]
