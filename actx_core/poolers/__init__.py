"""Poolers: what reduces an activation on the device where it was made. Array API only."""

from actx_core.poolers.grid import Grid
from actx_core.poolers.project import Projection
from actx_core.poolers.reduce import Max, Mean, Std
from actx_core.poolers.select import Flatten, Identity, Select

__all__ = ["Flatten", "Grid", "Identity", "Max", "Mean", "Projection", "Select", "Std"]
