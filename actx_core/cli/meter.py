"""Counts what a run reports: samples, bytes, rate, time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from actx_core.types import Progress

WINDOW = 30.0
"""Seconds that the rate looks back."""


class Meter:
    """``samples`` of ``total`` (None: unknown) are done in this stage, ``all_samples`` in all stages."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.first = clock()
        self.cell = ""
        self.all_samples = 0
        self.all_bytes = 0
        self.begin(None)

    def begin(self, total: int | None) -> None:
        """A new stage of so many samples."""
        self.began = self.now = self._clock()
        self.total = total
        self.samples = 0
        self.bytes = 0
        self._past = deque([(self.now, 0)])

    def add(self, progress: Progress) -> None:
        """Count one report of a worker."""
        self.now = self._clock()
        self.cell = progress.cell
        self.samples += progress.samples
        self.bytes += progress.bytes
        self.all_samples += progress.samples
        self.all_bytes += progress.bytes
        self._past.append((self.now, self.samples))
        while len(self._past) > 2 and self.now - self._past[1][0] > WINDOW:
            self._past.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the first stage."""
        return self._clock() - self.first

    @property
    def rate(self) -> float:
        """Samples per second in the last half minute."""
        then, samples = self._past[0]
        return (self.samples - samples) / max(self.now - then, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds until the total, at this rate; None where that is unknown."""
        if self.total is None or not self.samples or not self.rate:
            return None
        return max(self.total - self.samples, 0) / self.rate
