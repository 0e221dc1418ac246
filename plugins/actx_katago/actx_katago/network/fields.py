"""How a layer says what stands of it in a file: marks on the fields of frozen dataclasses.

The fields of a layer stand in the order of the file. Its arrays come last; ``arrays`` gives their names and
the shapes they have there. The numbers themselves are kept apart, so that a description is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, TypeAlias, get_args, get_type_hints

Shape: TypeAlias = tuple[int, ...]

Scope: TypeAlias = Mapping[str, Any]
"""The values read so far, in the layer and around it."""


@dataclass(frozen=True)
class Since:
    """Files hold the field from this version on."""

    version: int


@dataclass(frozen=True)
class When:
    """What the file holds depends on the scope: the type to read, or None for nothing."""

    kind: Callable[[Scope], Any]


@dataclass(frozen=True)
class Zeros:
    """So many spare numbers, all zero until KataGo gives them a meaning."""

    count: int


@dataclass(frozen=True)
class Inside:
    """The arrays belong to another path than the field's own name."""

    path: str


@dataclass(frozen=True)
class Count:
    """Blocks, as many as another field says."""

    field: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer, or a group of layers."""

    axes: ClassVar[Shape] = ()
    """The order in which torch has the axes of ``weight``; empty where it is that of the file."""

    def arrays(self) -> dict[str, Shape]:
        """The layer's arrays by name, with their shapes in the file."""
        return {}


@dataclass(frozen=True)
class Entry:
    """A field of a layer: its name, type and default, and what its marks say."""

    name: str
    type: Any
    default: Any
    version: int
    when: Callable[[Scope], Any] | None
    zeros: int
    path: str
    count: str

    def kind(self, scope: Scope) -> Any:
        """The type to read or write here, None where the file holds nothing."""
        if scope.get("version", 0) < self.version:
            return None
        return self.when(scope) if self.when else self.type


def entries(kind: type[Layer]) -> tuple[Entry, ...]:
    """The fields of a class of layers, in the order of the file."""
    hashable: Any = kind  # a class is, whatever mypy makes of a dataclass's __hash__
    return _entries(hashable)


@cache
def _entries(kind: Any) -> tuple[Entry, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_entry(f.name, hints[f.name], f.default) for f in fields(kind))


def _entry(name: str, hint: Any, default: Any) -> Entry:
    marks = {type(mark): mark for mark in getattr(hint, "__metadata__", ())}
    bare = get_args(hint)[0] if marks else hint
    options = [part for part in get_args(bare) if part is not type(None)]
    if type(None) in get_args(bare) and len(options) == 1:
        bare = options[0]
    return Entry(
        name,
        bare,
        default,
        version=marks[Since].version if Since in marks else 0,
        when=marks[When].kind if When in marks else None,
        zeros=marks[Zeros].count if Zeros in marks else 0,
        path=marks[Inside].path if Inside in marks else name,
        count=marks[Count].field if Count in marks else "",
    )


def walk(layer: Layer, path: str = "") -> Iterator[tuple[str, Layer]]:
    """Every layer at or below a layer, in the order of the file, with its path."""
    yield path, layer
    for entry in entries(type(layer)):
        value, below = getattr(layer, entry.name), join(path, entry.path)
        if isinstance(value, Layer):
            yield from walk(value, below)
        elif isinstance(value, tuple):
            for i, block in enumerate(value):
                yield from walk(block, f"{below}.{i}")


def join(path: str, part: str) -> str:
    """A path and what is below it; either may be empty."""
    return f"{path}.{part}" if path and part else path or part


def label(path: str, name: str) -> str:
    """How errors call a layer: by its path, and by the file's name where that is another."""
    if not path:
        return "header"
    return path if name in (path, f"model.{path}") else f"{path} ({name})"
