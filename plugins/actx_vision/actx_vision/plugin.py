"""What actx-vision offers; imported for listing, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actx_core import Component, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def actx_models() -> Iterator[Component]:
    yield Component(
        "torchvision",
        "actx_vision.torchvision_model:TorchvisionModel",
        "Any image model of torchvision.models.",
        config="actx_vision.config:TorchvisionConfig",
    )
    yield Component(
        "timm",
        "actx_vision.timm_model:TimmModel",
        "Any model of timm, with its weight tag: resnet50.a1_in1k.",
        config="actx_vision.config:TimmConfig",
        extra="timm",
    )


@hookimpl
def actx_sources() -> Iterator[Component]:
    yield Component(
        "image-folder",
        "actx_vision.image_folder:ImageFolder",
        "A folder of images, flat or one folder per class, with everything below it.",
        config="actx_vision.source_config:ImageFolderConfig",
    )
