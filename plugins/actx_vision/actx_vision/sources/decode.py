"""Reads one image file, converts pictures to 8-bit RGB, or says what is wrong with them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from actx_core import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "PPM")
"""The formats tried, whatever a file is called; PostScript would start another program."""

_HINT = 'repair the file, or leave such samples out with [run] on_error = "skip"'


def to_rgb(image: Image.Image) -> Image.Image:
    """A new image of mode RGB.

    Grey is repeated, palettes are resolved, alpha is dropped (the colour stored under it stays),
    CMYK and LAB are converted, colour profiles are ignored. Of 16 bits the high byte is kept, as
    Pillow does for 16-bit RGB; float pixels must lie in [0, 1]. Raises SourceError.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.uint16, copy=False)
        return Image.fromarray((pixels >> 8).astype(np.uint8)).convert("RGB")
    if mode == "F":
        return Image.fromarray(bytes_of(np.asarray(image))).convert("RGB")
    if mode == "I" and image.format == "PPM":  # a 16-bit PGM, which Pillow brings to 0 … 65535
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if mode == "I":
        low, high = image.getextrema()
        raise SourceError(f"expected 8 or 16 bits, found signed or 32-bit pixels: {low} to {high}")
    if mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
        assert converted is not None  # None only where the image is changed in place
        return converted
    if mode == "P":
        image = image.convert("RGBA")  # straight to RGB, Pillow warns about palettes with alpha
    elif mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    return image.convert("RGB")


def read_image(path: Path, convert: Callable[[Image.Image], Image.Image] = to_rgb) -> Image.Image:
    """What ``convert`` makes of the picture in a file, upright by its EXIF orientation.

    Raises SourceError naming the file, also where ``convert`` fails.
    """
    try:
        with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
            _refuse_frames(image)
            _turn_upright(image)
            return convert(image)
    except MemoryError:
        raise
    except Exception as error:  # Pillow passes on whatever its decoders raise
        raise SourceError(_found(path, error), where=str(path), hint=_HINT) from error


def bytes_of(pixels: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] as 0 … 255. No other range is guessed: it would differ from file to file."""
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # also catches NaN
        raise SourceError(f"expected float pixels in [0, 1], found {low:g} to {high:g}")
    scaled: np.ndarray = np.rint(pixels * 255).astype(np.uint8)
    return scaled


def _refuse_frames(image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    # In an MPO (the JPEG of many cameras) the first frame is the picture, the others are previews.
    if frames > 1 and image.format != "MPO":
        raise SourceError(f"expected one picture, found {frames} frames ({image.format})")


def _turn_upright(image: Image.Image) -> None:
    """Damaged EXIF data say nothing of the orientation; the pixels are what they are."""
    image.load()  # so that only the EXIF data can be the cause below
    try:
        image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, LookupError, TypeError, OSError, struct.error):
        return
    ImageOps.exif_transpose(image, in_place=True)


def _found(path: Path, error: Exception) -> str:
    if isinstance(error, SourceError):
        return error.message
    if isinstance(error, UnidentifiedImageError):
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            return "expected an image, found an empty file (0 bytes)"
        return f"expected an image ({', '.join(FORMATS)}), found a file that begins with {start!r}"
    if isinstance(error, FileNotFoundError):
        return "the file was listed but is gone"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {error.strerror}"
    return f"the image is damaged or cannot be decoded: {error}"
