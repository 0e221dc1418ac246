"""Replicates: what the jitter of each one is, and how it is applied to a picture.

Each number depends on the seed, the sample's id, the replicate and the parameter's own name alone: not on
the order of samples, nor on which other parameters are jittered.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actx_vision.sources.config import Jitter

COLOURS = ("brightness", "contrast", "saturation", "hue")


def draw(jitter: Jitter, seed: int, id: str, replicate: int) -> dict[str, float]:
    """The jitter of one replicate; 0 is clean: every number is the neutral one.

    ``brightness``, ``contrast`` and ``saturation`` are factors, ``hue`` is a share of the circle,
    ``dx`` and ``dy`` shifts to the right and down as shares of width and height (``dx_px``, ``dy_px`` in
    pixels), ``noise`` a standard deviation. Only what is jittered is there.
    """
    spans = _spans(jitter)
    if replicate == 0:
        return {name: neutral for name, (_, _, neutral) in spans.items()}
    return {
        name: low + (high - low) * _number(f"{seed}/{id}/{replicate}/{name}") / 2**64
        for name, (low, high, _) in spans.items()
    }


def _spans(jitter: Jitter) -> dict[str, tuple[float, float, float]]:
    """Lowest, highest and neutral value of everything that is jittered."""
    spans = {}
    for name in ("brightness", "contrast", "saturation"):
        if width := getattr(jitter, name):
            spans[name] = (max(0.0, 1 - width), 1 + width, 1.0)
    if jitter.hue:
        spans["hue"] = (-jitter.hue, jitter.hue, 0.0)
    for unit, most in (("", jitter.translate), ("_px", jitter.translate_px)):
        if most:
            spans |= {f"dx{unit}": (-most, most, 0.0), f"dy{unit}": (-most, most, 0.0)}
    if jitter.noise:
        spans["noise"] = (jitter.noise, jitter.noise, 0.0)
    return spans


def _number(text: str) -> int:
    """An integer in [0, 2**64) that looks random and depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def jittered(
    image: Image.Image, drawn: Mapping[str, float], seed: int, id: str, replicate: int
) -> Image.Image:
    """A picture of mode RGB with the jitter that ``draw`` gave for the same seed, id and replicate.

    Brightness, contrast, saturation and hue as in torchvision's ColorJitter, in this order; then the
    shift, bilinear between pixels, with the outermost pixels repeated; then the noise, cut off at black
    and white. The picture stays 8-bit: shift and noise are rounded once, together.
    """
    from torchvision.transforms import functional

    for name in COLOURS:
        if name in drawn:
            image = getattr(functional, f"adjust_{name}")(image, drawn[name])
    width, height = image.size
    dx = drawn.get("dx", 0.0) * width + drawn.get("dx_px", 0.0)
    dy = drawn.get("dy", 0.0) * height + drawn.get("dy_px", 0.0)
    if not (dx or dy or "noise" in drawn):
        return image
    pixels = np.asarray(image, np.float32)
    pixels = _shifted(_shifted(pixels, dx, axis=1), dy, axis=0)
    if "noise" in drawn:
        rng = np.random.default_rng(_number(f"{seed}/{id}/{replicate}/field"))
        noise = rng.standard_normal(pixels.shape, np.float32)
        pixels = pixels + noise * np.float32(255 * drawn["noise"])
    return Image.fromarray(np.rint(pixels.clip(0, 255)).astype(np.uint8))


def _shifted(pixels: np.ndarray, by: float, axis: int) -> np.ndarray:
    """Each value moved ``by`` pixels along an axis, interpolated linearly; the border is replicated."""
    whole = math.floor(by)
    places = np.arange(pixels.shape[axis]) - whole
    share = np.float32(by - whole)
    near, far = (pixels.take(p.clip(0, pixels.shape[axis] - 1), axis) for p in (places, places - 1))
    moved: np.ndarray = near * (1 - share) + far * share
    return moved
