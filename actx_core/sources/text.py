"""The source ``text``: lines, paragraphs or whole .txt files, a field of JSON lines, a list of texts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from actx_core.contracts import Config, ListedSource
from actx_core.errors import SourceError
from actx_core.packages import DataPath, package_path
from actx_core.types import Preview, Sample

_BOM = b"\xef\xbb\xbf"


class TextConfig(Config):
    """Options of the source ``text``."""

    path: DataPath | None = None
    """A .txt file, a folder of .txt files, or a .jsonl file; UTF-8."""
    texts: tuple[str, ...] = ()
    """The texts themselves, in place of ``path``."""
    per: Literal["line", "paragraph", "file"] | None = None
    """What of .txt files is a sample; by default a line of one file, or each file of a folder.

    Blank lines separate paragraphs.
    """
    column: str = "text"
    """The field of a .jsonl file that holds the text."""
    id: str = ""
    """The field of a .jsonl file that holds the samples' ids; by default ids are line numbers."""

    def label(self) -> str:
        return self.path.stem if self.path else "texts"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.path is None) == (not self.texts):
            raise ValueError("give either path or texts")
        if self.path is None:
            _expect_unicode(self.texts)
            if self.per or self.column != "text" or self.id:
                raise ValueError("per, column and id are about files; each of texts is a sample")
        elif self.path.suffix != ".jsonl":
            if self.column != "text" or self.id:
                raise ValueError("column and id name fields of a .jsonl file")
        elif self.per is not None:
            raise ValueError("per is for .txt files; each line of a .jsonl file is a sample")
        elif self.id == self.column:
            raise ValueError(f"id and column both name '{self.id}'")
        return self


def _expect_unicode(texts: Sequence[str]) -> None:
    for number, text in enumerate(texts, 1):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            found = f"text {number} holds a lone surrogate at character {error.start}"
            raise ValueError(f"texts must be valid Unicode; {found}") from None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A place in a file, and the text that stands there."""

    path: Path
    start: int = 0
    size: int = -1
    line: int = 1
    column: str = ""
    """The field of a JSON object that holds the text; empty: all is text."""

    def raw(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                return file.read(self.size).removeprefix(b"" if self.start else _BOM)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}", where=str(self.path)) from error

    def __call__(self) -> str:
        if self.column:
            return str(_record(self.raw(), self.path, self.line)[self.column])
        return _decoded(self.raw(), self.path, self.line)


@dataclass(frozen=True, slots=True)
class _Given:
    """A text that stands in the pipeline."""

    text: str
    line: int

    def raw(self) -> bytes:
        return self.text.encode()

    def __call__(self) -> str:
        return self.text


class Text(ListedSource[TextConfig]):
    """Texts by their place: the id is a line's number from 1 with eight digits, or a file's name.

    A paragraph has the number of its first line, a text of ``texts`` its own in the list.

    Blank lines are not samples; the numbers tell where they were. What a line of JSON holds beside text
    and id becomes columns, but for lists and objects.
    """

    gives = "text"

    def listing(self) -> Sequence[Sample]:
        return list(self._samples.values())

    def digest(self, sample: Sample) -> str:
        return hashlib.sha256(sample.data.raw()).hexdigest()

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """The texts themselves; None for one that cannot be read."""
        return [self._preview(id) for id in samples]

    def _preview(self, id: str) -> Preview | None:
        try:
            return Preview("text", self._samples[id].load(), caption=id)
        except (KeyError, SourceError):
            return None

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        if self.config.path is None:
            return {sample.id: sample for sample in _given(self.config.texts)}
        path = package_path(self.config.path)
        samples: dict[str, Sample] = {}
        for sample in self._read(path):
            if sample.id in samples:
                first = samples[sample.id].data.line
                where = f"{path}:{sample.data.line}"
                raise SourceError(f"id '{sample.id}' is that of line {first} too", where=where)
            samples[sample.id] = sample
        if not samples:
            raise SourceError("expected text, found nothing", where=str(path))
        return samples

    def _read(self, path: Path) -> Iterator[Sample]:
        if path.is_dir():
            for name, file in _files(path):
                if self.config.per in _PIECES:
                    yield from _pieces(file, self.config.per, f"{name}:", {"path": name})
                else:
                    yield _whole(file, name)
        elif not path.exists():
            raise SourceError("there is no such file or folder", where=str(path), hint="check path")
        elif path.suffix == ".jsonl":
            yield from self._records(path)
        elif path.suffix != ".txt":
            raise SourceError("expected .txt, .jsonl or a folder of .txt files", where=str(path))
        elif self.config.per == "file":
            yield _whole(path, path.name)
        else:
            yield from _pieces(path, self.config.per or "line")

    def _records(self, path: Path) -> Iterator[Sample]:
        text, id = self.config.column, self.config.id
        for line, start, raw in _numbered(path):
            record = _record(raw, path, line)
            where = f"{path}:{line}"
            for name in filter(None, (text, id)):
                if name not in record:
                    found = ", ".join(f"'{field}'" for field in record) or "no field"
                    close = get_close_matches(name, record, n=3)
                    raise SourceError(
                        f"expected a field '{name}', found {found}",
                        where=where,
                        hint=f"did you mean {' or '.join(map(repr, close))}?" if close else "",
                    )
            _expect(record[text], str, f"text in '{text}'", where)
            if id:
                _expect(record[id], str | int, f"text or an integer in '{id}'", where)
            columns = {
                name: value
                for name, value in record.items()
                if name not in (text, id) and not isinstance(value, dict | list)
            }
            piece = _Piece(path, start, len(raw), line, text)
            name = str(record[id]) if id else f"{line:08d}"
            yield Sample(name, piece, columns, stamp=_stamp(raw))


def _whole(path: Path, name: str) -> Sample:
    stat = path.stat()
    stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
    return Sample(name, _Piece(path), {"path": name}, stamp=stamp)


def _given(texts: Sequence[str]) -> Iterator[Sample]:
    for number, text in enumerate(texts, 1):
        given = _Given(text, number)
        yield Sample(f"{number:08d}", given, stamp=_stamp(given.raw()))


def _pieces(
    path: Path, per: str, prefix: str = "", columns: Mapping[str, Any] | None = None
) -> Iterator[Sample]:
    for line, start, raw in _PIECES[per](path):
        piece = _Piece(path, start, len(raw), line)
        yield Sample(
            f"{prefix}{line:08d}", piece, {**(columns or {}), "line": line}, stamp=_stamp(raw)
        )


def _numbered(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number, place and bytes of each line that is not blank, without its ending."""
    with path.open("rb") as file:
        start = 0
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                yield number, start + len(line) - len(text), text.rstrip(b"\r\n")
            start += len(line)


def _paragraphs(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """First line's number, place and bytes of each paragraph, without its last line's ending."""
    lines: list[tuple[int, int, bytes]] = []
    with path.open("rb") as file:
        start = 0
        for number, line in enumerate(chain(file, [b""]), 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if text.strip():
                lines.append((number, start + len(line) - len(text), text))
            elif lines:
                whole = b"".join(text for _, _, text in lines)
                yield lines[0][0], lines[0][1], whole.rstrip(b"\r\n")
                lines = []
            start += len(line)


_PIECES = {"line": _numbered, "paragraph": _paragraphs}


def _stamp(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The .txt files below a folder with their printable names, numbers in order of value."""
    found = {}
    for path in folder.rglob("*.txt"):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            found[name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")] = (
                path
            )
    for name in sorted(found, key=_natural):
        yield name, found[name]


def _natural(name: str) -> tuple[list[int | str], str]:
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if n % 2 else part for n, part in enumerate(parts)], name


def _decoded(raw: bytes, path: Path, line: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        raise SourceError(
            f"expected UTF-8, found the byte 0x{raw[error.start]:02x}",
            where=f"{path}:{line}",
            hint="save the file as UTF-8",
        ) from error


def _record(raw: bytes, path: Path, line: int) -> dict[str, Any]:
    text = _decoded(raw, path, line)
    try:
        record = json.loads(text)
    except ValueError as error:
        raise SourceError(f"expected a JSON object: {error}", where=f"{path}:{line}") from error
    _expect(record, dict, "a JSON object", f"{path}:{line}")
    return dict(record)


def _expect(value: Any, kind: Any, what: str, where: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        found = {dict: "an object", list: "a list", type(None): "null"}.get(
            type(value), repr(value)
        )
        raise SourceError(f"expected {what}, found {found}", where=where)
