"""What the sources give and the model takes: a position as the numbers that KataGo's networks get."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Inputs:
    """V7 inputs of one position, as large as its board.

    ``planes`` (22, y, x) are bool, ``globals`` (19,) and ``meta`` (192,; None: there is none) float32, all
    from the view of the player to move. ``last`` is where the last move was played as (y, x), None for a
    pass or no move; a counterfactual input may hide the move from the network, but not from here.
    ``points`` are more facts about each point, (y, x) each: columns where rows are points.
    """

    planes: np.ndarray
    globals: np.ndarray
    meta: np.ndarray | None = None
    last: tuple[int, int] | None = None
    points: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """Points along y and x."""
        _, y, x = self.planes.shape
        return y, x

    def digest(self) -> str:
        """sha256 of all that the network gets: equal inputs have equal digests, wherever they come from."""
        sha = hashlib.sha256(f"{self.planes.shape} ".encode())
        sha.update(np.packbits(self.planes).tobytes())
        sha.update(np.ascontiguousarray(self.globals, "<f4").tobytes())
        if self.meta is not None:
            sha.update(np.ascontiguousarray(self.meta, "<f4").tobytes())
        return sha.hexdigest()
