"""Writes the report: fills the template, and keeps the page below its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from actx_core.files import atomic
from actx_core.report import words
from actx_core.report.page import AnalysisView, ReportPage
from actx_core.report.pictures import Album, figures
from actx_core.types import Preview
from actx_core.units import size

LIMIT = 5_000_000
"""Bytes of the page, at most."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of everything the page shows."""

    pictures: int = 300
    places: int = 3000
    figure_bytes: int = 1_800_000
    rows: int = 10
    columns: int = 10
    groups: int = 60
    analyses: int = 200
    listed: int = 400

    def scaled(self, images: float, lists: float) -> Limits:
        """The same for a page with a share of the images and of the length of lists."""
        return Limits(
            pictures=int(self.pictures * images),
            places=int(self.places * lists),
            figure_bytes=int(self.figure_bytes * images),
            rows=int(self.rows * lists),
            groups=int(self.groups * lists),
            analyses=int(self.analyses * lists),
            listed=int(self.listed * lists),
        )


def write_report(page: ReportPage, path: Path) -> Path:
    """Write the page as one HTML file of at most 5 MB that loads nothing; the same page gives the same bytes.

    Pictures become thumbnails of 160 pixels; where there are too many, strips get shorter, figures smaller
    and lists end with a count of what is left out. Raises StoreError where the disk is full.
    """
    for images, lists in ((1, 1), (0.5, 1), (0.25, 1), (0.1, 0.5), (0, 0.1)):
        html = _render(page, Limits().scaled(images, lists)).encode(errors="replace")
        if len(html) <= LIMIT:
            break
    with atomic(path) as temporary:
        temporary.write_bytes(html)
    return path


def _render(page: ReportPage, limits: Limits) -> str:
    environment = Environment(
        loader=PackageLoader("actx_core.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        breakable=words.breakable,
        cell=words.cell,
        count=words.count,
        duration=words.duration,
        link=words.link,
        number=words.number,
        short=words.short,
        size=size,
    )
    views = page.analyses[: limits.analyses]
    album = Album(list(_strips(page, views, limits)), limits.pictures, limits.places)
    shown = iter(figures([f for view in views for f in view.figures.values()], limits.figure_bytes))
    return environment.get_template("page.html.j2").render(
        page=page,
        limits=limits,
        views=views,
        sentence=words.sentence(page),
        strip=album.strip,
        pictures=album.pictures,
        figures=[
            dict(zip(view.figures, islice(shown, len(view.figures)), strict=True)) for view in views
        ],
        numeric=words.numeric,
        longest=max((seconds for _, seconds in page.timings), default=0.0) or 1.0,
    )


def _strips(
    page: ReportPage, views: Sequence[AnalysisView], limits: Limits
) -> Iterator[Sequence[Preview | None]]:
    """Every row of previews that the page shows."""
    for source in page.sources:
        yield source.previews
    for view in views:
        yield from islice(view.groups.values(), limits.groups)
