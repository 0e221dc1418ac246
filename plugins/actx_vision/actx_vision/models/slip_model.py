"""SLIP's small vision transformer, with its published weights."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any, ClassVar

from timm.models.vision_transformer import VisionTransformer
from torch.serialization import safe_globals

from actx_core.torch import ImagePreprocess
from actx_vision.models.config import SlipConfig
from actx_vision.models.published_model import IMAGENET_NORM, PublishedModel
from actx_vision.models.weights import read_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

VISUAL = "visual."


class Slip(PublishedModel[SlipConfig]):
    """The image tower of SLIP ViT-S/16; unlike other small transformers it has twelve heads.

    Mu et al., "SLIP: Self-supervision meets language-image pre-training", 2021.
    """

    component = "slip"
    name = "slip_small"
    tags: ClassVar = {
        f"{n}ep": f"https://dl.fbaipublicfiles.com/slip/slip_small_{n}ep.pt" for n in (100, 50, 25)
    }
    licence = "MIT (repository)"
    parameters = 21_665_664
    steps = ImagePreprocess(resize=224, crop=224, **IMAGENET_NORM)

    def build(self) -> nn.Module:
        module: nn.Module = VisionTransformer(
            patch_size=16, embed_dim=384, depth=12, num_heads=12, num_classes=0
        )
        return module

    def read(self, file: Path) -> dict[str, Any]:
        """The tower out of a checkpoint of the whole training, which also holds its command line."""
        with safe_globals([Namespace]):
            state = read_weights(file)
        visual = {k.removeprefix(VISUAL): v for k, v in state.items() if k.startswith(VISUAL)}
        return visual or state
