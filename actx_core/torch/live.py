"""probe(): activations inside somebody's training loop, without a trace left on the module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from types import MappingProxyType, TracebackType
from typing import Any

import torch
from torch import nn

from actx_core.contracts import Pooler
from actx_core.errors import ModelError, TapError
from actx_core.select_taps import may_mean, select
from actx_core.torch.axes import name_axes
from actx_core.torch.capture import Capture, owned
from actx_core.torch.hooks import Point, eager, innermost
from actx_core.torch.listing import list_points, of_samples, tap_name
from actx_core.torch.recording import Event, Key, Record, record
from actx_core.torch.trees import first
from actx_core.types import Activation, Batch


def probe(
    module: nn.Module,
    taps: Sequence[str],
    pool: Sequence[Pooler] = (),
    axes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Probe:
    """A context in which ``acts = p(x)`` runs the module as it stands and gives ``{tap: tensor}``.

    The tensors are pooled, detached and on the module's device; ``p.result`` is the module's own result,
    with its gradient. Mode, gradients, random numbers and the graph are the caller's; hooks exist only
    while ``p`` runs. Compiled modules run as written, data-parallel ones through their wrapper.

    Patterns are resolved in the first call. Axes are told from that one pass: the samples by the size of
    the first tensor of the inputs, the rest by the modules; ``axes[tap]`` (with ``"sample"`` first, once
    moved there) overrides them.
    """
    return Probe(module, taps, pool, axes)


class Probe:
    """See ``probe``."""

    def __init__(
        self,
        module: nn.Module,
        taps: Sequence[str],
        pool: Sequence[Pooler],
        axes: Mapping[str, Sequence[str]],
    ) -> None:
        self._module, self._inner = module, innermost(module)
        self._patterns, self._pool, self._axes = list(taps), tuple(pool), axes
        self._points: list[Point] | None = None
        self._open = False
        self.result: Any = None
        """What the module returned in the latest call."""
        self.notes: list[str] = []
        """Which taps the patterns leave out, and why; known after the first call."""

    def __enter__(self) -> Probe:
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        """Run the module on these arguments; the pooled activations of its taps."""
        if not self._open:
            raise ModelError("the probe is closed", hint="use it as: with probe(…) as p: p(x)")
        inputs = first(args, kwargs)
        if inputs is None:
            raise ModelError("no tensor among the arguments", hint="pass the inputs as tensors")
        batch = Batch((args, kwargs), range(len(inputs)))

        def forward() -> Any:
            with eager(self._module):
                return self._module(*args, **kwargs)

        if self._points is None:
            taken = self._first(forward, batch)
        else:
            capture = Capture(self._inner, self._points, stop=False)
            try:
                taken, self.result = capture.run(forward, partial(self._take, batch))
            finally:
                capture.remove()
        return {name: activation.array for name, activation in taken.items()}

    def _first(self, forward: Callable[[], Any], batch: Batch) -> dict[str, Activation]:
        """Run, keep whatever the patterns may mean, then resolve them."""
        kept: dict[Key, torch.Tensor] = {}

        def see(event: Event, found: dict[str, torch.Tensor]) -> None:
            alone = {"": next(iter(found.values()))} if len(found) == 1 else {}
            for element, tensor in {**found, **alone}.items():
                key = Key(event.path, event.call, event.side, element)
                module = "" if element else type(event.module).__name__
                if any(may_mean(p, tap_name(key, 1), module) for p in self._patterns):
                    kept[key] = tensor.detach().clone()

        passed = record(self._inner, forward, see)
        if passed.error is not None:
            raise passed.error
        self.result = passed.result
        self._points = self._resolve(passed, len(batch.samples))
        taken = {}
        for point in self._points:
            tensor = kept[Key(point.path, point.call, point.side, point.element)]
            taken[point.tap.name] = self._take(batch, point, point.arranged(tensor))
        return taken

    def _resolve(self, passed: Record, samples: int) -> list[Point]:
        """The points that the patterns mean, from the first pass."""
        found = [_sample_axis(value.shape, samples) for value in passed.values]
        named = name_axes(passed, [axis if isinstance(axis, int) else None for axis in found], {})
        forms = map(of_samples, (value.shape for value in passed.values), found, named)
        known = list_points(self._inner, passed, list(forms), dtype="")
        chosen, self.notes = select([point.tap for point in known], self._patterns)
        names = {tap.name for tap in chosen}
        resolved = []
        for point in known:
            if point.tap.name in names:
                axes = tuple(self._axes.get(point.tap.name, point.tap.axes))
                tap = replace(point.tap, axes=axes)
                reduce(lambda tap, pooler: pooler.tap(tap), self._pool, tap)
                resolved.append(replace(point, tap=tap))
        return resolved

    def _take(self, batch: Batch, point: Point, tensor: torch.Tensor) -> Activation:
        tap = point.tap
        if tensor.ndim != len(tap.axes):
            raise TapError(
                f"expected the axes {list(tap.axes)}, found shape {list(tensor.shape)}",
                where=tap.name,
            )
        with torch.no_grad(), torch.autocast(tensor.device.type, enabled=False):
            activation = Activation(tensor.detach(), tap.axes)
            for pooler in self._pool:
                activation = pooler(activation, batch)
        return owned(activation, tensor)


def _sample_axis(shape: tuple[int, ...], samples: int) -> int | str:
    """The axis as long as the batch, axis 0 before others; or why there is none."""
    equal = [i for i, n in enumerate(shape) if n == samples]
    if equal and (equal[0] == 0 or len(equal) == 1):
        return equal[0]
    found = "several axes" if equal else "no axis"
    return f"it has {found} of the length of the batch, {samples}: its shape is {list(shape)}"
