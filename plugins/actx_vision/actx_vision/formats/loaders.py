"""Lists the image files of one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actx_core import SourceError
from actx_vision.sources.files import expect_folder, natural


def get_image_set(folder: str | Path, extensions: Sequence[str] = (".png",)) -> list[Path]:
    """The files right in a folder with one of the endings, whatever their case; img2 before img10.

    Hidden files are left out. Raises SourceError where there is no such folder or it cannot be listed;
    a folder without such files gives an empty list.
    """
    root = Path(folder)
    expect_folder(root)
    endings = tuple(extension.lower() for extension in extensions)
    try:
        found = [path for path in root.iterdir() if path.name.lower().endswith(endings)]
    except OSError as error:
        raise SourceError(f"cannot be listed: {error.strerror}", where=str(root)) from error
    files = [path for path in found if not path.name.startswith(".") and path.is_file()]
    return sorted(files, key=lambda path: natural(path.name))
