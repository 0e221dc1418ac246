"""Finds where every key and value of a TOML document stands, which tomllib does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""Keys and list indices from the root of a document to one of its values."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_SCALAR = re.compile(
    r'''"""(?:\\.|[^\\])*?""""{0,2}'''  # a multi-line string may end in up to two quotes of its own
    r"""|'{3}.*?'{3}'{0,2}"""
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'"""
    r"""|[^\s,\]}#]+(?:[ \t]+[^\s,\]}#]+)*""",  # numbers, booleans, dates with a blank inside
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Spans:
    """Offsets into the text.

    ``keys`` holds where each key begins; for an element of a list, where its value or the name in its
    ``[[header]]`` begins. ``values`` holds begin and end of each written value (tables that were opened
    by headers or dotted keys have none).
    """

    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, tuple[int, int]] = field(default_factory=dict)


def locate(text: str) -> Spans:
    """Locate every key path of a document that tomllib accepts, its line ends ``LF``."""
    return _Scanner(text).document()


def line_column(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of an offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def read_key(text: str, at: int = 0) -> tuple[list[tuple[str, int]], int]:
    """The segments of a dotted key with their offsets, and where the key ends.

    Raises ValueError where there is none.
    """
    segments: list[tuple[str, int]] = []
    while True:
        at = _skip(_SPACE, text, at)
        match = _KEY.match(text, at)
        if match is None:
            raise ValueError(f"expected a key at {text[at : at + 10]!r}")
        raw = match[0]
        segments.append((_unquote(raw) if raw[0] in "\"'" else raw, at))
        at = _skip(_SPACE, text, match.end())
        if not text.startswith(".", at):
            return segments, at
        at += 1


def _unquote(raw: str) -> str:
    (key,) = tomllib.loads(f"{raw}=0")
    return key


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


class _Scanner:
    """Walks through one document; ``at`` is the current offset."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spans = Spans()
        self.counts: dict[Path, int] = {}  # elements so far of each [[array of tables]]

    def document(self) -> Spans:
        table: Path = ()
        while self._blank() < len(self.text):
            if self._sees("["):
                table = self._header()
            else:
                self._pair(table)
        return self.spans

    def _blank(self) -> int:
        self.at = _skip(_BLANK, self.text, self.at)
        return self.at

    def _sees(self, mark: str) -> bool:
        return self.text.startswith(mark, self.at)

    def _header(self) -> Path:
        keys = self.spans.keys
        brackets = 2 if self._sees("[[") else 1
        segments, end = read_key(self.text, self.at + brackets)
        self.at = end + brackets
        path: Path = ()
        for segment, offset in segments[:-1]:
            path += (segment,)
            keys.setdefault(path, offset)
            if path in self.counts:  # a header goes on in the newest element
                path += (self.counts[path] - 1,)
        segment, offset = segments[-1]
        path += (segment,)
        if brackets == 1:
            keys[path] = offset  # rather than where a sub-table mentioned it first
            return path
        keys.setdefault(path, offset)
        index = self.counts.get(path, 0)
        self.counts[path] = index + 1
        path += (index,)
        keys[path] = offset
        return path

    def _pair(self, path: Path) -> None:
        segments, end = read_key(self.text, self.at)
        for segment, offset in segments:
            path += (segment,)
            self.spans.keys.setdefault(path, offset)
        self.at = _skip(_SPACE, self.text, end + 1)  # past the "="
        self._value(path)

    def _value(self, path: Path) -> None:
        start = self.at
        if self._sees("["):
            for index in self._items("]"):
                self.spans.keys[(*path, index)] = self.at
                self._value((*path, index))
        elif self._sees("{"):
            for _ in self._items("}"):
                self._pair(path)
        else:
            self.at = _skip(_SCALAR, self.text, self.at)
        self.spans.values[path] = start, self.at

    def _items(self, close: str) -> Iterator[int]:
        """Stop before each element of a list or an inline table, and after its closing bracket."""
        self.at += 1
        index = 0
        while self._blank() < len(self.text) and not self._sees(close):
            yield index
            index += 1
            if self._blank() < len(self.text) and self._sees(","):
                self.at += 1
        self.at += 1
