"""From a network's file, packed or not, to its bytes, without ever unpacking more than it can hold."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import IO

from actx_core import ModelError

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"

_PIECE = 1 << 20
_ALWAYS = 64 << 20
_TIMES = 16
"""Weights hardly compress, decimals about threefold: what grows more than this is no network."""


def resolve(path: Path) -> Path:
    """The file meant by a path: a folder means the ``model.ckpt`` in it."""
    file = path / "model.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise ModelError(
            "there is no such file",
            where=str(file),
            hint="a network is a .bin.gz, .bin, .txt.gz, .txt or .ckpt file, a .zip or a folder with"
            " model.ckpt",
        )
    return file


def kind_of(file: Path) -> str:
    """``"tokens"`` (``.bin``, ``.txt``, packed or not) or ``"checkpoint"``, by the first bytes."""
    with file.open("rb") as stream:
        head = stream.read(4)
    if not head:
        raise ModelError("the file is empty", where=str(file))
    return "checkpoint" if head == ZIP or head[:1] == PICKLE else "tokens"


def unpacked(file: Path) -> bytes:
    """The content of a ``.bin`` or ``.txt`` file, unpacked where it is packed."""
    with file.open("rb") as stream:
        packed = stream.read(2) == GZIP
        stream.seek(0)
        if not packed:
            return stream.read()
        with gzip.GzipFile(fileobj=stream) as unpacking:
            return _bounded(unpacking, file)


def checkpoint_members(file: Path) -> dict[str, bytes] | None:
    """``model.ckpt``, and its configuration, in one of KataGo's zip files; None for a bare checkpoint."""
    if not zipfile.is_zipfile(file):
        return None
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if any(name.endswith("data.pkl") for name in names):  # torch saves zip files too
                _expect_bounded(_size(archive), file)
                return None
            wanted: dict[str, bytes] = {}
            for name in names:
                if (last := name.rpartition("/")[2]) in ("model.ckpt", "model.config.json"):
                    if last in wanted:
                        raise ModelError(
                            f"the zip file has more than one {last}",
                            where=str(file),
                            hint="unpack it, and take the folder of one network",
                        )
                    with archive.open(name) as stream:
                        wanted[last] = _bounded(stream, file)
        inner = BytesIO(wanted.get("model.ckpt", b""))
        if zipfile.is_zipfile(inner):
            with zipfile.ZipFile(inner) as archive:
                _expect_bounded(_size(archive), file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"the zip file is damaged: {error}", where=str(file)) from None
    if "model.ckpt" not in wanted:
        raise ModelError("expected a model.ckpt in the zip file, found none", where=str(file))
    return wanted


def _size(archive: zipfile.ZipFile) -> int:
    return sum(entry.file_size for entry in archive.infolist())


def _bounded(stream: IO[bytes] | gzip.GzipFile, file: Path) -> bytes:
    """All that a packed stream holds, unless it is more than a network can be."""
    pieces, size = [], 0
    try:
        while piece := stream.read(_PIECE):
            pieces.append(piece)
            size += len(piece)
            _expect_bounded(size, file)
    except (EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise ModelError(
            f"cannot be unpacked: {error}",
            where=str(file),
            hint="the file is cut short or damaged: fetch it again",
        ) from None
    return b"".join(pieces)


def _expect_bounded(size: int, file: Path) -> None:
    packed = file.stat().st_size
    if size > (most := _ALWAYS + _TIMES * packed):
        raise ModelError(
            f"its {packed} bytes unpack to more than {most}: no network does that", where=str(file)
        )
