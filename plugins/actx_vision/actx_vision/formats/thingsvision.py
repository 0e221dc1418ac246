"""The format ``thingsvision``: folders as thingsvision (2.x) leaves them, for what was built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from actx_core import Config
from actx_vision.formats.array_folders import ArrayFolders, New, targets, write_npy

if TYPE_CHECKING:
    from actx_core import TapArray


class ThingsVision(ArrayFolders[Config]):
    """``source/model/tap/features.npy``, ``file_names.txt`` and, where rows have a class, ``targets.npy``."""

    names = ("features.npy", "targets.npy", "classes.txt")

    def put(self, tap: TapArray, new: New) -> None:
        write_npy(new("features.npy"), tap, tap.shape)
        classes = targets(tap, new)
        if classes is not None:
            with new("targets.npy").open("wb") as file:
                np.save(file, classes)
