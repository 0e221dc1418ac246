"""Sizes, durations and shapes as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def duration(seconds: float | None) -> str:
    """``8s``, ``4m07s``, ``2h05m``; ``?`` for an unknown time."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def shape(sizes: Sequence[int | None], axes: Sequence[str] = ()) -> str:
    """``channel 64, y 7, x 7``, or without axes ``64 x 7 x 7``; ``*`` for a size that varies."""
    words = ["*" if n is None else str(n) for n in sizes]
    if any(axes):
        return ", ".join(f"{a} {n}".strip() for a, n in zip(axes, words, strict=True))
    return " x ".join(words) or "scalar"


def branches(names: Sequence[str], separator: str) -> list[tuple[str, str]]:
    """The lines of a tree of names: (indented label, name), with ``""`` for a group that is no name.

    Siblings keep the order in which they, or anything below them, come first.
    """
    tree: dict[str, Any] = {}
    for name in names:
        node = tree
        for part in name.split(separator):
            node = node.setdefault(part, {})
    known = set(names)

    def lines(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for part, children in node.items():
            name = separator.join((*path, part))
            yield "  " * len(path) + part, name if name in known else ""
            yield from lines(children, (*path, part))

    return list(lines(tree, ()))
