"""From PIL images to the model's input tensor and back to a preview, as torchvision's transforms do it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from actx_core.errors import ModelError
from actx_core.torch.config import ImagePreprocess
from actx_core.types import Preview

if TYPE_CHECKING:
    from PIL.Image import Image


def prepare_images(images: Sequence[Image], preprocess: ImagePreprocess) -> torch.Tensor:
    """One float32 tensor of shape (images, channels, height, width).

    Raises ModelError where images come out in different sizes, which no single batch can hold.
    """
    tensors = [_prepare(image, preprocess) for image in images]
    sizes = {tuple(t.shape[1:]) for t in tensors}
    if len(sizes) > 1:
        listed = ", ".join(f"{h}x{w}" for h, w in sorted(sizes)[:3])
        raise ModelError(
            f"expected images of one size after preprocessing, found {listed}",
            hint="set 'crop' in the preprocessing",
        )
    return torch.stack(tensors)


def preview_images(inputs: torch.Tensor, preprocess: ImagePreprocess) -> list[Preview | None]:
    """PNG previews of prepared images: the normalisation undone, cut to [0, 1]."""
    from PIL import Image

    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (preprocess.mean, preprocess.std))
    pixels = (inputs.float().cpu() * std + mean).clamp(0, 1).mul(255).round().to(torch.uint8)
    previews: list[Preview | None] = []
    for image in pixels.permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
        previews.append(Preview("image", file.getvalue()))
    return previews


def _prepare(image: Image, preprocess: ImagePreprocess) -> torch.Tensor:
    image = image.convert("RGB" if len(preprocess.mean) == 3 else "L")
    if preprocess.resize:
        image = _resize(image, preprocess.resize, preprocess.interpolation)
    if preprocess.crop:
        image = _centre_crop(image, preprocess.crop)
    pixels = np.array(image, dtype=np.uint8)
    pixels = pixels.reshape(*pixels.shape[:2], len(preprocess.mean)).transpose(2, 0, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(torch.float32).div_(255)
    mean, std = (
        torch.tensor(v, dtype=torch.float32).view(-1, 1, 1)
        for v in (preprocess.mean, preprocess.std)
    )
    return tensor.sub_(mean).div_(std)


def _resize(image: Image, shorter: int, interpolation: str) -> Image:
    from PIL.Image import Resampling

    width, height = image.size
    if min(width, height) == shorter:
        return image
    longer = int(shorter * max(width, height) / min(width, height))
    size = (shorter, longer) if width <= height else (longer, shorter)
    return image.resize(size, Resampling[interpolation.upper()])


def _centre_crop(image: Image, side: int) -> Image:
    width, height = image.size
    if width < side or height < side:  # torchvision pads the odd pixel at the right and the bottom
        from PIL.Image import new

        canvas = new(image.mode, (max(width, side), max(height, side)))
        canvas.paste(image, (max(side - width, 0) // 2, max(side - height, 0) // 2))
        image, (width, height) = canvas, canvas.size
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))
