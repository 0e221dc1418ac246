"""The list of taps that a recorded forward pass offers: their names, and why some cannot be taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actx_core.torch.hooks import Point, hookable, paths
from actx_core.torch.recording import Event, Key, Record
from actx_core.types import Tap

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Form:
    """How a tensor becomes a tap: the axes that come first, then the names and sizes that ``Tap`` has."""

    front: tuple[int, ...]
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    kind: str = ""


def of_samples(shape: Sequence[int], axis: int | str, axes: tuple[str, ...]) -> Form | str:
    """The form of a tensor by its axis of samples, or why it has none; ``axes`` begin with it."""
    if isinstance(axis, str):
        return axis
    return Form((axis,), axes, (*shape[:axis], *shape[axis + 1 :]))


def list_points(
    module: nn.Module, passed: Record, forms: Sequence[Form | str], dtype: str
) -> list[Point]:
    """The taps of a pass in forward order, then those of the modules that were never called.

    ``forms`` are given for each value of the record, or why it cannot be taken. ``dtype`` is declared for
    floating taps; empty: the type they have.
    """
    listing = _Listing(passed, forms, dtype, set(paths(module)))
    found = {p.tap.name: p for event in passed.events for p in listing.of_event(event)}
    for path, child in paths(module).items():
        if not listing.calls[path, "out"]:
            silent = listing.without(Key(path, 0, "out"), _silent(child), type(child).__name__)
            found.setdefault(silent.tap.name, silent)
    return list(found.values())


def tap_name(key: Key, calls: int) -> str:
    """The name of a tap of a module that is called so many times in one forward pass."""
    path = ".".join(part for part in (key.path or "output", key.element) if part)
    return path + (f":{key.call}" if calls > 1 else "") + ("@in" if key.side == "in" else "")


@dataclass
class _Listing:
    passed: Record
    forms: Sequence[Form | str]
    dtype: str
    modules: set[str]

    def __post_init__(self) -> None:
        self.calls = Counter((event.path, event.side) for event in self.passed.events)

    def of_event(self, event: Event) -> Iterator[Point]:
        """The taps of one event: the elements of what passed, then the event itself."""
        if not event.path and (event.side == "in" or "output" in self.modules):
            return  # the model's own input is the data; a part called 'output' keeps its name
        kind = type(event.module).__name__
        key = Key(event.path, event.call, event.side)
        elements = [self.of_value(k, number, "") for k, number in event.tensors() if self._own(k)]
        if len(event.values) == 1:  # an element that only has a number would be the same tap again
            yield from (p for p in elements if not p.element.replace(".", "").isdecimal())
            yield self.of_value(key, next(iter(event.values.values())), kind)
        else:
            yield from elements
            yield self.without(key, _not_one_tensor(event, [p.tap.name for p in elements]), kind)

    def of_value(self, key: Key, number: int, kind: str) -> Point:
        """The tap of one tensor."""
        value, form = self.passed.values[number], self.forms[number]
        if value.dtype.is_complex:
            form = "its values are complex"
        if isinstance(form, str):
            return self.without(key, form, kind)
        floating = self.dtype and value.dtype.is_floating_point
        dtype = self.dtype if floating else str(value.dtype).removeprefix("torch.")
        tap = Tap(self._name(key), form.axes, form.shape, dtype, form.kind, module=kind)
        return Point(tap, *key, front=form.front)

    def without(self, key: Key, problem: str, kind: str) -> Point:
        """A tap that cannot be taken."""
        return Point(Tap(self._name(key), (), (), module=kind, problem=problem), *key)

    def _name(self, key: Key) -> str:
        return tap_name(key, self.calls[key.path, key.side])

    def _own(self, key: Key) -> bool:
        """Whether the key is an element's, and no part of the model has that name."""
        return bool(key.element) and f"{key.path}.{key.element}".lstrip(".") not in self.modules


def _silent(module: nn.Module) -> str:
    if hookable(module):
        return "it is never called in the forward pass"
    return "it is TorchScript, which calls no hooks"


def _not_one_tensor(event: Event, offered: Sequence[str]) -> str:
    if event.side == "in":
        return "it gets no tensor as an argument"
    if not event.values:
        return f"its result is a {event.kind} without a tensor"
    return f"its result is a {event.kind} of {len(event.values)} tensors; take {', '.join(offered)}"
