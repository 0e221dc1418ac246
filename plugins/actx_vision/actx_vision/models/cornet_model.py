"""CORnet-S with its published weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from actx_core.torch import ImagePreprocess
from actx_vision.models.config import CornetSConfig
from actx_vision.models.cornet import cornet_s
from actx_vision.models.published_model import IMAGENET_NORM, PublishedModel

if TYPE_CHECKING:
    from torch import nn


class CornetS(PublishedModel[CornetSConfig]):
    """CORnet-S; the calls of ``V4.output`` and its like are the time steps of an area.

    Pictures are prepared as for the training's validation, and in ann_pipe: 256, then 224.
    """

    component = "cornet-s"
    name = "cornet_s"
    tags: ClassVar = {"imagenet": "https://s3.amazonaws.com/cornet-models/cornet_s-1d3f7974.pth"}
    licence = "GPL-3.0 (repository)"
    parameters = 53_416_616
    steps = ImagePreprocess(resize=256, crop=224, **IMAGENET_NORM)

    def build(self) -> nn.Module:
        return cornet_s()
