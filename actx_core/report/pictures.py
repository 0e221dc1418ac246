"""Previews and figures as data that a page can carry: small, bounded in number, each stored once."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from actx_core.report.words import short
from actx_core.types import Preview

if TYPE_CHECKING:
    import PIL.Image

SIDE = 160
LONGEST = 24
"""Previews in one strip, at most."""
PIXELS = 48
"""Pictures up to this size are data, not photographs: kept lossless, and enlarged without smoothing."""
WIDTHS = (1000, 700, 500)
"""To which figures are reduced, in turn, while all together are too large."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A thumbnail; ``href`` is a data URI."""

    id: str
    href: str
    width: int
    height: int
    pixels: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """One preview at its place on the page: a picture or text, and a caption."""

    caption: str
    picture: Picture | None = None
    text: str = ""


class Album:
    """The thumbnails of a page. A picture that appears in many places is stored once.

    ``most`` bounds the different pictures, ``places`` the previews on the page: all strips are cut to the
    longest common length that keeps both.
    """

    def __init__(self, strips: Sequence[Sequence[Preview | None]], most: int, places: int) -> None:
        self.pictures: list[Picture] = []
        self._seen: dict[str, Picture | None] = {}
        keys = [[_key(preview) for preview in strip[:LONGEST] if preview] for strip in strips]
        self._length = next(n for n in range(LONGEST, -1, -1) if _fits(keys, n, most, places))

    def strip(self, previews: Sequence[Preview | None]) -> list[Shown]:
        """What a strip shows of its previews."""
        return [self._shown(p) for p in list(filter(None, previews))[: self._length]]

    def _shown(self, preview: Preview) -> Shown:
        caption = short(preview.caption, 80)
        if preview.kind == "text":
            return Shown(caption, text=short(str(preview.data), 280))
        key = _key(preview)
        if key not in self._seen:
            self._seen[key] = picture = _picture(f"p{len(self.pictures)}", preview)
            if picture:
                self.pictures.append(picture)
        return Shown(caption, self._seen[key])


def figures(contents: Sequence[bytes], budget: int) -> list[str | None]:
    """Data URIs of figures: reduced where ``budget`` bytes ask for it, None where nothing helps."""
    fitted = list(contents)
    for width in WIDTHS:
        if sum(map(len, fitted)) <= budget:
            break
        fitted = [_reduced(content, width) for content in contents]
    uris: list[str | None] = []
    for content in fitted:
        fits = len(content) <= budget and _kind(content)
        budget -= len(content) if fits else 0
        uris.append(_uri(content) if fits else None)
    return uris


def _fits(keys: Sequence[Sequence[str]], length: int, most: int, places: int) -> bool:
    shown = [key for strip in keys for key in strip[:length]]
    return len(shown) <= places and len(set(shown) - {""}) <= most


def _key(preview: Preview) -> str:
    return "" if preview.kind == "text" else hashlib.sha256(_bytes(preview)).hexdigest()


def _bytes(preview: Preview) -> bytes:
    return preview.data.encode() if isinstance(preview.data, str) else preview.data


def _picture(name: str, preview: Preview) -> Picture | None:
    content = _bytes(preview)
    if preview.kind == "svg":
        return Picture(name, _uri(content), SIDE, SIDE) if len(content) < 50_000 else None
    try:
        from PIL import Image, ImageOps
    except ImportError:  # core does not need it; what makes pictures has it
        small = len(content) < 20_000 and _kind(content)
        return Picture(name, _uri(content), SIDE, SIDE) if small else None
    try:
        with Image.open(BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened)
            pixels = max(image.size) <= PIXELS
            image.thumbnail((SIDE, SIDE))
            image = _on_white(image)
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for damaged files
        return None
    file = BytesIO()
    if pixels:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=80, optimize=True)
    return Picture(name, _uri(file.getvalue()), image.width, image.height, pixels)


def _on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    import PIL.Image

    ground = PIL.Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")


def _reduced(content: bytes, width: int) -> bytes:
    """A PNG of at most this width in 256 colours; anything else as it is."""
    if _kind(content) != "png":
        return content
    try:
        from PIL import Image

        with Image.open(BytesIO(content)) as image:
            image.thumbnail((width, 4 * width))
            small = image.convert("RGBA").quantize(256, Image.Quantize.FASTOCTREE)
    except (ImportError, OSError, ValueError, SyntaxError):
        return content
    file = BytesIO()
    small.save(file, "PNG", optimize=True)
    return min(content, file.getvalue(), key=len)


def _kind(content: bytes) -> str:
    """The media subtype of an image file; empty for anything else."""
    if content.startswith(b"\x89PNG"):
        return "png"
    if content.startswith(b"\xff\xd8"):
        return "jpeg"
    return "svg+xml" if b"<svg" in content[:1000] else ""


def _uri(content: bytes) -> str:
    """As an image, even SVG runs no script and loads nothing."""
    return f"data:image/{_kind(content) or 'png'};base64,{b64encode(content).decode()}"
