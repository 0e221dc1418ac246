"""Reads SGF text: games as nodes of properties along the main line, each with its line in the file.

An own reader, because sgfmill's keeps no place for errors, stops without a word at bytes it does not
know, and handles square boards only. FF[4] grammar; variations beside the main line are checked and
skipped. Source: https://www.red-bean.com/sgf/sgf4.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actx_core import SourceError

_TOKEN = re.compile(
    r"\s*+(?:(?P<mark>[();])|(?P<name>[A-Za-z]+)|\[(?P<value>[^\\\]]*+(?:\\.[^\\\]]*+)*+)\])",
    re.DOTALL,
)
_AFTER = {
    "(": {"start", ";", "value", ")"},
    ";": {"(", ";", "value"},
    ")": {";", "value", ")"},
    "name": {";", "value"},
    "value": {"name", "value"},
}
"""What may stand before each kind of token."""

_SPACE = re.compile(r"[\s\0\ufeff]*")
_CHARSET = re.compile(rb"CA\s*\[\s*([\w.:-]{1,40})\s*\]")
_BROKEN = "the file is damaged: repair it or take it out"


@dataclass(frozen=True, slots=True)
class Node:
    """Properties by their upper-case name, with raw values, and the line in the file."""

    properties: dict[str, list[str]]
    line: int

    def text(self, name: str) -> str:
        """The first value of a property with escapes resolved; empty where there is none."""
        values = self.properties.get(name)
        return unescape(values[0]) if values else ""


def unescape(value: str) -> str:
    """A raw value as text: soft line breaks vanish, a backslash protects the next character."""
    return re.sub(
        r"\\(\r\n|\n\r|\r|\n)|\\(.)", lambda m: m[2] or "", value, flags=re.DOTALL
    ).strip()


def read_trees(path: Path) -> Iterator[list[Node]]:
    """The main line of every game in a file. Raises SourceError with file and line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", where=str(path)) from error
    text = _decode(data)
    at, line = _skip_space(text, 0), 1
    if at == len(text):
        raise SourceError("expected games, found an empty file", where=str(path))
    counted = 0
    while at < len(text):
        line += text.count("\n", counted, at)
        counted = at
        nodes, at = _tree(text, at, line, path)
        yield nodes
        at = _skip_space(text, at)


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()


def _decode(data: bytes) -> str:
    """Text in the encoding that ``CA`` names, else UTF-8, else Latin-1, which takes every byte."""
    named = _CHARSET.search(data[:4096])
    for name in ([named[1].decode("ascii")] if named else []) + ["utf-8"]:
        try:
            return data.decode(name)
        except (LookupError, UnicodeError):
            continue
    return data.decode("latin-1")


def _tree(text: str, begin: int, line: int, path: Path) -> tuple[list[Node], int]:
    """One game from its opening bracket: the nodes of the main line, and the place behind it."""
    at = counted = begin
    depth, before, main = 0, "start", True
    nodes: list[Node] = []
    values: list[str] = []
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            rest = _skip_space(text, at)
            # A value that is never closed takes the rest of the file.
            raise _unexpected(
                text, len(text) if text[rest : rest + 1] == "[" else rest, begin, path
            )
        kind = token.lastgroup or ""
        content = token[kind]
        if kind == "mark":
            kind = content
        if before not in _AFTER[kind]:
            raise _unexpected(text, _skip_space(text, at), begin, path)
        match kind:
            case "(":
                depth += 1
            case ")":
                depth, main = depth - 1, False
                if depth == 0:
                    return nodes, token.end()
            case ";" if main:
                line += text.count("\n", counted, token.end())
                counted = token.end()
                nodes.append(Node({}, line))
            case "name" if main:
                name = "".join(c for c in content if c.isupper())
                values = nodes[-1].properties.setdefault(name, [])
            case "value" if main:
                values.append(content)
        at, before = token.end(), kind


def _unexpected(text: str, at: int, begin: int, path: Path) -> SourceError:
    """The error for text that cannot stand where it does, or for a game that never ends."""
    if at >= len(text):
        at, found = begin, "one that does not end"
    else:
        found = repr(text[at : at + 20].split("\n")[0])
    where = f"{path}:{text.count(chr(10), 0, at) + 1}"
    return SourceError(f"expected a game in SGF, found {found}", where=where, hint=_BROKEN)
