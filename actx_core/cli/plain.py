"""Tables and progress as plain text, for files, pipes and logs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from actx_core.cli.text import duration
from actx_core.units import size

if TYPE_CHECKING:
    from actx_core.cli.meter import Meter
    from actx_core.types import Stage

EVERY = 5.0
"""Seconds between two lines of progress."""


class Plain:
    """Writes lines; ``Rich`` does the same for a terminal."""

    def __init__(self) -> None:
        self._last = 0.0
        self._stage = ""

    def line(self, text: str) -> None:
        """One line that stays."""
        click.echo(text)

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
    ) -> None:
        """Columns two spaces apart; those named in ``right`` are aligned there."""
        for line in aligned(heads, rows, right):
            self.line(line)

    def start(self) -> None:
        """Progress follows."""

    def stop(self) -> None:
        """No progress follows: the terminal is left as it was."""

    def stage(self, stage: Stage, meter: Meter) -> None:
        """A stage begins. Many of one kind in a row are named every few seconds only."""
        if stage.name != self._stage or meter.now - self._last >= EVERY:
            self._stage, self._last = stage.name, meter.now
            self.line(label(stage))

    def ended(self, meter: Meter) -> None:
        """An extraction is complete."""
        self.line(f"{meter.cell}: {outcome(meter)}")

    def advance(self, meter: Meter) -> None:
        """The meter has moved."""
        if meter.now - self._last >= EVERY:
            self._last = meter.now
            self.line(f"{meter.cell}: {figures(meter)}")


def aligned(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]
) -> Iterator[str]:
    """The lines of a table. Too long ones are left to the terminal: a cell broken apart cannot be read."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, row, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def label(stage: Stage) -> str:
    """``extract: photos/resnet50``."""
    return stage.message if stage.name == "done" else f"{stage.name}: {stage.message}"


def figures(meter: Meter) -> str:
    """``128/1000 samples, 31.2 samples/s, 12.3 MB, 28s left``."""
    total = "" if meter.total is None else f"/{meter.total}"
    left = "" if meter.left is None else f", {duration(meter.left)} left"
    return f"{meter.samples}{total} samples, {meter.rate:.3g} samples/s, {size(meter.bytes)}{left}"


def outcome(meter: Meter) -> str:
    """``1000 samples, 12.3 MB in 28s``."""
    return f"{meter.samples} samples, {size(meter.bytes)} in {duration(meter.now - meter.began)}"
