"""Preprocessing of rows, fitted once: what takes any row into the space where distances are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Scaler:
    """First subtract ``mean``, project on ``directions`` (components, dimensions), divide by ``scale``.

    What is None is left out. ``unit`` gives every row the length 1; rows of zeros must be refused before.
    """

    mean: np.ndarray | None = None
    scale: np.ndarray | None = None
    directions: np.ndarray | None = None
    unit: bool = False

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """The rows of a block (rows, dimensions) in the new space, in the block's dtype."""
        values = block
        if self.mean is not None:
            values = values - self.mean
        if self.directions is not None:
            values = values @ self.directions.T
        if self.scale is not None:
            values = values / self.scale
        if self.unit:
            values = values / np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
        return np.asarray(values, block.dtype)

    def size(self, dimensions: int) -> int:
        """Dimensions of the new space."""
        return dimensions if self.directions is None else len(self.directions)

    def arrays(self, axis: str) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
        """What a new row needs, for a Result; ``axis`` is that of the rows as stored."""
        within = axis if self.directions is None else "component"
        parts = {"mean": (axis,), "scale": (within,), "directions": (within, axis)}
        return {
            name: (getattr(self, name), axes)
            for name, axes in parts.items()
            if getattr(self, name) is not None
        }

    @classmethod
    def restore(cls, arrays: Mapping[str, np.ndarray], preprocess: str) -> Scaler:
        """The scaler whose ``arrays`` were stored by a result with this ``preprocess``."""
        parts = {name: arrays.get(name) for name in ("mean", "scale", "directions")}
        return cls(**parts, unit=preprocess == "l2")
