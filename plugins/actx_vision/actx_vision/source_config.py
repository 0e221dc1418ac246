"""Options of the sources of actx-vision; imports neither torch nor torchvision."""

from __future__ import annotations

import os
from pathlib import Path

from actx_core import Config
from actx_core.packages import DataPath, package_path

EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".ppm", ".pgm",
)  # fmt: skip


class ImageFolderConfig(Config):
    """Options of ``image-folder``."""

    path: DataPath
    """The folder, with all below it: relative to the pipeline file, or ``package:NAME/folder``."""
    extensions: tuple[str, ...] = EXTENSIONS
    """Endings of the files to take; upper and lower case are the same."""
    include: tuple[str, ...] = ()
    """Take only files whose path below the folder matches one of these globs: ``cats/*.png``."""

    def label(self) -> str:
        path = os.path.abspath(package_path(self.path))  # unlike resolve, links keep their name
        return Path(path).name
