"""Options of open_clip models; imports neither torch nor open_clip."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from actx_vision.models.config import ImageModelConfig, Preprocess, Weights


class OpenClipConfig(ImageModelConfig):
    """Options of ``open-clip``."""

    name: str
    """As ``open_clip.list_models()`` says; ``ViT-B-16-quickgelu`` for a local file of OpenAI's kind."""
    weights: Weights = Field(default="", validate_default=True)
    """A tag such as ``openai``, a local file (strict, weights only), or ``random`` (seeded). No default."""
    tower: Literal["image", "text"] = "image"
    """Which of the two encoders; the text tower takes texts."""
    preprocess: Preprocess = Preprocess()
    """Changes to the preprocessing of the tag; random and local weights take what all tags share."""

    @field_validator("tower")
    @classmethod
    def _text_has_no_pixels(cls, tower: str, info: ValidationInfo) -> str:
        if tower == "text" and info.data.get("preprocess") != Preprocess():
            raise ValueError("the text tower gets texts, not pictures: leave out 'preprocess'")
        return tower
