"""Runs a KataGo network: its modules' tensors as they are, and its heads on any tensor of the stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from actx_core import Batch, ModelError, Sample, Tap
from actx_core.packages import package_path
from actx_core.torch import TorchModel
from actx_katago.model.config import KatagoConfig
from actx_katago.model.feed import boards_of, columns, tensors
from actx_katago.network.description import Description
from actx_katago.network.file import NetworkFile, read_network
from actx_katago.network.module import Network, load_weights
from actx_katago.positions.symmetry import COUNT

if TYPE_CHECKING:
    from torch import Tensor, nn

PROBED = (5, 7)
"""Board to find taps with, where none is given; its points are no usual number of channels."""

FIRST_V7 = 8


class Runner(TorchModel[KatagoConfig]):
    """The network as a torch model: ``Batch.inputs`` are its arguments, taps its modules'."""

    def __init__(self, config: KatagoConfig) -> None:
        super().__init__(config)
        self.size = config.size or PROBED
        self._file: NetworkFile | None = None
        self._network: Network | None = None
        self._facts: Mapping[str, Any] = {}

    def _read(self) -> NetworkFile:
        if self._file is None:
            assert self.config.network is not None  # layer_selection stands for a network
            self._file = read_network(package_path(self.config.network), swa=self.config.swa)
            self._facts, self._description = self._file.header, self._file.description
        return self._file

    @property
    def description(self) -> Description:
        """What the network is made of."""
        return self._description if self._facts else self._read().description

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, version, size and origin of the network; see ``NetworkFile.header``."""
        return self._facts or self._read().header

    def build(self) -> nn.Module:
        return Network(self.description)

    def load(self, module: nn.Module) -> None:
        self._network = cast("Network", module)
        load_weights(self._network, self._read())
        self._file = None  # a second copy of all weights

    def example(self, batch: int) -> Any:
        return self._inputs(batch, *self.size)

    def resized(self, batch: int, axis: Literal["y", "x"]) -> Any:
        y, x = self.size
        return self._inputs(batch, *((2 * y, x) if axis == "y" else (y, 2 * x)))

    def _inputs(self, batch: int, y: int, x: int) -> tuple[Tensor, ...]:
        top = self.description
        meta = [torch.zeros(batch, top.n_meta)] if top.n_meta else []
        return (torch.ones(batch, top.n_spatial, y, x), torch.zeros(batch, top.n_global), *meta)

    def probed(self) -> Sequence[Tap]:
        """Every tap, with the sizes of the board it was found with."""
        return super().taps()

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        """Every tap; sizes that follow the board are open."""
        return [
            replace(tap, shape=tuple(None if _moves(a) else n for a, n in _sizes(tap)))
            for tap in self.probed()
        ]

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """``inputs``: planes, globals and metadata; one such tuple per symmetry where these are averaged."""
        self.expect_v7()
        meta = self.description.n_meta
        boards = boards_of(samples, self.config.size, meta)
        if self.config.symmetry == "average":
            inputs: Any = tuple(tensors(boards, meta, symmetry) for symmetry in range(COUNT))
        else:
            inputs = tensors(boards, meta)
        return Batch(self.host(inputs), range(len(samples)), columns(boards))

    def expect_v7(self) -> None:
        """Raise ModelError for a network whose inputs are older than the positions' features."""
        top = self.description
        if top.version < FIRST_V7:
            raise ModelError(
                f"the network has version {top.version} and takes V{top.input_version} inputs; positions"
                " are made as V7 inputs",
                where=top.name,
                hint=f"take a network of version {FIRST_V7} or later",
            )

    def lens(self, stream: Tensor, spatial: Tensor) -> dict[str, Tensor]:
        """What the network would say, were its trunk to end with this tensor of the stream."""
        assert self._network is not None  # the stream came from it
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if stream.is_cuda:
                exact = torch.backends.cudnn.flags(
                    enabled=True, deterministic=True, allow_tf32=False
                )
                stack.enter_context(exact)
            if self.config.autocast:
                dtype = getattr(torch, self.config.autocast)
                stack.enter_context(torch.autocast(stream.device.type, dtype=dtype))
            mask = spatial[:, :1].to(stream.device, stream.dtype)
            return self._network.stream_to_outputs(stream, mask)

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "network": dict(self.facts)}


def _sizes(tap: Tap) -> list[tuple[str, int | None]]:
    return list(zip(tap.axes[1:], tap.shape, strict=True)) if not tap.problem else []


def _moves(axis: str) -> bool:
    """Whether the size of an axis may follow that of the board; unnamed are those of attention maps."""
    return axis in ("y", "x", "token") or axis.startswith("dim")
