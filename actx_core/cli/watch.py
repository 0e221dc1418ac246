"""Follows a run: counts and shows what it reports, and lets Ctrl-C end it after the batch."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict
from types import FrameType, TracebackType
from typing import Any

from actx_core.cli.command import Output
from actx_core.cli.guard import RESUMES
from actx_core.cli.meter import Meter
from actx_core.cli.plain import label
from actx_core.errors import Interrupted
from actx_core.types import Progress, Receipt, Stage

SHARD = ("cell", "shard", "rows", "files", "samples", "batch", "seconds", "host")
"""What is said of a receipt."""


class Watch:
    """Give it to the driver as ``watch``, inside ``with``.

    The first Ctrl-C during extraction raises Interrupted at the next report, when a batch has ended; in
    any other stage it ends at once. A second one kills.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self.meter = Meter()
        self._stage = ""
        self._stop = False
        self._before: Any = None

    def __call__(self, event: Progress | Stage) -> None:
        if self._stop:
            raise Interrupted(RESUMES)
        if isinstance(event, Stage):
            self._begin(event)
            return
        self.meter.add(event)
        self._tell("progress", asdict(event), of=self.meter.total, rate=round(self.meter.rate, 3))
        if not self._out.json:
            self._out.screen.advance(self.meter)

    def _begin(self, stage: Stage) -> None:
        self._tell("stage", asdict(stage))
        if stage.name == "note":
            self._out.screen.line(label(stage))
            return
        self._stage = stage.name
        if self.meter.samples and not self._out.json:
            self._out.screen.ended(self.meter)
        self.meter.begin(stage.of)
        if not self._out.json:
            self._out.screen.stage(stage, self.meter)

    def committed(self, receipt: Receipt) -> None:
        """A shard is on disk."""
        self._tell(
            "shard",
            {name: getattr(receipt, name) for name in SHARD}
            | {"skipped": [{"sample": s.sample, "why": s.why} for s in receipt.skipped]},
        )

    def _tell(self, event: str, data: dict[str, Any], **more: Any) -> None:
        self._out.object({"event": event, **data, **more}, indent=None)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if self._stage != "extract":
            raise KeyboardInterrupt
        self._stop = True
        self._out.screen.stop()
        # Not print(): the signal may have come in the middle of one.
        os.write(2, b"ending after this batch; Ctrl-C again kills\n")

    def __enter__(self) -> Watch:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        self._out.screen.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._out.screen.stop()
        signal.signal(signal.SIGINT, self._before)
