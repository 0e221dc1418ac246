"""The models of torchvision: classification and segmentation, by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchvision import models

from actx_core import Checkpoint, ModelError
from actx_core.torch import ImagePreprocess
from actx_vision.models.config import DEFAULT, RANDOM, TorchvisionConfig
from actx_vision.models.hints import did_you_mean
from actx_vision.models.image_model import ImageModel, Transform
from actx_vision.models.presets import tap_presets
from actx_vision.models.weights import fetch, file_name, load_strictly, read_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import nn


class TorchvisionModel(ImageModel[TorchvisionConfig]):
    """A model of ``torchvision.models``, with the weights and preprocessing of one of its tags."""

    def __init__(self, config: TorchvisionConfig) -> None:
        super().__init__(config)
        self._weights = _weights_of(config)
        if config.weights == DEFAULT:
            self.weights = str(self._weights)

    def build(self) -> nn.Module:
        """As torchvision builds it for the tag, without loading anything."""
        name, meta = self.config.name, self._weights.meta
        options: dict[str, Any] = {"weights": None}
        if meta.get("categories"):
            options["num_classes"] = len(meta["categories"])
        if name in _segmentation():
            options["weights_backbone"] = None
            options |= {} if name.startswith("lraspp") else {"aux_loss": True}
        elif name in ("inception_v3", "googlenet"):
            # The weights were made elsewhere: with them torchvision rescales the input inside the net.
            options |= {"transform_input": True, "aux_logits": True}
            options["init_weights"] = self.config.weights == RANDOM
        elif name.startswith("vit_"):
            options["image_size"] = meta["min_size"][0]
        module: nn.Module = models.get_model(name, **options)
        return module

    def load(self, module: nn.Module) -> None:
        weights = self.config.weights
        if weights == RANDOM:
            return
        if not isinstance(weights, Path):
            weights = fetch(self.config, self._weights.url, self.config.name)
        state = read_weights(weights)
        if self.config.name.startswith("densenet"):
            # The files are older than the rule that a module's name has no dot.
            state = {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", k): v for k, v in state.items()}
        load_strictly(module, state, str(weights))

    def weights_transform(self) -> Transform:
        preset = self._weights.transforms()
        resize, crop = preset.resize_size, getattr(preset, "crop_size", None)
        steps = ImagePreprocess(
            resize=resize[0] if resize else None,
            crop=crop[0] if crop else None,
            interpolation=preset.interpolation.value,
            mean=preset.mean,
            std=preset.std,
        )
        return Transform(steps, (crop[0], crop[0]) if crop else None)

    def presets(self) -> Mapping[str, Sequence[str]]:
        return tap_presets("torchvision", self.config.name)

    @classmethod
    def checkpoints(cls) -> Iterator[Checkpoint]:
        """Every tag; a licence only where torchvision gives one, for its own weights it leaves that open."""
        for name in _names():
            for weights in models.get_model_weights(name):
                swag = "SWAG" in weights.name
                yield Checkpoint(
                    name,
                    weights.name,
                    "CC-BY-NC-4.0" if swag else "not stated (code: BSD-3-Clause)",
                    weights.url,
                    file_name(weights.url),
                    weights.meta["num_params"],
                )


def _names() -> list[str]:
    return [*models.list_models(module=models), *_segmentation()]


def _segmentation() -> list[str]:
    names: list[str] = models.list_models(module=models.segmentation)
    return names


def _weights_of(config: TorchvisionConfig) -> Any:
    """The tag's entry; for random and local weights the default one's, which gives the preprocessing."""
    names = _names()
    if config.name not in names:
        if config.name in models.list_models():
            raise ModelError(
                f"torchvision's '{config.name}' does not turn one picture into one activation: it is"
                " a detection, video, flow or quantised model",
                hint="classification and segmentation models can be used",
            )
        raise ModelError(
            f"torchvision has no model called '{config.name}'",
            hint=did_you_mean(config.name, names, "names are those of torchvision.models"),
        )
    tags = models.get_model_weights(config.name)
    tag = config.weights
    if tag == RANDOM or isinstance(tag, Path):
        tag = DEFAULT
    if tag not in tags.__members__:
        listed = ", ".join(tags.__members__)
        raise ModelError(
            f"torchvision's '{config.name}' has no weights called '{tag}'",
            hint=did_you_mean(
                tag, list(tags.__members__), f"there are: {listed}, random, or a file"
            ),
        )
    return tags[tag]
