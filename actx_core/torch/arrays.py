"""Plain arrays as inputs: stack the samples of a batch, repeat one, enlarge an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from actx_core.errors import ModelError
from actx_core.torch.trees import convert


def stack(samples: Sequence[Any]) -> Any:
    """One batch from samples that are arrays or tensors, or alike tuples or dicts of them.

    Raises ModelError where their shapes differ.
    """
    head = samples[0]
    if isinstance(head, Mapping):
        return {key: stack([sample[key] for sample in samples]) for key in head}
    if isinstance(head, tuple | list):
        return tuple(stack(parts) for parts in zip(*samples, strict=True))
    shapes = sorted({tuple(np.shape(sample)) for sample in samples})
    if len(shapes) > 1:
        listed = ", ".join(str(list(shape)) for shape in shapes[:3])
        raise ModelError(
            f"expected samples of one shape in a batch, found {listed}",
            hint="bring the samples to one shape, or set batch_size = 1",
        )
    if isinstance(head, torch.Tensor):
        return torch.stack(list(samples))
    return torch.from_numpy(np.stack([np.asarray(sample) for sample in samples]))


def repeat(batch: Any, times: int) -> Any:
    """The first sample of a batch, ``times`` times."""
    return convert(batch, lambda t: t[:1].repeat(times, *(1 for _ in t.shape[1:])))


def enlarge(batch: Any, axis: Literal["y", "x"]) -> Any:
    """A batch of channels-first images doubled along one axis; what has not four axes stays."""
    place = {"y": 2, "x": 3}[axis]
    return convert(batch, lambda t: torch.cat([t, t], place) if t.ndim == 4 else t)
