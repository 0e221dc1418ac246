"""The model ``transformers-vision``: vision transformers of the package transformers, on images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from actx_core import Batch, ModelError, Sample
from actx_hf.models import loading
from actx_hf.models.checking import check_hooks
from actx_hf.models.config import LoadedConfig
from actx_hf.models.loaded import Loaded

if TYPE_CHECKING:
    from torch import nn


class Vision(Loaded[LoadedConfig]):
    """ViT, DINOv2, the image half of CLIP; canonical hook points are other names of the modules' taps."""

    accepts = "image"

    def build(self) -> nn.Module:
        module = super().build()
        if signature(module.forward).parameters.keys() & {"input_ids"}:
            raise ModelError(
                f"{type(module).__name__} takes texts",
                where=str(self.config.name),
                hint="type = 'transformers' is for language models; of CLIP, save the image half alone",
            )
        return module

    @cached_property
    def _options(self) -> Any:
        return loading.read_options(self.config)

    @cached_property
    def _processor(self) -> Any:
        return loading.image_processor(self.config)

    def example(self, batch: int) -> Any:
        size = getattr(self._options, "image_size", None)
        if size is None:  # as large as the processor makes them
            blank = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
            made = self._processor(images=[blank], return_tensors="pt")
            return {"pixel_values": made["pixel_values"].repeat_interleave(batch, 0)}
        height, width = (size, size) if isinstance(size, int) else size
        return {"pixel_values": torch.zeros(batch, self._options.num_channels, height, width)}

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Images as the checkpoint's own processor makes them."""
        images = [sample.data.convert("RGB") for sample in samples]
        inputs = self._processor(images=images, return_tensors="pt")
        return Batch(self.host({"pixel_values": inputs["pixel_values"]}), range(len(samples)))

    def check(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        told = check_hooks(self.config)
        for name, tap in self.aliases().items():
            before = f"{found[tap]}; " if tap in found else ""
            found[tap] = f"{before}{name}: {told[name]}"
        return found

    def aliases(self) -> Mapping[str, str]:
        """Canonical names: ``blocks.3.resid_post`` is ``layers.3`` of a ViT."""
        names = {tap.name for tap in self.taps() if not tap.problem}
        found: dict[str, str] = {}
        for name, place in loading.hooks(self.config).places.items():
            side = "@in" if place.side == "in" else ""
            element = "" if place.index is None else f".{place.index}"
            for tap in (f"{place.path}{element}{side}", f"{place.path}{side}"):
                if tap in names:
                    found.setdefault(name, tap)
        return found
