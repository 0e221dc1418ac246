"""Where the taps of a text model lie, and which axes of their tensors are samples and tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import mul
from typing import TYPE_CHECKING, Any

from actx_core import ModelError
from actx_core.torch import Form, Point, list_points, record

if TYPE_CHECKING:
    from torch import nn

    from actx_hf.hooks import Place

Shape = tuple[int, ...]
SIZES = ((3, 6), (5, 7))
"""Samples and tokens of the passes that tell the axes apart: what grows by two follows no tokens."""


def probe(module: nn.Module, inputs: Callable[[int, int], Any], dtype: str) -> list[Point]:
    """Every tap of the module, in the order of the forward pass.

    ``inputs(samples, tokens)`` are the arguments of a pass. The module is run as it stands; it needs no
    weights. Floating taps are declared as ``dtype``. ``front`` of a point are the axes of samples and
    tokens, a single one where both are folded into it; attention patterns have two axes of tokens.
    """
    passes = [record(module, lambda size=size: module(**inputs(*size))) for size in SIZES]  # type: ignore[misc]
    for each in passes:
        if each.error is not None:
            raise each.error
    shapes = [each.shapes() for each in passes]
    forms = [_form([s[v.key] for s in shapes if v.key in s]) for v in passes[0].values]
    return list_points(module, passes[0], forms, dtype)


def canonical(places: Mapping[str, Place], points: Sequence[Point]) -> list[Point]:
    """The points of canonical hook points, in their order, with the problems that they have."""
    known = {place_of(point): point for point in points}
    found = []
    for name, place in places.items():
        element = "" if place.index is None else str(place.index)
        # The only tensor of a result goes by the name of the whole.
        keys = [(place.path, 0, place.side, each) for each in (element, "")]
        point = next((known[key] for key in keys if key in known), None)
        if point is None:
            raise ModelError(f"no tensor passes at its place ({place})", where=name)
        found.append(replace(point, tap=replace(point.tap, name=name)))
    return found


def place_of(point: Point) -> tuple[str, int, str, str]:
    """What tells a point from those at other places."""
    return point.path, point.call, point.side, point.element


def _form(shapes: Sequence[Shape]) -> Form | str:
    """The axes from the shapes of one tensor, one for each of SIZES."""
    first = shapes[0]
    if len(shapes) < len(SIZES) or len({len(shape) for shape in shapes}) > 1:
        return "it does not fire for every batch in the same form"
    moves = list(zip(*shapes, strict=True))
    counts, lengths = zip(*SIZES, strict=True)
    samples = [i for i, m in enumerate(moves) if m == counts]
    tokens = [i for i, m in enumerate(moves) if m == lengths]
    folded = [i for i, m in enumerate(moves) if m == tuple(map(mul, counts, lengths))]
    front = (*samples, *tokens) if samples else tuple(folded)
    rest = [i for i in range(len(first)) if i not in front]
    if not samples and not folded:
        return f"it has no axis of samples: its shape is {list(first)}"
    if any(len(set(moves[i])) > 1 for i in rest) or max(len(samples), len(folded)) > 1:
        return f"samples and tokens are folded into its axes: {list(first)}"
    if samples and len(tokens) not in (1, 2):
        return f"it has no axis of tokens: its shape is {list(first)}"
    pairs = len(tokens) == 2
    names = {0: (), 1: ("head",) if pairs else ("channel",), 2: ("head", "channel")}
    rows = names.get(len(rest), tuple(f"dim{i}" for i in rest))
    moving = ("query", "key") if pairs else ("token",)
    sizes = (*[None] * len(moving), *(first[i] for i in rest))
    return Form(front, ("sample", *moving, *rows), sizes, "attention" if pairs else "token")
