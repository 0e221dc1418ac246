"""The models of torchvision: classification and segmentation, by name."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch
from torchvision import models

from actx_core import ModelError
from actx_core.torch import ImagePreprocess
from actx_vision.config import DEFAULT, RANDOM, TorchvisionConfig, is_file
from actx_vision.hints import did_you_mean
from actx_vision.image_model import (
    ImageModel,
    Transform,
    load_strictly,
    missing_weights,
    read_weights,
)

if TYPE_CHECKING:
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
        state = read_weights(weights) if is_file(weights) else self._downloaded()
        if self.config.name.startswith("densenet"):
            # The files are older than the rule that a module's name has no dot.
            state = {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", k): v for k, v in state.items()}
        load_strictly(module, state, weights if is_file(weights) else self._weights.url)

    def _downloaded(self) -> dict[str, Any]:
        url = self._weights.url
        file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
        try:
            state: dict[str, Any] = self._weights.get_state_dict(
                progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
            )
        except OSError as error:
            raise missing_weights(self.config.name, error, url, f"put it at {file}") from error
        except Exception as error:  # a damaged file: pickle, zip and torch each have their own
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"cannot be read: {reason}", where=str(file), hint="remove it, to download it again"
            ) from error
        return state

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


def _segmentation() -> list[str]:
    names: list[str] = models.list_models(module=models.segmentation)
    return names


def _weights_of(config: TorchvisionConfig) -> Any:
    """The tag's entry; for random and local weights the default one's, which gives the preprocessing."""
    names = [*models.list_models(module=models), *_segmentation()]
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
    tag = DEFAULT if config.weights == RANDOM or is_file(config.weights) else config.weights
    if tag not in tags.__members__:
        listed = ", ".join(tags.__members__)
        raise ModelError(
            f"torchvision's '{config.name}' has no weights called '{tag}'",
            hint=did_you_mean(
                tag, list(tags.__members__), f"there are: {listed}, random, or a file"
            ),
        )
    return tags[tag]
