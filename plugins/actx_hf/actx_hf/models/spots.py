"""Where the taps of a text model lie, and which axes of their tensors are samples and tokens."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from actx_core import ModelError, Tap

if TYPE_CHECKING:
    from torch import nn

    from actx_hf.hooks import Place

Shape = tuple[int, ...]
Side = Literal["in", "out"]
SIZES = ((2, 5), (3, 5), (2, 7))
"""Samples and tokens of the passes that tell the axes apart."""


@dataclass(frozen=True)
class Spot:
    """A tap and its place: which call of which module, its input or an element of its result.

    ``front`` are the tensor's axes of samples and tokens; a single one where both are folded into it.
    Attention patterns have two axes of tokens.
    """

    tap: Tap
    path: str
    side: Side
    call: int = 0
    element: int | str | None = None
    front: tuple[int, ...] = ()

    @property
    def place(self) -> tuple[str, Side, int, int | str | None]:
        """What tells it from other places."""
        return self.path, self.side, self.call, self.element

    @property
    def pairs(self) -> bool:
        """Whether there is one value per pair of tokens."""
        return len(self.front) == 3

    def by_token(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor as (samples * tokens, *row), or (samples, tokens, tokens, *row) for pairs."""
        tensor = tensor.movedim(self.front, tuple(range(len(self.front))))
        return tensor.flatten(0, 1) if len(self.front) == 2 else tensor


def elements(value: Any) -> Iterator[tuple[int | str | None, torch.Tensor]]:
    """Tensors of what a module got or gave, one level deep."""
    if isinstance(value, torch.Tensor):
        yield None, value
    elif isinstance(value, Mapping):
        yield from ((k, v) for k, v in value.items() if isinstance(v, torch.Tensor))
    elif isinstance(value, tuple | list):
        yield from ((i, v) for i, v in enumerate(value) if isinstance(v, torch.Tensor))


class Watch:
    """Calls ``event(path, side, call, value)`` for chosen sides of modules, until ``remove``.

    ``value`` is the first tensor argument, respectively the result.
    """

    def __init__(
        self,
        module: nn.Module,
        sides: Iterator[tuple[str, Side]],
        event: Callable[[str, Side, int, Any], None],
    ) -> None:
        self._calls: Counter[tuple[str, Side]] = Counter()
        self._event = event
        self._handles = [self._add(module.get_submodule(p), p, s) for p, s in dict.fromkeys(sides)]

    def _add(self, part: nn.Module, path: str, side: Side) -> Any:
        def call(value: Any) -> None:
            number = self._calls[path, side]
            self._calls[path, side] += 1
            self._event(path, side, number, value)

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            call(next((t for _, t in elements((*args, *kwargs.values()))), None))

        def after(_: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            call(result)

        if side == "in":
            return part.register_forward_pre_hook(before, with_kwargs=True)
        return part.register_forward_hook(after)

    def begin(self) -> None:
        """Count calls from zero."""
        self._calls.clear()

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


@dataclass(frozen=True)
class _Seen:
    """A tensor in a pass: its sizes and type; ``of`` is the number of tensors beside it."""

    shape: Shape
    dtype: torch.dtype
    of: int


_Key = tuple[str, Side, int, int | str | None]


def probe(module: nn.Module, inputs: Callable[[int, int], Any], dtype: str) -> list[Spot]:
    """Every tap of the module, in the order of the forward pass.

    ``inputs(samples, tokens)`` are the arguments of a pass. The module is run as it stands; it needs no
    weights. Floating taps are declared as ``dtype``.
    """
    runs = [_run(module, inputs(*size)) for size in SIZES]
    calls: dict[tuple[str, Side], set[int]] = defaultdict(set)
    for path, side, call, _ in runs[0]:
        calls[path, side].add(call)
    spots: dict[str, Spot] = {}
    for key, seen in runs[0].items():
        path, side, call, element = key
        name = _name(path, side, call if len(calls[path, side]) > 1 else None)
        kind = type(module.get_submodule(path)).__name__
        if element is not None and seen.of > 1:
            several = f"its result has {seen.of} tensors; take {name}.0, {name}.1 …"
            bare = Spot(_problem(name, kind, several), path, side, call)
            spots.setdefault(name, bare)
            name, kind = f"{name}.{element}", ""
        shapes = [run[key].shape for run in runs if key in run]
        spots[name] = _spot(name, kind, key, shapes, _type(seen, dtype))
    for path, part in module.named_modules():
        if (path, "out") not in calls:
            why = "it is never called in the forward pass"
            name = _name(path, "out", None)
            spots.setdefault(name, Spot(_problem(name, type(part).__name__, why), path, "out"))
    return list(spots.values())


def canonical(places: Mapping[str, Place], spots: Sequence[Spot]) -> list[Spot]:
    """The spots of canonical hook points, in their order."""
    known = {spot.place: spot for spot in spots}
    found = []
    for name, place in places.items():
        spot = known.get((place.path, place.side, 0, place.index))
        if spot is None:
            raise ModelError(f"no tensor passes at its place ({place})", where=name)
        found.append(replace(spot, tap=replace(spot.tap, name=name)))
    return found


def _run(module: nn.Module, inputs: Mapping[str, Any]) -> dict[_Key, _Seen]:
    found: dict[_Key, _Seen] = {}

    def event(path: str, side: Side, call: int, value: Any) -> None:
        tensors = dict(elements(value))
        for element, tensor in tensors.items():
            seen = _Seen(tuple(tensor.shape), tensor.dtype, len(tensors))
            found[path, side, call, element] = seen

    sides: list[Side] = ["in", "out"]
    every = ((p, s) for p, _ in module.named_modules() for s in sides if p or s == "out")
    watch = Watch(module, every, event)
    try:
        module(**inputs)
    finally:
        watch.remove()
    return found


def _name(path: str, side: Side, call: int | None) -> str:
    number = "" if call is None else f":{call}"
    return (path or "output") + number + ("@in" if side == "in" else "")


def _type(seen: _Seen, dtype: str) -> str:
    return dtype if seen.dtype.is_floating_point else str(seen.dtype).removeprefix("torch.")


def _problem(name: str, kind: str, why: str) -> Tap:
    return Tap(name, (), (), module=kind, problem=why)


def _spot(name: str, kind: str, key: _Key, shapes: Sequence[Shape], dtype: str) -> Spot:
    """The axes from three shapes of one tensor: two samples, three samples, longer samples."""
    first = shapes[0]

    def no(why: str) -> Spot:
        return Spot(_problem(name, kind, why), *key)

    if len(shapes) < len(SIZES) or len({len(shape) for shape in shapes}) > 1:
        return no("it does not fire for every batch in the same form")
    (few, short), (many, _), (_, long) = SIZES
    moves = list(zip(*shapes, strict=True))
    samples = [i for i, m in enumerate(moves) if m == (few, many, few)]
    tokens = [i for i, m in enumerate(moves) if m == (short, short, long)]
    folded = [i for i, m in enumerate(moves) if m == (few * short, many * short, few * long)]
    front = (*samples, *tokens) if samples else tuple(folded)
    rest = [i for i in range(len(first)) if i not in front]
    if not samples and not folded:
        return no(f"it has no axis of samples: its shape is {list(first)}")
    if any(len(set(moves[i])) > 1 for i in rest) or max(len(samples), len(folded)) > 1:
        return no(f"samples and tokens are folded into its axes: {list(first)}")
    if samples and len(tokens) not in (1, 2):
        return no(f"it has no axis of tokens: its shape is {list(first)}")
    pairs = len(tokens) == 2
    names = {0: (), 1: ("head",) if pairs else ("channel",), 2: ("head", "channel")}
    rows = names.get(len(rest), tuple(f"dim{i}" for i in rest))
    moving = ("query", "key") if pairs else ("token",)
    sizes = (*[None] * len(moving), *(first[i] for i in rest))
    rows_of = "attention" if pairs else "token"
    tap = Tap(name, ("sample", *moving, *rows), sizes, dtype, kind=rows_of, module=kind)
    return Spot(tap, *key, front=front)
