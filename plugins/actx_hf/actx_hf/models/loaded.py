"""What every model of transformers shares: weights as the package loads them, placed as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from actx_core import OutOfMemory
from actx_core.torch import TorchModel, digest, named_tensors
from actx_hf.models import loading
from actx_hf.models.config import LoadedConfig

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T", bound=LoadedConfig)


class Loaded(TorchModel[T]):
    """A base model; with its head (``whole``) only where ``head`` was set before it is loaded."""

    def __init__(self, config: T) -> None:
        super().__init__(config)
        self.head = False
        self.whole: nn.Module | None = None

    def build(self) -> nn.Module:
        return loading.skeleton(self.config)

    def describe(self) -> Mapping[str, Any]:
        facts = {} if self.whole is None else loading.facts(self.config, self.whole)
        count = sum(
            each.numel() for each in self._unloaded.parameters()
        )  # packed, 4 bits are fewer
        return {**super().describe(), "parameters": count, "model": facts}

    def close(self) -> None:
        super().close()
        self.whole = None

    def loaded(self) -> nn.Module:
        if self.module is None:
            whole = self.whole = loading.weights(self.config, head=self.head)
            names = frozenset(name for name, _ in named_tensors(self._unloaded))
            start = prefix(whole) if self.head else ""
            self.weights_digest = digest(_own(whole, start, names))
            self.module = whole.get_submodule(start.rstrip("."))
        return self.module

    def placed(self, device: torch.device) -> nn.Module:
        """On the device; never cast, for some weights and the angles of positions stay float32."""
        module = self.loaded()
        if self.config.device_map or self.config.quantize or self.whole is None:
            return module
        try:
            self.whole.to(device)
        except Exception as error:
            if not self.out_of_memory(error):
                raise
            raise OutOfMemory(
                f"the weights do not fit on {device}",
                where=str(self.config.name),
                hint="use dtype = 'bfloat16', device_map = 'auto', or device = 'cpu'",
            ) from error
        return module

    @cached_property
    def _unloaded(self) -> nn.Module:
        """The base model without weights."""
        with torch.device("meta"):
            return loading.skeleton(self.config)


def prefix(whole: nn.Module) -> str:
    """The path of the base model in one with a head, and a dot; empty where that is one with it."""
    name = str(whole.base_model_prefix)
    return f"{name}." if name and hasattr(whole, name) else ""


def _own(whole: nn.Module, start: str, names: frozenset[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of the base model, whose path is ``start``: the same with and without the head."""
    for path, tensor in named_tensors(whole):
        if (name := path.removeprefix(start)) in names:
            yield name, tensor
