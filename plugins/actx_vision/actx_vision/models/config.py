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
ENDINGS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")
"""Of files that hold weights."""


def _true_is_default(value: Any) -> Any:
    return DEFAULT if value is True or value == "true" else value


def _located(value: str | Path, info: ValidationInfo) -> Path:
    path: Path = TypeAdapter(DataPath).validate_python(value, context=info.context)
    return path


def _said(value: str | Path, info: ValidationInfo) -> str | Path:
    """A tag as text, a file as a path: core then takes its content, not its place, for its identity."""
    text = str(value)
    if not text:
        raise ValueError(
            'say which weights: "DEFAULT", a tag of the model, a local file, or "random"'
        )
    is_file = text.startswith("package:") or "/" in text or text.endswith(ENDINGS)
    return _located(value, info) if is_file else text


def _folder(value: str, info: ValidationInfo) -> str:
    return str(_located(value, info)) if value else value


Weights = Annotated[str | Path, BeforeValidator(_true_is_default), AfterValidator(_said)]
WeightsDir = Annotated[str, AfterValidator(_folder), Field(exclude=True)]
"""A folder; text, and never part of an entry's identity, which must not depend on where files lie."""


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
    """What every model that takes pictures can be told."""

    name: str
    """As the library calls the model."""
    weights: Weights = Field(default="", validate_default=True)
    """``DEFAULT``, a tag, a local file (strict, weights only), or ``random`` (seeded). No default."""
    weights_dir: WeightsDir = ""
    """Folder searched for the published file of a tag before anything is downloaded; then ACTX_WEIGHTS."""
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


class CornetSConfig(ImageModelConfig):
    """Options of ``cornet-s``."""

    name: Literal["cornet_s"] = "cornet_s"
    """There is only this one."""


class SlipConfig(ImageModelConfig):
    """Options of ``slip``."""

    name: Literal["slip_small"] = "slip_small"
    """There is only this one."""
