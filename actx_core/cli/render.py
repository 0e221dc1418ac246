"""The only module that imports rich: tables and live progress for terminals."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.text import Text

from actx_core.cli.meter import Meter
from actx_core.cli.plain import Plain, aligned, label
from actx_core.cli.text import duration
from actx_core.types import Stage
from actx_core.units import size


class Rich(Plain):
    """Draws what ``Plain`` writes. Colour is left out where NO_COLOR is set."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(highlight=False)
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._live.add_task("", total=None, figures="")

    def line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
    ) -> None:
        first, *rest = aligned(heads, rows, right)
        self._console.print(Text(first, style="bold"), soft_wrap=True)
        for line in rest:
            self.line(line)

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def stage(self, stage: Stage, meter: Meter) -> None:
        if stage.name == "done":
            self.line(label(stage))
        self._live.reset(self._task, description=label(stage), figures="", total=stage.of)

    def advance(self, meter: Meter) -> None:
        self._live.update(
            self._task,
            description=meter.cell,
            completed=meter.samples,
            total=meter.total,
            figures=_figures(meter),
        )


def _figures(meter: Meter) -> str:
    """Short enough for a terminal of 80 columns."""
    of = "" if meter.total is None else f"/{meter.total}"
    left = "" if meter.left is None else f"  {duration(meter.left)} left"
    return f"{meter.samples}{of}  {meter.rate:.3g}/s  {size(meter.bytes)}{left}"
