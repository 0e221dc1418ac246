"""Names and files that survive a crash: encoded names, atomic writes, claimed space, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote

from actx_core.errors import StoreError

LONGEST = 200
"""Bytes of an encoded name; file systems allow 255, and endings and temporary marks are added."""

_PLAIN = re.compile(rb"[A-Za-z0-9._-]")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)", re.IGNORECASE)
_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def encode(name: str) -> str:
    """The file name of a tap, source or model: one path component on any file system.

    ASCII letters, digits, ``.``, ``_`` and ``-`` stay, everything else becomes ``%`` and the hex of its
    UTF-8 bytes. Two names stay different where case is ignored: behind ``~`` stands, as a hexadecimal
    number, which letters are capitals (``V4.output:3`` is ``V4.output%3a3~1``). What is longer than 200 bytes
    is cut and ends in ``~~`` and a digest. Raises ValueError for an empty name.
    """
    if not name:
        raise ValueError("a name must not be empty")
    raw = (bytes([byte]) for byte in name.encode())
    text = "".join(b.decode() if _PLAIN.fullmatch(b) else f"%{b[0]:02x}" for b in raw)
    if text[0] == "." or _DEVICE.match(text):  # hidden files; devices of Windows
        text = f"%{ord(text[0]):02x}{text[1:]}"
    if text[-1] == ".":  # Windows drops a dot at the end
        text = f"{text[:-1]}%2e"
    letters = [c for c in name if c.isascii() and c.isalpha()]
    capitals = sum(1 << i for i, c in enumerate(letters) if c.isupper())
    text += f"~{capitals:x}" if capitals else ""
    if len(text) > LONGEST:
        digest = hashlib.sha256(name.encode()).hexdigest()[:32]
        text = f"{text[: LONGEST - len(digest) - 2]}~~{digest}"
    return text


def decode(text: str) -> str:
    """The name that ``encode`` turned into ``text``, whatever a file system did to its case.

    Raises ValueError where the name was cut: the true one then stands only in the run's JSON files.
    """
    if "~~" in text:
        raise ValueError(f"{text!r} is a shortened name and cannot be decoded")
    body, _, mask = text.partition("~")
    capitals = int(mask or "0", 16)
    name = []
    for c in unquote(body.lower()):
        if c.isascii() and c.isalpha():
            c = c.upper() if capitals & 1 else c
            capitals >>= 1
        name.append(c)
    return "".join(name)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what was written there takes its place at the end.

    The file and its folder are synced, so that a crash leaves the old file or the new one. On an error the
    temporary file is removed. Raises StoreError where the disk is full or ``path`` is a folder.
    """
    if path.is_dir():
        raise StoreError("expected the name of a file, found a folder", where=str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(error, path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    fd = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def clean_temporary(folder: Path) -> list[Path]:
    """Remove what killed writers left below ``folder``, and return it. Nobody else may be writing there."""
    left = sorted(p for p in folder.rglob(".*.tmp") if _TEMPORARY.fullmatch(p.name) and p.is_file())
    for path in left:
        path.unlink(missing_ok=True)
    return left


def clean_beside(path: Path) -> None:
    """Remove what processes of this machine left of ``path`` that were killed while they wrote it."""
    mine = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{8}}\.tmp")
    for left in path.parent.iterdir():
        if (found := mine.fullmatch(left.name)) and not _lives(int(found[1])):
            left.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether there is such a process, as far as the system tells."""
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def write_json(path: Path, value: Any, *, sort_keys: bool = True) -> None:
    """Write JSON atomically; equal values give equal bytes, of sorted keys in whatever order."""
    text = json.dumps(value, sort_keys=sort_keys, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def damaged(path: Path, why: str, hint: str = "") -> StoreError:
    """The error to raise for a file of a run that is missing or not what it should be."""
    hint = hint or "restore it from a copy, or start a new run.out"
    return StoreError(why, where=str(path), hint=hint)


def read_json(path: Path, *, hint: str = "") -> Any:
    """What a JSON file holds. Raises StoreError where it is missing or damaged; ``hint`` says what to do."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise damaged(path, "the file is missing", hint) from error
    except ValueError as error:
        why = f"expected JSON, found a damaged file of {path.stat().st_size} bytes: {error}"
        raise damaged(path, why, hint) from error


def sha256_json(value: Any) -> str:
    """The sha256 of a value's JSON, in which the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def claim(file: BinaryIO, size: int, offset: int = 0) -> None:
    """Reserve ``size`` bytes of disk from ``offset`` on, before they are written.

    What the file holds there is lost where the system cannot reserve space and zeros are written instead.
    Raises StoreError where the disk, a quota or a limit on file sizes does not allow it.
    """
    if size <= 0:
        return
    file.flush()
    try:
        if not _fallocate(file.fileno(), offset, size):
            _write_zeros(file, offset, size)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise no_space(error, Path(file.name), size) from error
        raise


def _fallocate(fd: int, offset: int, size: int) -> bool:
    """Whether the system reserved the space by itself."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(fd, offset, size)
    except OSError as error:
        if error.errno not in _NO_FALLOCATE:
            raise
        return False
    return True


def _write_zeros(file: BinaryIO, offset: int, size: int) -> None:
    zeros = memoryview(bytes(min(size, 1 << 20)))
    place = file.tell()
    file.seek(offset)
    for start in range(0, size, len(zeros)):
        file.write(zeros[: size - start])
    file.flush()
    file.seek(place)


def no_space(error: OSError, path: Path, size: int = 0) -> StoreError:
    """The error to raise where a file of ``size`` bytes, 0 where that is not known, cannot be written."""
    if error.errno == errno.EFBIG:
        message = (
            f"no file of {size / 1e9:.3g} GB is allowed here" if size else "the file is too large"
        )
        hint = "raise the limit on file sizes (ulimit -f) or use another disk"
        return StoreError(message, where=str(path), hint=f"{hint}; the same command resumes")
    import shutil

    missing = size - shutil.disk_usage(path.parent).free
    amount = f"{missing / 1e9:.3g} GB" if missing > 0 else "space"
    hint = f"free {amount}, the same command resumes"
    return StoreError("no space left on the disk", where=str(path), hint=hint)
