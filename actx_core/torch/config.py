"""Options of torch models; imports neither torch nor numpy."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from actx_core.contracts import Config, InputPath, ModelConfig

PackageFile = Annotated[str, StringConstraints(pattern=r"^package:\w+/.+$")]
Checkpoint = PackageFile | InputPath
"""A file of weights: a path, or ``package:NAME/FILE`` for a file inside an installed package."""


class TorchConfig(ModelConfig):
    """What every torch model can be told."""

    device: str = "auto"
    """auto (cuda, else mps, else cpu), cpu, mps, cuda or cuda:N."""
    dtype: Literal["float32", "float16", "bfloat16", "float64"] = "float32"
    """Type of weights, floating inputs and stored activations."""
    autocast: Literal["", "float16", "bfloat16"] = ""
    """Let torch compute matrix products and convolutions in this type."""
    seed: int = Field(default=0, ge=0)
    """Seed of random weights, and of anything random in the forward pass."""


class ImagePreprocess(Config):
    """How a PIL image becomes the model's input: resize, centre crop, to [0, 1], normalise.

    The result equals torchvision's Resize, CenterCrop, ToTensor and Normalize, bit for bit.
    """

    resize: int | None = Field(default=None, ge=1)
    """Length of the shorter side, in pixels; the aspect ratio is kept."""
    crop: int | None = Field(default=None, ge=1)
    """Side of the square cut from the centre, in pixels; a smaller image is padded with black."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """PIL filter of the resize."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Subtracted per channel; three values mean RGB, one value means grey."""
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    """Divisor per channel."""

    @field_validator("std")
    @classmethod
    def _as_many_as_mean(cls, std: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        mean = info.data.get("mean", std)
        if len(std) != len(mean) or len(std) not in (1, 3):
            raise ValueError(
                f"expected one or three values in both mean and std, got {len(mean)} and {len(std)}"
            )
        if any(value <= 0 for value in std):
            raise ValueError(f"expected values above zero, got {list(std)}")
        return std


class ModuleConfig(TorchConfig):
    """Any callable that returns an ``nn.Module``, with a local checkpoint."""

    callable: str = Field(pattern=r"^[\w.]+:[\w.]+$")
    """``package.module:function``, called with ``args`` and ``kwargs``."""
    args: tuple[Any, ...] = ()
    """Positional arguments of the callable."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the callable."""
    checkpoint: Checkpoint | None = None
    """State dict: a path, or ``package:NAME/FILE`` (in an installed package); else seeded random weights."""
    trust: bool = Field(default=False, validate_default=True)
    """Must be true: the callable is code that runs on this machine."""
    input_shape: tuple[int, ...] | None = None
    """Shape of one sample as the module gets it, such as [3, 224, 224]; known where images are cropped."""
    preprocess: ImagePreprocess | None = None
    """Makes the model take images; without it, it takes arrays as they are."""

    @field_validator("trust")
    @classmethod
    def _trusted(cls, trust: bool) -> bool:
        if not trust:
            raise ValueError(
                "expected true: 'callable' names code that will run on this machine;"
                " say trust = true if you know it"
            )
        return trust

    def label(self) -> str:
        return self.callable.rpartition(":")[2].lower()
