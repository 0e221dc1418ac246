"""The source ``image-folder``: every image below a folder, flat or one folder per class."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from math import inf
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from actx_core import ListedSource, Preview, Sample, SourceError
from actx_core.packages import package_path
from actx_vision.decode import read_image
from actx_vision.hints import did_you_mean
from actx_vision.source_config import ImageFolderConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

THUMBNAIL = 160
"""Longest side of a preview, in pixels."""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    """Where it is; names that are not UTF-8 carry surrogates."""
    name: str
    """Relative to the folder, ``/`` between parts, printable."""
    size: int
    mtime_ns: int


class ImageFolder(ListedSource[ImageFolderConfig]):
    """Images below ``path`` in natural order (img2 before img10).

    The id of a sample is its path below the folder without the ending, or with it where two files
    differ in nothing else. Where all images lie in subfolders, the first folder is the column
    ``label``.
    """

    gives = "image"

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        root = package_path(self.config.path)
        _expect_folder(root)
        files = sorted(self._files(root), key=lambda file: _natural(file.name))
        if not files:
            raise SourceError(self._nothing(root), where=str(root), hint=self._which())
        labelled = _has_classes(files, root)
        samples = {}
        for file, id in zip(files, _ids([file.name for file in files]), strict=True):
            columns: dict[str, str | int] = {"path": file.name, "bytes": file.size}
            if labelled:
                columns["label"] = file.name.partition("/")[0]
            samples[id] = Sample(
                id,
                partial(read_image, Path(file.path)),
                columns,
                stamp=f"{file.size}-{file.mtime_ns}",
            )
        return samples

    def _files(self, root: Path) -> Iterator[_File]:
        endings = tuple(ending.lower() for ending in self.config.extensions)
        for entry, name in _walk(str(root), "", ()):
            if name.lower().endswith(endings) and self._included(name):
                stat = _stat(entry)
                yield _File(entry.path, name, stat.st_size, stat.st_mtime_ns)

    def _included(self, name: str) -> bool:
        return not self.config.include or any(fnmatchcase(name, p) for p in self.config.include)

    def _nothing(self, root: Path) -> str:
        names = [name for _, name in _walk(str(root), "", ())]
        endings = Counter(PurePosixPath(name).suffix or "no ending" for name in names)
        found = ", ".join(f"{n} x {ending}" for ending, n in endings.most_common(5))
        return f"expected images, found {found or 'an empty folder'}"

    def _which(self) -> str:
        which = f"files ending in {' '.join(self.config.extensions)} are taken"
        return which + (f" that match {self.config.include}" if self.config.include else "")

    def listing(self) -> Sequence[Sample]:
        return list(self._samples.values())

    def digest(self, sample: Sample) -> str:
        path = self._samples[sample.id].data.args[0]
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", where=str(path)) from error

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """JPEG thumbnails of at most 160 pixels; None for a file that cannot be read."""
        return [self._thumbnail(id) for id in samples]

    def _thumbnail(self, id: str) -> Preview | None:
        if id not in self._samples:
            return None
        try:
            image = self._samples[id].load()
        except SourceError:
            return None
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=80)
        return Preview("image", jpeg.getvalue(), caption=id)


def _expect_folder(root: Path) -> None:
    if root.is_dir():
        return
    if root.exists():
        raise SourceError("expected a folder of images, found a file", where=str(root))
    try:
        siblings = [entry.name for entry in os.scandir(root.parent) if entry.is_dir()]
    except OSError:
        siblings = []
    hint = did_you_mean(root.name, siblings, "check `path`")
    raise SourceError("expected a folder of images, found nothing", where=str(root), hint=hint)


def _walk(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every file below a folder and its printable relative name; links are followed, not in circles."""
    try:
        stat = Path(folder).stat()
        entries = list(os.scandir(folder))
    except OSError as error:
        raise SourceError(f"cannot be listed: {error.strerror}", where=folder) from error
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + _printable(entry.name)
        match _kind(entry):
            case "folder":
                yield from _walk(entry.path, name + "/", (*above, here))
            case "file":
                yield entry, name


def _kind(entry: os.DirEntry[str]) -> str:
    """``folder``, ``file``, or nothing of use; a broken link is a file: one sample's error."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
    except OSError:  # a link to itself
        pass
    return "file" if entry.is_symlink() else ""


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def _printable(name: str) -> str:
    """Bytes that are not UTF-8 are written as hexadecimal escapes: ids go into tables and JSON."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _natural(name: str) -> tuple[list[list[tuple[float, str]]], str]:
    """Sorts numbers inside names by value; the name itself decides between img1 and img01."""
    parts = [re.findall(r"([0-9]+)|([^0-9]+)", part) for part in name.split("/")]
    return [[(int(n), "") if n else (inf, text) for n, text in part] for part in parts], name


def _has_classes(files: Sequence[_File], root: Path) -> bool:
    top = next((file.name for file in files if "/" not in file.name), None)
    below = next((file.name for file in files if "/" in file.name), None)
    if top and below:
        raise SourceError(
            "expected images either in the folder itself or in subfolders,"
            f" found both '{top}' and '{below}'",
            where=str(root),
            hint="make each its own [[source]], or choose with include = [...]",
        )
    return below is not None


def _ids(names: Sequence[str]) -> list[str]:
    """Names without their ending, but with it where an id would not be unique."""
    ids = [name.rpartition(".")[0] for name in names]
    while len(counts := Counter(ids)) < len(ids):
        ids = [name if counts[id] > 1 else id for name, id in zip(names, ids, strict=True)]
    return ids
