"""wrap(): a live ``nn.Module``, with the weights it has and where it is, as a Model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from typing import Any, Literal

import torch
from torch import nn

from actx_core.errors import ModelError
from actx_core.torch import devices
from actx_core.torch.arrays import enlarge, repeat, stack
from actx_core.torch.config import TorchConfig
from actx_core.torch.hooks import Point, eager, innermost
from actx_core.torch.model import TorchModel, digest, named_tensors
from actx_core.torch.probing import BATCHES, probe_module
from actx_core.types import Activation, Batch, Pool, Sample, Tap


def wrap(module: nn.Module, example: Any = None, *, batch_size: int = 32) -> Wrapped:
    """A Model around a module that exists already, for ``actx_core.extract``.

    Samples are arrays or tensors, or tuples (arguments) or dicts (keyword arguments) of them, without the
    batch axis. ``example`` is one of them; without it, the first sample that ``taps`` is given. Taps are
    found by running the module on it. Between ``open`` and ``close`` the module is in eval mode; afterwards
    it is as it was found.
    """
    return Wrapped(module, example, batch_size)


class Wrapped(TorchModel[TorchConfig]):
    """A module that belongs to somebody else; see ``wrap``."""

    def __init__(self, module: nn.Module, example: Any = None, batch_size: int = 32) -> None:
        inner = innermost(module)
        tensors = list(chain(inner.parameters(), inner.buffers()))
        dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)
        device = tensors[0].device if tensors else torch.device("cpu")
        name: Any = str(dtype).split(".")[1]
        super().__init__(TorchConfig(device=str(device), dtype=name, batch_size=batch_size))
        self.device = device
        self._inner = inner
        self._sample = None if example is None else stack([example])
        self._mode = ExitStack()

    def build(self) -> nn.Module:
        return self._inner

    def example(self, batch: int) -> Any:
        if self._sample is None:
            raise ModelError("no sample to probe the module with", hint="give wrap() an example")
        return self._moved(repeat(self._sample, batch))

    def resized(self, batch: int, axis: Literal["y", "x"]) -> Any | None:
        return enlarge(self.example(batch), axis)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        inputs = stack([sample.data for sample in samples])
        return Batch(inputs, range(len(samples)))

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        if self._sample is None and example is not None:
            self._sample = stack([example.load()])
        return super().taps(example)

    def open(self, taps: Sequence[str]) -> None:
        super().open(taps)
        self._mode.close()
        self._mode.enter_context(evaluating(self._inner))

    def extract(self, batch: Batch, pool: Pool) -> Mapping[str, Activation]:
        with eager(self._inner):
            return super().extract(batch, pool)

    def fingerprint(self) -> str:
        return digest(named_tensors(self._inner))

    def close(self) -> None:
        super().close()
        self._mode.close()

    def _probe(self) -> list[Point]:
        with ExitStack() as stack:
            stack.enter_context(evaluating(self._inner))
            stack.enter_context(devices.seeded(self.config.seed, self.device))
            stack.enter_context(eager(self._inner))
            stack.enter_context(torch.no_grad())
            inputs = [self.example(size) for size in BATCHES]
            grown = {"y": self.resized(BATCHES[0], "y"), "x": self.resized(BATCHES[0], "x")}
            return probe_module(self._inner, inputs, grown, self.device, self.config.dtype)

    def placed(self, device: torch.device) -> nn.Module:
        return self._inner

    def _without_gradients(self) -> AbstractContextManager[Any]:
        return (
            torch.no_grad()
        )  # inference mode would spoil what the module may keep for its training


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within, the module is in eval mode; afterwards each part has the mode it had."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        if modes[module]:
            module.train()  # a module may do more in it than set the flag
        for part, training in modes.items():
            part.training = training
