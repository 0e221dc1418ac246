"""What a long loop has reached, written now and then, so that a killed analysis goes on from there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from actx_core import atomic

SECONDS = 60.0
"""Time between two writes."""


class Saved:
    """A file of arrays in the folder that core hands to an analyzer for one input and its options."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = time.monotonic()

    def load(self) -> dict[str, np.ndarray]:
        """The arrays of the last write; empty at the first run."""
        if not self.path.exists():
            return {}
        with np.load(self.path) as file:
            return {name: file[name] for name in file.files}

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write arrays, if the last write is long enough ago."""
        if time.monotonic() - self._last < SECONDS:
            return
        with atomic(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Forget it: the loop is done."""
        self.path.unlink(missing_ok=True)
