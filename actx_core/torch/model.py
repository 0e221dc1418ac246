"""TorchModel: the base class of every model that is an ``nn.Module``."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import nn

from actx_core.contracts import Model
from actx_core.errors import ActxError, ModelError, OutOfMemory, TapError
from actx_core.select_taps import select
from actx_core.torch import devices
from actx_core.torch.capture import Capture, owned
from actx_core.torch.config import TorchConfig
from actx_core.torch.hooks import Point
from actx_core.torch.probing import BATCHES, probe_module
from actx_core.torch.trees import call, convert
from actx_core.types import Activation, Batch, Pool, Sample, Tap

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T", bound=TorchConfig)


class TorchModel(Model[T]):
    """A model that is an ``nn.Module``. Subclasses say how to build it, load it and feed it.

    ``module`` is the network while it is loaded, ``device`` where it runs, ``declared`` the opened taps by
    name. What loads, places and runs in a way of its own overrides ``loaded`` and ``placed``, and runs
    inside ``running``.
    """

    def __init__(self, config: T) -> None:
        super().__init__(config)
        self._points: list[Point] = []
        self.module: nn.Module | None = None
        self.weights_digest = ""
        self._capture: Capture | None = None
        self.declared: dict[str, Tap] = {}
        self.device = torch.device("cpu")
        self._transfer: devices.Transfer | None = None

    @abstractmethod
    def build(self) -> nn.Module:
        """The architecture without weights.

        Called under ``torch.device("meta")`` to find taps, and on the CPU with a seeded generator, so
        that a module that gets no weights is initialised the same way every time.
        """

    def load(self, module: nn.Module) -> None:
        """Load weights into the built module (on the CPU); the default leaves the seeded initialisation."""

    @abstractmethod
    def example(self, batch: int) -> Any:
        """Inputs of ``batch`` sequences to probe with; only their shapes and types matter.

        A tensor, a tuple (arguments) or a dict (keyword arguments), like ``Batch.inputs``.
        """

    def resized(self, batch: int, axis: Literal["y", "x"]) -> Any | None:
        """The same as ``example``, but twice as large along one axis of the image: shows where y and x are.

        None where the model has no such axis. A model may refuse the size: that is no error.
        """
        return None

    @abstractmethod
    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """As in Model; ``inputs`` are tensors on the CPU, shaped like ``example``; see ``host``."""

    def host(self, inputs: Any) -> Any:
        """The inputs in pinned memory where the model runs on CUDA; call it at the end of ``prepare``."""
        pinned = self.device.type == "cuda"
        return convert(inputs, torch.Tensor.pin_memory) if pinned else inputs

    def activation(self, tap: Tap, array: torch.Tensor, batch: Batch) -> Activation:
        """An activation as the model declares it; override it to add a mask, offsets or columns."""
        return Activation(array, tap.axes)

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        """Every tap: outputs and inputs of all modules, call by call, and the model's own result.

        Found by running the architecture without weights (on the meta device, or on the CPU where the
        model cannot run there). An override may give a tap other axes, a kind, or a size that varies.
        """
        if not self._points:
            self._points = self._probe()
        return [point.tap for point in self._points]

    def open(self, taps: Sequence[str]) -> None:
        """Load weights on the device and hook the taps."""
        device = devices.resolve_device(self.config.device)
        chosen, _ = select(self.taps(), taps)
        self.unhook()
        self.device, self.declared = device, {tap.name: tap for tap in chosen}
        self.module = self.placed(device)
        self._transfer = devices.Transfer(device)
        points = [point for point in self._points if point.tap.name in self.declared]
        self._capture = Capture(self.module, points)

    def extract(self, batch: Batch, pool: Pool) -> Mapping[str, Activation]:
        """One forward pass, which ends after the last opened tap.

        Floating activations arrive in the type of the Config. What ``pool`` returns is copied where it
        still lies in the memory of the tensor it was given, which the forward pass may change later.
        """
        module, capture = self.module, self._capture
        if module is None or capture is None:
            raise ModelError("no taps are open", hint="call open(taps) first")

        def take(point: Point, tensor: torch.Tensor) -> Activation:
            tap = self.declared[point.tap.name]
            _check(tap, tensor, len(batch.samples))
            values = tensor.to(self._dtype) if tensor.is_floating_point() else tensor
            with torch.autocast(self.device.type, enabled=False):
                return owned(pool(tap.name, self.activation(tap, values, batch)), tensor)

        try:
            with self.running():
                inputs = self._moved(batch.inputs)
                return capture.run(lambda: call(module, inputs), take)[0]
        except ActxError:
            raise
        except Exception as error:
            if self.out_of_memory(error):
                raise
            raise ModelError(f"the forward pass failed: {_told(error)}") from error

    def to_host(self, arrays: Mapping[str, Any]) -> Callable[[], dict[str, np.ndarray]]:
        transfer = self._transfer or devices.Transfer(self.device)
        return transfer.start(arrays)

    def out_of_memory(self, error: BaseException) -> bool:
        return devices.out_of_memory(error)

    def fingerprint(self) -> str:
        """sha256 of all parameters and buffers as they were loaded; loads them if need be."""
        if not self.weights_digest:
            self.module = self.loaded()
        return self.weights_digest

    def describe(self) -> Mapping[str, Any]:
        cuda = self.device.type == "cuda"
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(self.device) if cuda else str(self.device),
            "dtype": self.config.dtype,
            "autocast": self.config.autocast,
            "threads": 0 if cuda else torch.get_num_threads(),
            "parameters": sum(p.numel() for p in self.module.parameters()) if self.module else 0,
        }

    def close(self) -> None:
        self.unhook()
        self.module = self._transfer = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def _dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.config.dtype)
        return dtype

    def _probe(self) -> list[Point]:
        """All taps; on the CPU where the meta device does not do."""
        try:
            return self._probe_on("meta")
        except Exception:  # what cannot be built or run without values: any library's own error
            return self._probe_on("cpu")

    def _probe_on(self, device: str) -> list[Point]:
        with devices.seeded_everywhere(self.config.seed), torch.no_grad():
            module = self._built(device).eval()
            inputs = [self.example(size) for size in BATCHES]
            grown = {"y": self.resized(BATCHES[0], "y"), "x": self.resized(BATCHES[0], "x")}
            return probe_module(module, inputs, grown, device, self.config.dtype)

    def _built(self, device: str) -> nn.Module:
        try:
            with torch.device(device):
                return self.build()
        except (ActxError, MemoryError):
            raise
        except Exception as error:
            raise ModelError(f"the model cannot be built: {_told(error)}") from error

    def loaded(self) -> nn.Module:
        """The module with its weights on the CPU, in eval mode."""
        if self.module is not None:
            return self.module
        with devices.seeded_everywhere(self.config.seed):
            module = self._built("cpu")
            self.load(module)
        self.weights_digest = digest(named_tensors(module))
        return module.eval()

    def placed(self, device: torch.device) -> nn.Module:
        """The loaded module on the device, floating weights in the type of the Config."""
        module = self.loaded()
        try:
            module.to(device)
            for tensor in chain(module.parameters(), module.buffers()):
                if tensor.is_floating_point():  # Module.to(dtype) would also cut complex ones
                    tensor.data = tensor.data.to(self._dtype)
        except Exception as error:
            if not self.out_of_memory(error):
                raise
            raise OutOfMemory(
                f"the weights do not fit on {device}: {_told(error)}",
                hint="use device = 'cpu', or dtype = 'bfloat16'",
            ) from error
        return module

    def _moved(self, inputs: Any) -> Any:
        """Inputs on the device, floating ones in the type of the Config."""

        def move(tensor: torch.Tensor) -> torch.Tensor:
            tensor = tensor.to(self.device, non_blocking=True)
            return tensor.to(self._dtype) if tensor.is_floating_point() else tensor

        return convert(inputs, move)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The state of torch in which the forward pass gives the same numbers every time."""
        with ExitStack() as stack:
            stack.enter_context(self._without_gradients())
            stack.enter_context(devices.seeded(self.config.seed, self.device))
            if self.device.type == "cuda":
                exact = torch.backends.cudnn.flags(
                    enabled=True, deterministic=True, allow_tf32=False
                )
                stack.enter_context(exact)
            if self.config.autocast:
                dtype = getattr(torch, self.config.autocast)
                stack.enter_context(torch.autocast(self.device.type, dtype=dtype))
            yield

    def _without_gradients(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def unhook(self) -> None:
        if self._capture is not None:
            self._capture.remove()
        self._capture = None


def named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter and buffer by name."""
    yield from chain(module.named_parameters(), module.named_buffers())


def digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """sha256 over name, type, shape and bytes of each."""
    sha = hashlib.sha256()
    for name, tensor in tensors:
        sha.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _check(tap: Tap, tensor: torch.Tensor, samples: int) -> None:
    """Refuse a shape other than the declared one."""
    expected = (samples, *tap.shape)
    if len(expected) != tensor.ndim or any(
        n not in (None, m) for n, m in zip(expected, tensor.shape, strict=True)
    ):
        raise TapError(
            f"expected shape {list(expected)} for {samples} samples, found {list(tensor.shape)}",
            where=tap.name,
            hint="do all samples have the size that the model was probed with?",
        )


def _told(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
