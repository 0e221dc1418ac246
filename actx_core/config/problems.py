"""Collects every mistake of a pipeline with its place, and raises them all at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from actx_core.config.locate import Path, Spans, line_column
from actx_core.errors import ConfigError, Problem


def dotted(path: Path) -> str:
    """``model.0.name``; keys that TOML would quote are quoted."""
    return ".".join(
        str(p) if re.fullmatch(r"[\w-]+", str(p)) else json.dumps(p, ensure_ascii=False)
        for p in path
    )


def did_you_mean(word: str, allowed: Iterable[str], all_of_them: str = "allowed") -> str:
    """A hint for a wrong name: near misses, else all that there are."""
    names = sorted(set(allowed))
    close = get_close_matches(word, names, n=3) or [n for n in names if n.lower() == word.lower()]
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"{all_of_them}: {', '.join(names) or 'nothing'}"


@dataclass
class Places:
    """Where the keys of a pipeline stand: in a file, in a dict, or on the command line.

    ``spans`` holds offsets into ``text``; for a dict (``file`` is empty), the order of its keys.
    ``sets`` maps paths to the override that set them.
    """

    spans: Spans
    file: str = ""
    text: str = ""
    sets: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def of_dict(cls, data: dict[str, Any]) -> Places:
        return cls(Spans({path: n for n, path in enumerate(_walk(data, ()))}))

    def override(self, path: Path, text: str) -> None:
        """From now on, what stands at and below the path came from ``--set text``."""
        known: dict[Path, Any]
        for known in (self.spans.keys, self.spans.values, self.sets):
            for below in [p for p in known if p[: len(path)] == path]:
                del known[below]
        self.sets[path] = text

    def find(self, path: Path, inside: int = 0) -> tuple[tuple[int, int], str]:
        """Sort key and ``file:line:column`` of the nearest path that is written down.

        ``inside`` is a character of the string that stands there.
        """
        for end in range(len(path), -1, -1):
            here = path[:end]
            if here in self.sets:
                return (1, list(self.sets).index(here)), f"--set {_short(self.sets[here])}"
            if here in self.spans.keys:
                break
        offset = self.spans.keys.get(here, 0)
        if not self.file:
            return (0, offset), dotted(here)
        if inside and here == path:
            offset = self._inside(path, inside) or offset
        line, column = line_column(self.text, offset)
        return (0, offset), f"{self.file}:{line}:{column}"

    def _inside(self, path: Path, inside: int) -> int | None:
        """The offset of a character of a string, where the string holds no escapes before it."""
        if path not in self.spans.values:
            return None
        start, end = self.spans.values[path]
        raw = self.text[start:end]
        opened = re.match(r"""(?:\"{3}|'{3})\n?|["']|""", raw)
        begin = opened.end() if opened else 0
        exact = raw.startswith("'") or "\\" not in raw[: begin + inside]
        return start + begin + inside - 1 if exact else None


def _walk(node: Any, path: Path) -> Iterator[Path]:
    yield path
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        yield from _walk(value, (*path, key))


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


class Problems:
    """The mistakes found so far."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._found: list[tuple[tuple[int, int], Problem]] = []

    def add(self, path: Path, message: str, hint: str = "", inside: int = 0) -> None:
        """Note a mistake at a path; ``inside`` counts the characters of the string there from 1."""
        order, where = self.places.find(path, inside)
        self._found.append((order, Problem(where, message, hint)))

    def add_set(self, override: str, message: str, hint: str = "") -> None:
        """Note an override that cannot be applied."""
        self._found.append(((1, 0), Problem(f"--set {_short(override)}", message, hint)))

    def raise_any(self) -> None:
        """Raise ConfigError with all of them, in the order of the file, if there are any."""
        problems = [p for _, p in sorted(self._found, key=lambda found: found[0])]
        if problems:
            first = problems[0]
            raise ConfigError(first.message, hint=first.hint, where=first.where, problems=problems)
