"""Previews and figures as data that a page can carry: small, bounded in number, each stored once."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING

from actx_core.report.words import short
from actx_core.types import Preview

if TYPE_CHECKING:
    import PIL.Image

SIDES = {300: 160, 1500: 96}
"""Pixels of a thumbnail's longer side, where the page shows at most so many pictures; of more, 64."""
LONGEST = 24
"""Previews in one strip, at most."""
AROUND = 70
"""Characters of a text that are shown on either side of the part that a row is about."""
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
    """One preview at its place on the page: a picture or text, and a caption.

    ``parts`` are what stands before, in and behind the part of a text that the row is about.
    """

    caption: str
    picture: Picture | None = None
    text: str = ""
    parts: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with the size of its pixels, 0 where the file does not tell."""

    uri: str
    width: int
    height: int


Encode = Callable[[str, bytes | str, int], Picture | None]
"""Makes a thumbnail of a preview's kind and data, whose longer side has so many pixels."""


class Album:
    """The thumbnails of a page. A picture that appears in many places is stored once.

    All strips are cut to an equal share of their length, so that ``places`` previews are shown at most, whose
    pictures take ``most`` bytes together.
    """

    def __init__(
        self, strips: Sequence[Sequence[Preview | None]], most: int, places: int, encode: Encode
    ) -> None:
        self._stored: dict[str, Picture] = {}
        known = [_known(strip) for strip in strips]
        drawn = {(p.kind, p.data) for strip in known for p in strip if p.kind != "text"}
        self._encode = encode
        self._side = next((side for count, side in SIDES.items() if len(drawn) <= count), 64)
        self._share = next(n for n in range(LONGEST, -1, -1) if self._fits(known, n, most, places))

    @property
    def pictures(self) -> list[Picture]:
        """Those that the strips made so far show."""
        return list(self._stored.values())

    def strip(self, previews: Sequence[Preview | None]) -> list[Shown]:
        """What a strip shows of its previews."""
        return [self._shown(preview) for preview in _cut(_known(previews), self._share)]

    def _fits(
        self, strips: Sequence[Sequence[Preview]], share: int, most: int, places: int
    ) -> bool:
        shown = [preview for strip in strips for preview in _cut(strip, share)]
        if len(shown) > places:
            return False
        drawn = {(p.kind, p.data) for p in shown if p.kind != "text"}
        pictures = (self._encode(kind, data, self._side) for kind, data in drawn)
        return sum(len(picture.href) for picture in pictures if picture) <= most

    def _shown(self, preview: Preview) -> Shown:
        caption = short(preview.caption, 80)
        if preview.kind == "text":
            text = str(preview.data)
            return Shown(caption, text=short(text, 280), parts=_around(text, preview.span))
        picture = self._encode(preview.kind, preview.data, self._side)
        if picture is None:
            return Shown(caption)
        named = replace(picture, id=f"p{len(self._stored)}")
        return Shown(caption, self._stored.setdefault(picture.href, named))


def _known(strip: Sequence[Preview | None]) -> list[Preview]:
    return [preview for preview in strip[:LONGEST] if preview]


def _cut(strip: Sequence[Preview], share: int) -> Sequence[Preview]:
    return strip[: ceil(len(strip) * share / LONGEST)]


def _around(text: str, span: tuple[int, int] | None) -> tuple[str, str, str] | None:
    """A part of a text and what stands on either side, in one line."""
    if span is None:
        return None
    start, end = span
    line = text.translate(dict.fromkeys(map(ord, "\n\r\t\v\f"), " "))
    before, after = line[max(0, start - AROUND) : start], line[end : end + AROUND]
    return before, short(line[start:end], AROUND), after


def figures(contents: Sequence[bytes], budget: int) -> list[Figure | None]:
    """Figures as data URIs: reduced where ``budget`` bytes ask for it, None where nothing helps."""
    fitted = list(contents)
    for width in WIDTHS:
        if sum(map(len, fitted)) <= budget:
            break
        fitted = [_reduced(content, width) for content in contents]
    found: list[Figure | None] = []
    for content, original in zip(fitted, contents, strict=True):
        fits = len(content) <= budget and _kind(content)
        budget -= len(content) if fits else 0
        found.append(Figure(_uri(content), *_pixels(original)) if fits else None)
    return found


def _pixels(content: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    if not content.startswith(b"\x89PNG") or len(content) < 24:
        return 0, 0
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def thumbnail(kind: str, data: bytes | str, side: int) -> Picture | None:
    """A preview's picture without an id; None where it is too large or damaged."""
    content = data.encode() if isinstance(data, str) else data
    if kind == "svg":
        return Picture("", _uri(content), side, side) if len(content) < 50_000 else None
    try:
        from PIL import Image, ImageOps
    except ImportError:  # core does not need it; what makes pictures has it
        small = len(content) < 20_000 and _kind(content)
        return Picture("", _uri(content), side, side) if small else None
    try:
        with Image.open(BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened)
            pixels = max(image.size) <= PIXELS
            image.thumbnail((side, side))
            image = _on_white(image)
    except (OSError, ValueError, SyntaxError):  # what Pillow raises for damaged files
        return None
    file = BytesIO()
    if pixels:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=80, optimize=True)
    return Picture("", _uri(file.getvalue()), image.width, image.height, pixels)


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
