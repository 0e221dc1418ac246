"""The source ``image-folder``: every image below a folder, flat or one folder per class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from actx_core import SourceError
from actx_core.packages import package_path
from actx_vision.sources.config import ImageFolderConfig
from actx_vision.sources.files import ImageFile, expect_folder, files_below, unique_ids, walk
from actx_vision.sources.image_source import ImageSource, Stimulus


class ImageFolder(ImageSource[ImageFolderConfig]):
    """Images below ``path`` in natural order (img2 before img10).

    The id of a sample is its path below the folder without the ending, or with it where two files
    differ in nothing else. Where all images lie in subfolders, the first folder is the column
    ``label`` and its place among these folders, in natural order, the column ``target``.
    """

    def stimuli(self) -> Iterator[Stimulus]:
        if self.config.folders:
            raise SourceError(
                "`folders` stands for several sources, one per folder",
                hint="build one source for each table of ImageFolderConfig.expand()",
            )
        root = package_path(self.config.path)
        expect_folder(root)
        files = [f for f in files_below(root, self.config.extensions) if self._included(f.name)]
        if not files:
            raise SourceError(self._nothing(root), where=str(root), hint=self._which())
        targets = _targets(files, root)
        for file, id in zip(files, unique_ids([file.name for file in files]), strict=True):
            columns: dict[str, str | int] = {"path": file.name, "bytes": file.size}
            if targets:
                label = _class(file)
                columns |= {"label": label, "target": targets[label]}
            yield Stimulus(id, file, columns, file.stamp)

    def _included(self, name: str) -> bool:
        return not self.config.include or any(fnmatchcase(name, p) for p in self.config.include)

    def _nothing(self, root: Path) -> str:
        names = [name for _, name in walk(str(root))]
        endings = Counter(PurePosixPath(name).suffix or "no ending" for name in names)
        found = ", ".join(f"{n} x {ending}" for ending, n in endings.most_common(5))
        return f"expected images, found {found or 'an empty folder'}"

    def _which(self) -> str:
        which = f"files ending in {' '.join(self.config.extensions)} are taken"
        return which + (f" that match {self.config.include}" if self.config.include else "")


def _class(file: ImageFile) -> str:
    return file.name.partition("/")[0]


def _targets(files: Sequence[ImageFile], root: Path) -> dict[str, int]:
    """The number of each class; empty for a flat folder. Raises SourceError for a mixture."""
    top = next((file.name for file in files if "/" not in file.name), None)
    below = next((file.name for file in files if "/" in file.name), None)
    if top and below:
        raise SourceError(
            "expected images either in the folder itself or in subfolders,"
            f" found both '{top}' and '{below}'",
            where=str(root),
            hint="take them apart with folders = [...], or choose with include = [...]",
        )
    classes = dict.fromkeys(map(_class, files)) if below else {}
    return {name: number for number, name in enumerate(classes)}
