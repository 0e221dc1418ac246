"""Devices: which there are, how arrays leave them, and what running out of memory looks like."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actx_core.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def present() -> list[str]:
    """The devices of this machine, the fastest first."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [f"cuda:{i}" for i in range(cuda)]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def resolve_device(device: str) -> torch.device:
    """The device that an option names; ``auto`` is cuda, else mps, else cpu.

    Raises ModelError where it is not there.
    """
    there = present()
    name = {"auto": there[0], "cuda": "cuda:0", "mps:0": "mps"}.get(device, device)
    if name not in there:
        raise ModelError(
            f"device '{device}' is not here; present: {', '.join(there)}",
            hint="set device = 'auto', or one of those present",
        )
    return torch.device(name)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Within, torch's random numbers on CPU and device start from ``seed``; afterwards all is as before."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    restore = _seed_on(device, seed) if device else None
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if restore:
            restore()


def _seed_on(device: torch.device, seed: int) -> Callable[[], None] | None:
    """Seed the generator of a GPU; the function returned puts it back."""
    if device.type == "cuda":
        state = torch.cuda.get_rng_state(device)
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
        return partial(torch.cuda.set_rng_state, state, device)
    if device.type == "mps":
        state = torch.mps.get_rng_state()
        torch.mps.manual_seed(seed)
        return partial(torch.mps.set_rng_state, state)
    return None


@contextmanager
def seeded_everywhere(seed: int) -> Iterator[None]:
    """As ``seeded`` on the CPU, and likewise the generators of Python and NumPy, for building a module."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        with seeded(seed):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, on any device, means that a smaller batch would fit."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


class Transfer:
    """Copies to the host; on CUDA through pinned memory on a stream of their own, while the model goes on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start(self, arrays: Mapping[str, Any]) -> Callable[[], dict[str, NDArray[Any]]]:
        """Start copying; the function returned waits. bfloat16 arrives as uint16; the CPU copies nothing."""
        stream = self._stream
        if stream is None:
            host = {name: _numpy(array) for name, array in arrays.items()}
            return lambda: host
        pinned: dict[str, Any] = {}
        stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(stream):
            for name, array in arrays.items():
                if not isinstance(array, torch.Tensor) or not array.is_cuda:
                    pinned[name] = array
                    continue
                pinned[name] = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
                pinned[name].copy_(array, non_blocking=True)
                array.record_stream(stream)  # nobody else gets its memory before the copy is done
            done = stream.record_event()

        def wait() -> dict[str, NDArray[Any]]:
            done.synchronize()
            return {name: _numpy(array) for name, array in pinned.items()}

        return wait


def _numpy(array: Any) -> NDArray[Any]:
    if not isinstance(array, torch.Tensor):
        return np.asarray(array)
    array = array.detach().cpu().contiguous()
    if array.dtype == torch.bfloat16:
        return np.asarray(array.view(torch.int16).numpy().view(np.uint16))
    return np.asarray(array.numpy())
