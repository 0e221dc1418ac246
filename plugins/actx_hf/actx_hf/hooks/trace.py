"""One dry forward pass, written down: which module saw which tensor, and which sum made it.

Where the hook points of a family lie follows from this record. Nothing is guessed from module names, and the
pass needs no weights: it runs on the meta device as well.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from actx_hf.hooks.places import Place

_SAME = ("view", "_unsafe_view", "reshape", "clone", "_to_copy", "alias", "detach", "contiguous")
"""Operations whose result is their argument in another shape, type or memory."""


@dataclass(frozen=True, slots=True)
class Op:
    """An operation on tensors: the numbers of its arguments and its name."""

    name: str
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """What a module without parts got and gave; ``step`` tells when."""

    path: str
    module: nn.Module
    got: int
    gave: int
    step: int


@dataclass
class Trace:
    """Values are numbered; a tensor that is changed in place becomes another value.

    ``made[value]`` is the operation it comes from, ``seen[value]`` the places where a module had it, in
    order, each with its step in time. ``inputs`` and ``outputs`` give the first tensor argument and the
    result of each module, ``axes`` how many axes that argument has (the number of a value does not tell),
    ``began`` the number of values before its first call, ``called`` its calls.
    """

    made: dict[int, Op] = field(default_factory=dict)
    shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    seen: dict[int, list[tuple[int, Place]]] = field(default_factory=lambda: defaultdict(list))
    inputs: dict[str, int] = field(default_factory=dict)
    axes: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    called: Counter[str] = field(default_factory=Counter)
    calls: list[Call] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=dict)
    """The elements of what the whole module returned."""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._numbers: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []
        self._step = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        given = tuple(self.number(t) for t in _tensors((args, kwargs or {})))
        result = func(*args, **(kwargs or {}))
        changed = name.endswith("_") and not name.startswith("_")
        for tensor in _tensors(result):
            if changed or id(tensor) not in self._numbers:
                self._new(tensor, name.rstrip("_") if changed else name, given)
        return result

    def number(self, tensor: torch.Tensor) -> int:
        """The value that a tensor is at the moment."""
        if id(tensor) not in self._numbers:
            self._new(tensor, "", ())
        return self._numbers[id(tensor)]

    def _new(self, tensor: torch.Tensor, name: str, given: tuple[int, ...]) -> None:
        self._alive.append(tensor)  # or another tensor may get its id
        shape = tuple(tensor.shape)
        same = name in _SAME and self._alike(given[0], shape)
        number = given[0] if same else len(self.trace.made)
        self._numbers[id(tensor)] = number
        if number == len(self.trace.made):
            self.trace.made[number] = Op(name, given)
            self.trace.shapes[number] = shape

    def _alike(self, value: int, shape: tuple[int, ...]) -> bool:
        """Whether a view only joins or splits the axes before the last."""
        return self.trace.shapes[value][-1:] == shape[-1:]

    def before(self, path: str, value: Any) -> int | None:
        tensor = next(_tensors(value), None)
        if tensor is None:
            return None
        number = self.number(tensor)
        self.trace.inputs.setdefault(path, number)
        self.trace.axes.setdefault(path, tensor.ndim)
        self.trace.began.setdefault(path, len(self.trace.made))
        self._see(number, Place(path, "in", None, tensor.ndim == 2))
        return number

    def after(self, path: str, module: nn.Module, got: int | None, result: Any) -> None:
        self.trace.called[path] += 1
        for index, tensor in _elements(result):
            number = self.number(tensor)
            if index in (None, 0):
                self.trace.outputs.setdefault(path, number)
            self._see(number, Place(path, "out", index, tensor.ndim == 2))
            leaf = next(module.children(), None) is None
            if leaf and got is not None:
                self.trace.calls.append(Call(path, module, got, number, self._step))

    def _see(self, number: int, place: Place) -> None:
        self._step += 1
        self.trace.seen[number].append((self._step, place))


def trace(module: nn.Module, inputs: Mapping[str, Any]) -> Trace:
    """Run ``module(**inputs)`` in eval mode and write down what passes. Errors are the module's own."""
    recorder = _Recorder()
    with _hooked(module, recorder), _evaluating(module), torch.no_grad(), recorder:
        result = module(**inputs)
    for name, tensor in _elements(result):
        recorder.trace.results[str(name)] = recorder.number(tensor)
    return recorder.trace


@contextmanager
def _hooked(module: nn.Module, recorder: _Recorder) -> Iterator[None]:
    got: dict[str, int | None] = {}

    def add(path: str, part: nn.Module) -> list[Any]:
        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            got[path] = recorder.before(path, (args, tuple(kwargs.values())))

        def after(part: nn.Module, args: Any, result: Any) -> None:
            recorder.after(path, part, got.get(path), result)

        return [
            part.register_forward_pre_hook(before, with_kwargs=True),
            part.register_forward_hook(after),
        ]

    handles = [handle for path, part in module.named_modules() for handle in add(path, part)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _elements(result: Any) -> Iterator[tuple[int | str | None, torch.Tensor]]:
    """Tensors of a result, one level deep, each with its index."""
    if isinstance(result, torch.Tensor):
        yield None, result
    elif isinstance(result, Mapping):
        yield from ((k, v) for k, v in result.items() if isinstance(v, torch.Tensor))
    elif isinstance(result, tuple | list):
        yield from ((i, v) for i, v in enumerate(result) if isinstance(v, torch.Tensor))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in arguments, however nested."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from _tensors(child)
    elif isinstance(value, tuple | list):
        for child in value:
            yield from _tensors(child)
