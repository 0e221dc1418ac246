"""One forward pass that takes the wanted taps and stops after the last of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from actx_core.errors import TapError
from actx_core.torch.hooks import Hooks, Point, Side, paths
from actx_core.torch.trees import elements
from actx_core.types import Activation

T = TypeVar("T")


class _Stop(BaseException):
    """All taps are taken. Not an Exception, so that no module catches it."""


class Capture:
    """Hooks for some points of a module, in place until ``remove``."""

    def __init__(self, module: nn.Module, points: Sequence[Point], *, stop: bool = True) -> None:
        self._stop = stop
        self._points: dict[tuple[str, int, Side], list[Point]] = defaultdict(list)
        for point in points:
            self._points[point.path, point.call, point.side].append(point)
        self._count = len(points)
        modules = paths(module)
        sides: list[tuple[str, Side]] = [(point.path, point.side) for point in points]
        # A hook inside such a layer makes torch leave its fused kernel, whose numbers differ in the last
        # digits. With one on each, they do not depend on which taps are taken.
        sides += [
            (p, "out") for p, m in modules.items() if isinstance(m, nn.TransformerEncoderLayer)
        ]
        self._hooks = Hooks(modules, self._event, sides)
        self._take: Callable[[Point, torch.Tensor], Any] | None = None
        self._taken: dict[str, Any] = {}

    def run(
        self, forward: Callable[[], Any], take: Callable[[Point, torch.Tensor], T]
    ) -> tuple[dict[str, T], Any]:
        """Call ``forward``, which runs the module: what ``take`` gave for each tap, in forward order.

        ``take`` gets a tensor that the rest of the pass may change: it must copy what it keeps (``owned``).
        The second value is the result of ``forward``, None where it was stopped. Raises TapError where a
        point was not reached.
        """
        taken: dict[str, T] = {}
        self._hooks.begin()
        self._take, self._taken = take, taken
        result = None
        try:
            result = forward()
        except _Stop:
            pass
        finally:
            self._take, self._taken = None, {}
        if len(taken) < self._count:
            names = [p.tap.name for points in self._points.values() for p in points]
            silent = [name for name in names if name not in taken]
            raise TapError(
                "it did not fire in this forward pass, although it did in the probe",
                where=", ".join(silent),
                hint="the forward pass depends on the data; tap a module that every sample passes",
            )
        return taken, result

    def remove(self) -> None:
        self._hooks.remove()

    def _event(self, path: str, number: int, side: Side, value: Any) -> None:
        points = self._points.get((path, number, side))
        if points is None or self._take is None:
            return
        found = elements(value)
        for point in points:
            element = point.element
            if not element and len(found) == 1:
                element = next(iter(found))
            if element in found:
                self._taken[point.tap.name] = self._take(point, point.arranged(found[element]))
        if self._stop and len(self._taken) == self._count:
            raise _Stop


def owned(activation: Activation, source: torch.Tensor) -> Activation:
    """The activation in memory of its own, where it still shares that of the tensor it was taken from.

    What follows in the forward pass may change that memory in place, and a view would keep all of it alive.
    """
    array = activation.array
    if not isinstance(array, torch.Tensor) or _memory(array) != _memory(source):
        return activation
    return replace(activation, array=array.clone(memory_format=torch.contiguous_format))


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
