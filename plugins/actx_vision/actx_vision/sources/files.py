"""Finds the image files below a folder, with printable names, in natural order, under unique ids."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from actx_core import SourceError
from actx_vision.models.hints import did_you_mean
from actx_vision.sources.decode import read_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that should hold a picture."""

    path: str
    """Where it is; names that are not UTF-8 carry surrogates."""
    name: str
    """Relative to the folder, ``/`` between parts, printable."""
    size: int
    mtime_ns: int

    @property
    def stamp(self) -> str:
        return f"{self.size}-{self.mtime_ns}"

    def read(self, convert: Callable[[Image], Image]) -> Image:
        return read_image(Path(self.path), convert)

    def digest(self) -> str:
        try:
            with Path(self.path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", where=self.path) from error


def expect_folder(root: Path) -> None:
    """Raise SourceError unless ``root`` is a folder."""
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


def files_below(root: Path, endings: Sequence[str]) -> list[ImageFile]:
    """The files with these endings, in natural order; hidden ones are not taken."""
    lower = tuple(ending.lower() for ending in endings)
    files = []
    for entry, name in walk(str(root)):
        if name.lower().endswith(lower):
            stat = _stat(entry)
            files.append(ImageFile(entry.path, name, stat.st_size, stat.st_mtime_ns))
    return sorted(files, key=lambda file: natural(file.name))


def walk(
    folder: str, prefix: str = "", above: tuple[tuple[int, int], ...] = ()
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
        name = prefix + printable(entry.name)
        match _kind(entry):
            case "folder":
                yield from walk(entry.path, name + "/", (*above, here))
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


def printable(name: str) -> str:
    """Bytes that are not UTF-8 are written as hexadecimal escapes: ids go into tables and JSON."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def natural(name: str) -> tuple[list[list[tuple[float, str]]], str]:
    """Sorts numbers inside names by value; the name itself decides between img1 and img01."""
    parts = [re.findall(r"([0-9]+)|([^0-9]+)", part) for part in name.split("/")]
    return [[(int(n), "") if n else (inf, text) for n, text in part] for part in parts], name


def unique_ids(names: Sequence[str]) -> list[str]:
    """Different names without their ending, but with it where an id would not be unique."""
    ids = [_stem(name) for name in names]
    while len(counts := Counter(ids)) < len(ids):
        ids = [name if counts[id] > 1 else id for name, id in zip(names, ids, strict=True)]
    return ids


def _stem(name: str) -> str:
    """Without the ending; ``.png`` alone and names without one stay."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.rpartition(".")[0] or last)
