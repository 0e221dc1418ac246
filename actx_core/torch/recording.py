"""One forward pass written down: what every module got and gave, its sizes, and how tensors hang together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.weak import WeakIdKeyDictionary

from actx_core.torch.hooks import Hooks, Side, paths
from actx_core.torch.trees import elements


class Key(NamedTuple):
    """An event of a forward pass; the same key means the same event in another pass."""

    path: str
    call: int
    side: Side
    element: str = ""


@dataclass(frozen=True)
class Event:
    """A module's input or result: the tensors in it as numbers of ``Record.values``, and its Python type."""

    path: str
    call: int
    side: Side
    module: nn.Module
    values: dict[str, int]
    kind: str

    def tensors(self) -> Iterator[tuple[Key, int]]:
        for element, value in self.values.items():
            yield Key(self.path, self.call, self.side, element), value


@dataclass(frozen=True)
class Value:
    """A tensor that came by: the first event that saw it."""

    key: Key
    shape: tuple[int, ...]
    dtype: torch.dtype


class Link(NamedTuple):
    """Axis ``i`` of value ``a`` means the same as axis ``axes[i]`` of value ``b`` (None: not known)."""

    a: int
    b: int
    axes: tuple[int | None, ...]


@dataclass
class Record:
    """Everything that happened in one pass, up to an error if there was one."""

    events: list[Event] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    error: Exception | None = None
    result: Any = None

    def shapes(self) -> dict[Key, tuple[int, ...]]:
        """The shape of every tensor at every event."""
        return {key: self.values[v].shape for event in self.events for key, v in event.tensors()}


def record(
    module: nn.Module,
    forward: Callable[[], Any],
    see: Callable[[Event, dict[str, torch.Tensor]], None] | None = None,
) -> Record:
    """Call ``forward``, which runs the module, and write down what passes.

    ``see`` is shown every event with its tensors the moment they exist. An error of the module is kept,
    with what came before it.
    """
    recorder = _Recorder(module, see)
    with recorder.hooks:
        try:
            recorder.record.result = forward()
        except Exception as error:
            recorder.record.error = error
    return recorder.record


class _Recorder:
    def __init__(
        self,
        module: nn.Module,
        see: Callable[[Event, dict[str, torch.Tensor]], None] | None,
    ) -> None:
        self.record = Record()
        self._see = see
        self._modules = paths(module)
        # Weak, for the tensors of a pass on the CPU must not all stay alive.
        self._numbers: Any = WeakIdKeyDictionary()
        self._views: Any = WeakIdKeyDictionary()
        self._entered: dict[tuple[str, int], int] = {}
        sides: tuple[Side, Side] = ("in", "out")
        self.hooks = Hooks(
            self._modules, self._event, ((path, side) for path in self._modules for side in sides)
        )

    def _event(self, path: str, number: int, side: Side, value: Any) -> None:
        module = self._modules[path]
        found = elements(value)
        values = {e: self._number(Key(path, number, side, e), t) for e, t in found.items()}
        event = Event(path, number, side, module, values, type(value).__name__)
        self.record.events.append(event)
        if "" in values and next(module.children(), None) is None:
            self._link_leaf(event)
        if self._see:
            self._see(event, found)

    def _number(self, key: Key, tensor: torch.Tensor) -> int:
        number: int | None = self._numbers.get(tensor)
        if number is None:
            number = self._numbers[tensor] = len(self.record.values)
            self.record.values.append(Value(key, tuple(tensor.shape), tensor.dtype))
            self._link_views(number, tensor)
        return number

    def _link_views(self, number: int, tensor: torch.Tensor) -> None:
        """A transposed view has the axes of its original in another order."""
        root = tensor if tensor._base is None else tensor._base
        views = self._views.setdefault(root, [])
        own = _layout(tensor)
        for other, layout in views:
            if sorted(layout) == sorted(own) and len(set(own)) == len(own):
                self.record.links.append(Link(number, other, tuple(layout.index(a) for a in own)))
        views.append((number, own))

    def _link_leaf(self, event: Event) -> None:
        """A module without parts that keeps the sizes of its input keeps the meaning of its axes."""
        where = (event.path, event.call)
        if event.side == "in":
            self._entered[where] = event.values[""]
            return
        before, after = self._entered.get(where), event.values[""]
        if before is None or before == after:
            return
        old, new = self.record.values[before].shape, self.record.values[after].shape
        if old == new:
            self.record.links.append(Link(after, before, tuple(range(len(new)))))
        elif isinstance(event.module, nn.Linear) and old[:-1] == new[:-1]:
            self.record.links.append(Link(after, before, (*range(len(new) - 1), None)))


def _layout(tensor: torch.Tensor) -> list[tuple[int, int]]:
    """Size and stride of each axis."""
    return list(zip(tensor.shape, tensor.stride(), strict=True))
