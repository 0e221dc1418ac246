"""From a few forward passes over small inputs to the list of all taps, with their axes and problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from actx_core.errors import ActxError, ModelError
from actx_core.torch.axes import Shape, name_axes
from actx_core.torch.hooks import Point
from actx_core.torch.listing import list_points, of_samples
from actx_core.torch.recording import Record, record
from actx_core.torch.trees import call, convert

BATCHES = (2, 3)
"""The two batch sizes that tell the batch axis from all others."""


def probe_module(
    module: nn.Module,
    inputs: Sequence[Any],
    grown: Mapping[str, Any],
    device: torch.device | str,
    dtype: str,
) -> list[Point]:
    """Every tap of a module in forward order, then those that never fire.

    ``inputs`` are batches of the two sizes of BATCHES; ``grown[axis]`` is the first of them, larger along
    ``"y"`` or ``"x"``, or None; they count for nothing where the module refuses one of them. Floating taps
    are declared as ``dtype``. Runs the module as it stands, on ``device``: the caller sets eval mode and
    switches gradients off.
    """

    def run(batch: Any) -> Record:
        with torch.device(device) if device == "meta" else nullcontext():
            inputs = convert(batch, lambda tensor: tensor.to(device))
            return record(module, lambda: call(module, inputs))

    base, more = (_passed(run(batch)) for batch in inputs)
    passes = {axis: run(batch) for axis, batch in grown.items() if batch is not None}
    refused = any(result.error for result in passes.values())
    larger = {} if refused else {axis: result.shapes() for axis, result in passes.items()}
    shapes = more.shapes()
    found = [batch_axis(v.shape, shapes.get(v.key)) for v in base.values]
    named = name_axes(base, [axis if isinstance(axis, int) else None for axis in found], larger)
    forms = map(of_samples, (v.shape for v in base.values), found, named)
    return list_points(module, base, list(forms), dtype)


def batch_axis(two: Shape, three: Shape | None) -> int | str:
    """Which axis holds the samples, from the shapes for 2 and 3 samples; or why there is none."""
    if three is None:
        return "it does not fire for every batch size"
    if len(two) != len(three):
        return f"its number of axes changes with the batch: {list(two)}, then {list(three)}"
    differ = [i for i, (a, b) in enumerate(zip(two, three, strict=True)) if a != b]
    if not differ:
        return f"it has no axis of samples: its shape is {list(two)} for 2 samples and for 3"
    axis = differ[0]
    if len(differ) > 1:
        return f"several of its axes follow the batch: {list(two)}, then {list(three)}"
    if (two[axis], three[axis]) == BATCHES:
        return axis
    if two[axis] * 3 == three[axis] * 2:
        return f"it folds the batch into another axis: {two[axis]} rows for 2 samples"
    return f"its axis {axis} has {two[axis]} rows for 2 samples and {three[axis]} for 3"


def _passed(result: Record) -> Record:
    if isinstance(result.error, ActxError):
        raise result.error
    if result.error is not None:
        error = result.error
        message = str(error).splitlines()[0] if str(error) else ""
        raise ModelError(
            f"the forward pass failed on a small batch: {type(error).__name__}: {message}",
            hint="do the inputs have the shape and type that the model expects?",
        ) from error
    return result
