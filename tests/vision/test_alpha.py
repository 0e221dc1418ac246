"""Transparency and border: each kind of alpha that files have, against plain numpy."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from actx_core import SourceError
from actx_vision.sources.alpha import flatten, pad
from actx_vision.sources.config import ImageFolderConfig
from actx_vision.sources.image_folder import ImageFolder

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
ALPHA = RNG.choice([0, 0, 1, 100, 254, 255], (24, 32)).astype(np.uint8)
GROUND = (10, 200, 30)


def shown(path, alpha="drop", background=GROUND, **options):
    config = ImageFolderConfig(path=path.parent, alpha=alpha, background=background, **options)
    (sample,) = ImageFolder(config).listing()
    image = sample.load()
    assert image.mode == "RGB"
    return np.asarray(image)


def masked(colours, alpha, background=GROUND):
    return np.where((alpha == 0)[..., None], np.uint8(background), colours)


def blended(colours, alpha, background=GROUND):
    share = alpha[..., None] / 255
    return colours * share + np.array(background) * (1 - share)


def test_rgba(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([COLOURS, ALPHA])).save(path)
    np.testing.assert_array_equal(shown(path), COLOURS)
    np.testing.assert_array_equal(shown(path, "mask"), masked(COLOURS, ALPHA))
    black = masked(COLOURS, ALPHA, (0, 0, 0))
    np.testing.assert_array_equal(shown(path, "mask", (0, 0, 0)), black)
    assert np.abs(shown(path, "blend") - blended(COLOURS, ALPHA)).max() <= 1


def test_grey_with_alpha(tmp_path):
    path, grey = tmp_path / "a.png", COLOURS[..., 0]
    Image.fromarray(np.dstack([grey, ALPHA])).save(path)
    colours = np.dstack([grey] * 3)
    np.testing.assert_array_equal(shown(path, "mask"), masked(colours, ALPHA))
    assert np.abs(shown(path, "blend") - blended(colours, ALPHA)).max() <= 1


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_palettes_with_transparency(tmp_path, name):
    indices = (COLOURS[..., 0] % 4).astype(np.uint8)
    palette = RNG.integers(0, 256, (4, 3), dtype=np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    if name == "a.gif":
        opacity = np.array([255, 0, 255, 255], np.uint8)
        image.save(tmp_path / name, transparency=1)
    else:
        opacity = np.array([0, 80, 255, 1], np.uint8)
        image.save(tmp_path / name, transparency=opacity.tobytes())
    alpha = opacity[indices]
    np.testing.assert_array_equal(shown(tmp_path / name), palette[indices])
    np.testing.assert_array_equal(shown(tmp_path / name, "mask"), masked(palette[indices], alpha))
    found = shown(tmp_path / name, "blend")
    assert np.abs(found - blended(palette[indices], alpha)).max() <= 1


def png(depth, kind, values, transparent=b""):
    """A PNG as the standard says, for what Pillow cannot write."""

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(lines))]
    body = b"".join(chunk(*part) for part in parts if part[1])
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "channels"), [(6, 4), (4, 2)])
def test_sixteen_bits_with_alpha(tmp_path, kind, channels):
    values = RNG.integers(0, 2**16, (24, 32, channels))
    values[..., -1] = RNG.choice([0, 0x00FF, 0x0100, 0xFFFF], (24, 32))
    (tmp_path / "a.png").write_bytes(png(16, kind, values))
    high = (values >> 8).astype(np.uint8)  # the high byte counts, of alpha as of colour
    colours = high[..., :3] if kind == 6 else np.dstack([high[..., 0]] * 3)
    np.testing.assert_array_equal(shown(tmp_path / "a.png"), colours)
    expected = masked(colours, high[..., -1])
    np.testing.assert_array_equal(shown(tmp_path / "a.png", "mask"), expected)


def test_one_transparent_level_of_sixteen_bits(tmp_path):
    values = RNG.choice([0x1200, 0x1234, 0x12FF], (24, 32))
    (tmp_path / "a.png").write_bytes(png(16, 0, values, struct.pack(">H", 0x1234)))
    colours = np.dstack([values >> 8] * 3).astype(np.uint8)
    alpha = np.where(values == 0x1234, 0, 255)
    for how in ("mask", "blend"):
        np.testing.assert_array_equal(shown(tmp_path / "a.png", how), masked(colours, alpha))
    np.testing.assert_array_equal(shown(tmp_path / "a.png"), colours)


def test_one_transparent_colour(tmp_path):
    flat = RNG.choice([0, 255], (24, 32, 3)).astype(np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.png", transparency=(255, 0, 255))
    alpha = np.where((flat == [255, 0, 255]).all(-1), 0, 255)
    np.testing.assert_array_equal(shown(tmp_path / "a.png", "mask"), masked(flat, alpha))


def test_a_transparent_colour_of_sixteen_bits_is_refused(tmp_path):
    values = RNG.integers(0, 2**16, (4, 4, 3))
    (tmp_path / "a.png").write_bytes(png(16, 2, values, struct.pack(">HHH", 1, 2, 0x1234)))
    assert shown(tmp_path / "a.png").shape == (4, 4, 3)
    with pytest.raises(SourceError, match="16-bit colour") as caught:
        shown(tmp_path / "a.png", "mask")
    assert caught.value.where.endswith("a.png")


@pytest.mark.parametrize("mode", ["RGBa", "La"])
def test_premultiplied_alpha(mode):
    straight = Image.fromarray(np.dstack([COLOURS, ALPHA])).convert(mode.upper())
    colours = np.asarray(straight.convert(mode).convert(mode.upper()).convert("RGB"))
    found = np.asarray(flatten(straight.convert(mode), "mask", GROUND))
    np.testing.assert_array_equal(found, masked(colours, ALPHA))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr"])
@pytest.mark.parametrize("alpha", ["mask", "blend"])
def test_pictures_without_alpha_stay_as_they_are(mode, alpha):
    image = Image.fromarray(COLOURS).convert(mode)
    plain = np.asarray(flatten(image, "drop", GROUND))
    np.testing.assert_array_equal(np.asarray(flatten(image, alpha, GROUND)), plain)


@pytest.mark.parametrize(
    ("size", "border"), [((50, 30), (5, 3)), ((64, 7), (6, 1)), ((1, 1), (0, 0))]
)
def test_the_border(size, border):
    image = Image.new("RGB", size, "white")
    padded = np.asarray(pad(image, 0.1, GROUND))
    x, y = border
    assert padded.shape == (size[1] + 2 * y, size[0] + 2 * x, 3)
    inside = padded[y : y + size[1], x : x + size[0]]
    assert (inside == 255).all()
    assert (padded == GROUND).all(-1).sum() == padded.shape[0] * padded.shape[1] - size[0] * size[1]


def test_the_border_comes_after_the_mask_and_before_the_jitter(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([COLOURS[:20, :30], ALPHA[:20, :30]])).save(path)
    clean = shown(path, "mask", (0, 0, 0), pad=0.1)
    assert clean.shape == (24, 36, 3)
    np.testing.assert_array_equal(
        clean[2:-2, 3:-3], masked(COLOURS[:20, :30], ALPHA[:20, :30], (0, 0, 0))
    )
    config = ImageFolderConfig(path=tmp_path, preset="ann_pipe", jitter={"translate_px": 2})
    first, second, *_ = ImageFolder(config).listing()
    np.testing.assert_array_equal(np.asarray(first.load()), clean)
    assert second.load().size == (36, 24)
    assert (np.asarray(second.load())[0] <= clean[:3].max(0)).all()


def test_previews_show_what_is_shown(tmp_path):
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(tmp_path / "a.png")
    source = ImageFolder(ImageFolderConfig(path=tmp_path, alpha="mask", pad=0.5))
    (preview,) = source.preview(["a"])
    (tmp_path / "p.jpg").write_bytes(preview.data)
    with Image.open(tmp_path / "p.jpg") as image:
        assert image.size == (20, 20)
        assert image.getextrema() == ((0, 0), (0, 0), (0, 0))
