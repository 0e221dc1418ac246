"""The format ``activations``: ``activations.npy`` or ``.txt`` and its targets, as in seed 004."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from actx_vision.formats import text_matrix
from actx_vision.formats.activations_config import ActivationsConfig
from actx_vision.formats.array_folders import ArrayFolders, New, targets, write_npy

if TYPE_CHECKING:
    from pathlib import Path

    from actx_core import TapArray


class Activations(ArrayFolders[ActivationsConfig]):
    """``source/model/tap/activations.*`` and ``targets.*``; in ``path`` itself if there is but one array.

    Text with more than two axes is in slices, which ``actx_vision.formats.slices.slices2tensor`` reads.
    """

    names = ("activations.npy", "activations.txt", "targets.npy", "targets.txt", "classes.txt")

    def folder(self, path: Path, tap: TapArray, arrays: int) -> Path:
        return path if arrays == 1 else super().folder(path, tap, arrays)

    def put(self, tap: TapArray, new: New) -> None:
        shape = (len(tap), prod(tap.shape[1:])) if self.config.flatten else tap.shape
        text = self.config.file_format == "txt"
        path = new(f"activations.{self.config.file_format}")
        if text:
            with path.open("wb") as file:
                text_matrix.write_header(file, shape, tap.dtype)
                for _, block in tap.blocks(text_matrix.BLOCK):
                    text_matrix.write_rows(file, block.reshape(len(block), *shape[1:]))
        else:
            write_npy(path, tap, shape)
        classes = targets(tap, new)
        if classes is not None:
            with new(f"targets.{self.config.file_format}").open("wb") as file:
                np.savetxt(file, classes, fmt="%s") if text else np.save(file, classes)
