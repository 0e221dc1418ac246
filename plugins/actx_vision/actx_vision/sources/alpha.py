"""Transparency and borders: what of a picture a model gets to see, and on which background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageOps

from actx_core import SourceError
from actx_vision.sources.decode import to_rgb

if TYPE_CHECKING:
    Colour = tuple[int, int, int]


def flatten(
    image: Image.Image, alpha: Literal["drop", "mask", "blend"], background: Colour
) -> Image.Image:
    """A new image of mode RGB, without transparency.

    ``drop`` keeps the colours stored under transparent pixels. ``mask`` replaces pixels of alpha 0 by
    the background and keeps all others as they are. ``blend`` mixes each pixel with the background by
    its alpha. A picture without alpha comes out the same in all three. Of 16 bits of alpha the high
    byte counts. Raises SourceError as ``to_rgb`` does.
    """
    opacity = None if alpha == "drop" else _opacity(image)
    rgb = to_rgb(image)
    if opacity is None:
        return rgb
    if alpha == "mask":
        opacity = opacity.point(lambda value: 255 if value else 0)
    return Image.composite(rgb, Image.new("RGB", rgb.size, background), opacity)


def _opacity(image: Image.Image) -> Image.Image | None:
    """The alpha channel with 8 bits; None where the picture has none."""
    last = image.getbands()[-1]
    if last in ("A", "a"):  # LA, PA, RGBA; La, RGBa
        return image.getchannel(last)
    transparent = image.info.get("transparency")
    if transparent is None:
        return None
    if image.mode.startswith("I;16"):  # one level of grey is transparent
        visible = np.asarray(image) != transparent
        return Image.fromarray(visible.astype(np.uint8) * 255)
    if isinstance(transparent, tuple) and max(transparent) > 255:
        # Pillow has only the high bytes of such pixels left, and would call none of them transparent.
        raise SourceError(
            f"expected transparency by an alpha channel, found a 16-bit colour {transparent}",
            hint="save the picture with an alpha channel",
        )
    return image.convert("RGBA").getchannel("A")


def pad(image: Image.Image, ratio: float, colour: Colour) -> Image.Image:
    """The picture with a border of ``ratio`` times its width and height, rounded, on each side."""
    x, y = round(image.width * ratio), round(image.height * ratio)
    return ImageOps.expand(image, (x, y), colour) if x or y else image
