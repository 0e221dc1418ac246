"""ImageModel: what all models of pictures share, from the picture to the input tensor."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from actx_core import Batch, ModelError, Preview, Sample
from actx_core.torch import ImagePreprocess, TorchModel, prepare_images, preview_images
from actx_vision.models.config import ImageModelConfig

if TYPE_CHECKING:
    from PIL.Image import Image

C = TypeVar("C", bound=ImageModelConfig)


@dataclass(frozen=True)
class Transform:
    """The preprocessing of some weights.

    ``size`` is (height, width) of the result, None where it follows the picture. ``upstream`` does what
    ``steps`` cannot express (other crop modes, sizes that are not square); then only mean and std of
    ``steps`` count.
    """

    steps: ImagePreprocess
    size: tuple[int, int] | None
    upstream: Callable[[Image], torch.Tensor] | None = None


class ImageModel(TorchModel[C]):
    """A network from a library of networks, fed with pictures as its weights want them."""

    accepts = "image"

    def __init__(self, config: C) -> None:
        super().__init__(config)
        self.weights = str(config.weights)
        """What was asked for; in place of DEFAULT, the tag that it stands for."""

    @abstractmethod
    def weights_transform(self) -> Transform:
        """The preprocessing that belongs to the weights."""

    @cached_property
    def _transform(self) -> Transform:
        ours = self.weights_transform()
        asked = {k: v for k, v in self.config.preprocess if v is not None}
        if asked:
            ours = self._changed(ours, asked)
        if ours.size is None:
            raise ModelError(
                f"'{self.config.name}' takes pictures of any size, but those of a batch must be equal",
                hint="say a size: preprocess = { crop = 224 }",
            )
        return ours

    def _changed(self, transform: Transform, asked: Mapping[str, Any]) -> Transform:
        if transform.upstream and not {"resize", "crop"} <= asked.keys():
            raise ModelError(
                f"the preprocessing of '{self.config.name}' does not resize and crop by one number"
                " each, so it cannot be changed in part",
                hint="say at least resize and crop in preprocess",
            )
        steps = transform.steps.model_copy(update=asked)
        if steps.crop and steps.resize and steps.crop > steps.resize:
            raise ModelError(
                f"crop = {steps.crop} is more than is left after resize = {steps.resize}",
                hint="say both in preprocess",
            )
        return Transform(steps, (steps.crop, steps.crop) if steps.crop else None)

    def example(self, batch: int) -> torch.Tensor:
        assert self._transform.size is not None
        return torch.zeros(batch, 3, *self._transform.size)

    def resized(self, batch: int, axis: Literal["y", "x"]) -> torch.Tensor:
        # Twice as large divides by every patch and window that the size itself divides by.
        return torch.cat([self.example(batch)] * 2, dim=2 if axis == "y" else 3)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        images = [sample.data for sample in samples]
        transform = self._transform
        if transform.upstream:
            inputs = torch.stack([transform.upstream(image.convert("RGB")) for image in images])
        else:
            inputs = prepare_images(images, transform.steps)
        return Batch(self.host(inputs), range(len(images)))

    def preview(self, batch: Batch) -> list[Preview | None]:
        return preview_images(batch.inputs, self._transform.steps)

    def fingerprint(self) -> str:
        steps = hashlib.sha256(repr(self._steps).encode()).hexdigest()
        return f"{super().fingerprint()} {steps}"

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "weights": self.weights, "preprocess": self._steps}

    @property
    def _steps(self) -> str | dict[str, Any]:
        transform = self._transform
        return str(transform.upstream) if transform.upstream else transform.steps.model_dump()
