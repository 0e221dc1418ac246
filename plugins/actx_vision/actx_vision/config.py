"""Options of the models of actx-vision; imports neither torch nor torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)

from actx_core import Config
from actx_core.packages import DataPath
from actx_core.torch import TorchConfig

RANDOM = "random"
DEFAULT = "DEFAULT"


def is_file(weights: str) -> bool:
    """Whether ``weights`` names a file rather than a tag."""
    endings = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
    return weights.startswith("package:") or "/" in weights or weights.endswith(endings)


def _true_is_default(value: Any) -> Any:
    return DEFAULT if value is True or value == "true" else value


def _said(value: str, info: ValidationInfo) -> str:
    if not value:
        raise ValueError(
            'say which weights: "DEFAULT", a tag of the model, a local file, or "random"'
        )
    if is_file(value):
        path: Path = TypeAdapter(DataPath).validate_python(value, context=info.context)
        return str(path)
    return value


Weights = Annotated[str, BeforeValidator(_true_is_default), AfterValidator(_said)]


class Preprocess(Config):
    """Changes to the preprocessing that belongs to the weights; what is left out stays."""

    resize: int | None = Field(default=None, ge=1)
    """Length of the shorter side, in pixels."""
    crop: int | None = Field(default=None, ge=1)
    """Side of the square cut from the centre, in pixels."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    """Filter of the resize."""
    mean: tuple[float, float, float] | None = None
    """Subtracted per channel, where values lie in [0, 1]."""
    std: tuple[float, float, float] | None = None
    """Divisor per channel."""

    @field_validator("std")
    @classmethod
    def _positive(cls, std: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if std and min(std) <= 0:
            raise ValueError(f"expected values above zero, got {list(std)}")
        return std


class ImageModelConfig(TorchConfig):
    """What torchvision and timm models can be told."""

    name: str
    """As the library calls the model."""
    weights: Weights = Field(default="", validate_default=True)
    """``DEFAULT``, a tag, a local file (strict, weights only), or ``random`` (seeded). No default."""
    preprocess: Preprocess = Preprocess()
    """Changes to the preprocessing of the weights; random and local weights take the default tag's."""

    def label(self) -> str:
        return self.name


class TorchvisionConfig(ImageModelConfig):
    """Options of ``torchvision``."""

    name: str
    """As in torchvision.models, such as ``resnet50``."""


class TimmConfig(ImageModelConfig):
    """Options of ``timm``."""

    name: str
    """As in timm, with or without its weight tag, such as ``resnet50.a1_in1k``."""
