"""Panels of models under names of their own, each with its checkpoint; imports neither torch nor torchvision.

``ann_pipe`` is the panel of github.com/FabianKamp/ann_pipe. Its names are kept, its mistakes are not:

* *ViT-B-16-CLIP* is CLIP's ViT-B/16. There it was a ViT-L/14 of LAION, fine-tuned on ImageNet.
* *SLIP ViT-Small* has twelve heads and all of its weights. There it had six, and 48 tensors stayed random.
* Each model gets the pictures that its weights were trained with. There ResNet50 (232 pixels, then 224),
  ResNeXt-101-WSL (256, then 224), ConvNeXt-Large-CLIP (320) and ViT-B-16 (mean and deviation 0.5) did not.
* *ViT-B-16* is the Google Brain model in timm; there it came from transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from actx_core.torch import TorchConfig
from actx_vision.models.config import RANDOM, WeightsDir
from actx_vision.models.hints import did_you_mean


class Member(NamedTuple):
    """A model of a panel: its entry in a pipeline."""

    type: str
    name: str
    weights: str


PANELS: Mapping[str, Mapping[str, Member]] = {
    "ann_pipe": {
        "ResNet50": Member("torchvision", "resnet50", "IMAGENET1K_V2"),
        "ResNeXt-101-WSL": Member("timm", "resnext101_32x8d", "fb_wsl_ig1b_ft_in1k"),
        "ConvNeXt-Large": Member("timm", "convnext_large", "fb_in22k_ft_in1k"),
        "CORNet-S": Member("cornet-s", "cornet_s", "imagenet"),
        "VGG19": Member("torchvision", "vgg19", "IMAGENET1K_V1"),
        "ViT-B-16": Member("timm", "vit_base_patch16_224", "augreg_in21k_ft_in1k"),
        "ViT-B-32-timm": Member("timm", "vit_base_patch32_224", "augreg_in21k_ft_in1k"),
        "DeiT-Base": Member("timm", "deit_base_patch16_224", "fb_in1k"),
        "ResNet50-CLIP": Member("open-clip", "RN50", "openai"),
        "ConvNeXt-Large-CLIP": Member(
            "open-clip", "convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"
        ),
        "ViT-B-16-CLIP": Member("open-clip", "ViT-B-16", "openai"),
        "ViT-B-32-CLIP": Member("open-clip", "ViT-B-32", "openai"),
        "ViT-B-16-LAION-CLIP": Member("open-clip", "ViT-B-16", "laion2b_s34b_b88k"),
        "SLIP ViT-Small": Member("slip", "slip_small", "100ep"),
    }
}
MEMBERS = {name: (panel, each) for panel, all in PANELS.items() for name, each in all.items()}
"""Every model, with the name of its panel."""


class PanelConfig(TorchConfig):
    """Options of ``panel``; those of all torch models go to each of its models."""

    name: str
    """A panel, ``ann_pipe``, or one of its models, such as ``ResNet50``."""
    only: tuple[str, ...] = Field(default=(), min_length=1)
    """Take only these models of the panel."""
    weights: Literal["published", "random"] = "published"
    """The checkpoint of each model, or ``random`` (seeded)."""
    weights_dir: WeightsDir = ""
    """Folder searched for the published files before anything is downloaded; then ACTX_WEIGHTS."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        _check(name, [*PANELS, *MEMBERS], "no panel, and no model of one, is called")
        return name

    @field_validator("only")
    @classmethod
    def _of_the_panel(cls, only: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        name = info.data.get("name", "")
        if name in MEMBERS:
            raise ValueError(
                f"'{name}' is one model; 'only' goes with a panel: {', '.join(PANELS)}"
            )
        for wanted in only if name in PANELS else ():
            _check(wanted, list(PANELS[name]), f"'{name}' has no model called")
        return only

    def label(self) -> str:
        return self.name

    def expand(self, given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """An entry for each model, in the order of the panel, with the panel's layers as its taps."""
        names = [self.name] if self.name in MEMBERS else list(PANELS[self.name])
        handed = {
            key: given[key] for key in (*TorchConfig.model_fields, "weights_dir") if key in given
        }
        return [
            self._entry(name, given, handed) for name in names if not self.only or name in self.only
        ]

    def _entry(
        self, name: str, given: Mapping[str, Any], handed: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        panel, (type_, model, weights) = MEMBERS[name]
        taps = {} if "tap" in given else {"taps": [f"preset:{panel}"]}
        if self.weights == RANDOM:
            weights = RANDOM
        return {
            "type": f"vision/{type_}", "as": name, "name": model, "weights": weights, **taps, **handed,
        }  # fmt: skip


def _check(name: str, known: Sequence[str], complaint: str) -> None:
    if name not in known:
        hint = did_you_mean(name, known, f"there are: {', '.join(known)}")
        raise ValueError(f"{complaint} '{name}'; {hint}")
