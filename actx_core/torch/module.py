"""The component ``module``: any callable that returns an ``nn.Module``, with a local checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from importlib import import_module
from typing import Any, Literal

import torch
from torch import nn

from actx_core.errors import ModelError
from actx_core.torch.arrays import enlarge, repeat, stack
from actx_core.torch.checkpoints import load_checkpoint
from actx_core.torch.config import ModuleConfig
from actx_core.torch.images import prepare_images, preview_images
from actx_core.torch.model import TorchModel
from actx_core.types import Batch, Preview, Sample, Tap


class Module(TorchModel[ModuleConfig]):
    """A module from a callable named in the pipeline. Takes images with ``preprocess``, else arrays."""

    def __init__(self, config: ModuleConfig) -> None:
        super().__init__(config)
        self.accepts = "image" if config.preprocess else "array"
        self._sample: Any = None
        self._facts: Mapping[str, Any] = {}

    def build(self) -> nn.Module:
        module = _import(self.config.callable)(*self.config.args, **self.config.kwargs)
        if not isinstance(module, nn.Module):
            raise ModelError(
                f"expected '{self.config.callable}' to return an nn.Module,"
                f" it returned a {type(module).__name__}"
            )
        return module

    def load(self, module: nn.Module) -> None:
        if self.config.checkpoint is not None:
            self._facts = load_checkpoint(module, self.config.checkpoint)

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        if example is not None and self._sample is None:
            self._sample = self._inputs([example.load()])
        return super().taps(example)

    def example(self, batch: int) -> Any:
        if self._sample is None:
            self._sample = torch.zeros(1, *self._shape())
        return repeat(self._sample, batch)

    def resized(self, batch: int, axis: Literal["y", "x"]) -> Any | None:
        return enlarge(self.example(batch), axis)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        inputs = self._inputs([sample.data for sample in samples])
        return Batch(self.host(inputs), range(len(samples)))

    def preview(self, batch: Batch) -> list[Preview | None]:
        if self.config.preprocess is None:
            return super().preview(batch)
        return preview_images(batch.inputs, self.config.preprocess)

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), **({"checkpoint": self._facts} if self._facts else {})}

    def _inputs(self, contents: Sequence[Any]) -> Any:
        preprocess = self.config.preprocess
        return prepare_images(contents, preprocess) if preprocess else stack(contents)

    def _shape(self) -> tuple[int, ...]:
        """The shape of one sample, as far as the options tell."""
        if self.config.input_shape:
            return self.config.input_shape
        preprocess = self.config.preprocess
        if preprocess is None or preprocess.crop is None:
            raise ModelError(
                "the shape of the inputs is not known",
                where=self.config.callable,
                hint="set input_shape, such as input_shape = [3, 224, 224]",
            )
        return (len(preprocess.mean), preprocess.crop, preprocess.crop)


def _import(target: str) -> Any:
    """What ``package.module:name.name`` names."""
    module, _, names = target.partition(":")
    try:
        return reduce(getattr, names.split("."), import_module(module))
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"cannot be imported: {error}",
            where=target,
            hint="a callable is written package.module:function and must be importable here",
        ) from error
