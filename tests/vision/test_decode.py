"""Decoding: every pixel format, orientation, and what is wrong with a file."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from actx_core import SourceError
from actx_vision.sources.decode import read_image, to_rgb

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
PHOTO = Image.fromarray(COLOURS)
GREY = COLOURS[..., 0]


def pixels(path):
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_is_unchanged(tmp_path):
    for name in ("a.png", "a.tif", "a.bmp", "a.ppm"):
        PHOTO.save(tmp_path / name)
        np.testing.assert_array_equal(pixels(tmp_path / name), COLOURS)
    PHOTO.save(tmp_path / "a.webp", lossless=True)
    np.testing.assert_array_equal(pixels(tmp_path / "a.webp"), COLOURS)


def test_the_content_decides_not_the_ending(tmp_path):
    PHOTO.save(tmp_path / "a.jpg", "PNG")
    np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), COLOURS)


def test_grey_is_repeated_and_alpha_is_dropped(tmp_path):
    alpha = RNG.integers(0, 256, GREY.shape, dtype=np.uint8)
    Image.fromarray(GREY).save(tmp_path / "l.png")
    Image.fromarray(np.dstack([GREY, alpha]), "LA").save(tmp_path / "la.png")
    Image.fromarray(np.dstack([COLOURS, alpha]), "RGBA").save(tmp_path / "rgba.png")
    for name in ("l.png", "la.png"):
        np.testing.assert_array_equal(pixels(tmp_path / name), np.dstack([GREY] * 3))
    np.testing.assert_array_equal(pixels(tmp_path / "rgba.png"), COLOURS)


def test_one_bit_and_palettes(tmp_path):
    bits = GREY > 128
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(pixels(tmp_path / "bits.png"), np.dstack([bits * 255] * 3))
    indices = (GREY % 4).astype(np.uint8)
    palette = RNG.integers(0, 256, (4, 3), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "p.png")
    image.save(tmp_path / "p.gif")
    image.save(tmp_path / "alpha.png", transparency=bytes([0, 80, 255, 255]))
    for name in ("p.png", "p.gif", "alpha.png"):
        np.testing.assert_array_equal(pixels(tmp_path / name), palette[indices])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path, name):
    deep = RNG.integers(0, 65536, (24, 32)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / name)
    np.testing.assert_array_equal(pixels(tmp_path / name)[..., 1], deep // 256)


def test_sixteen_bit_grey_and_rgb_agree_in_either_byte_order(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    deep = RNG.integers(0, 65536, (24, 32)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "big.tif", deep, byteorder=">")
    tifffile.imwrite(tmp_path / "rgb.tif", np.dstack([deep] * 3), photometric="rgb")
    expected = np.dstack([deep // 256] * 3)
    np.testing.assert_array_equal(pixels(tmp_path / "big.tif"), expected)
    np.testing.assert_array_equal(pixels(tmp_path / "rgb.tif"), expected)


def test_float_tiff_between_zero_and_one(tmp_path):
    values = RNG.random((24, 32), dtype=np.float32)
    values.flat[:2] = 0, 1
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels(tmp_path / "a.tif")[..., 2], np.rint(values * 255))


@pytest.mark.parametrize("worst", [255.0, -0.1, np.nan, np.inf])
def test_other_floats_are_refused(tmp_path, worst):
    Image.fromarray(np.full((4, 4), worst, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(SourceError, match=r"expected float pixels in \[0, 1\], found"):
        read_image(tmp_path / "a.tif")


def test_integers_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.arange(16, dtype=np.int32).reshape(4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(SourceError, match="signed or 32-bit pixels: 0 to 15"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("most", [65535, 1023])
def test_grey_of_16_bits_in_a_pgm(tmp_path, most):
    values = RNG.integers(0, most + 1, (24, 32), dtype=np.uint16)
    head = f"P5 32 24 {most}\n".encode()
    (tmp_path / "a.pgm").write_bytes(head + values.astype(">u2").tobytes())
    high = np.rint(values / most * 65535).astype(int) >> 8
    np.testing.assert_array_equal(pixels(tmp_path / "a.pgm"), np.repeat(high[..., None], 3, 2))


def test_cmyk(tmp_path):
    inks = RNG.integers(0, 256, (24, 32, 4), dtype=np.uint8)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tif")
    paper = 255 - inks[..., :3].astype(int)  # ink by ink, then darkened by black
    expected = paper * (255 - inks[..., 3:].astype(int)) / 255
    assert np.abs(pixels(tmp_path / "a.tif") - expected).max() <= 1
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    flat.save(tmp_path / "a.jpg", quality=100)
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() <= 4


def test_lab(tmp_path):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = Image.new("RGB", (4, 4), (200, 100, 50))
    ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB").save(tmp_path / "a.tif")
    assert np.abs(pixels(tmp_path / "a.tif").astype(int) - [200, 100, 50]).max() <= 2


@pytest.mark.parametrize("mode", ["HSV", "La", "PA", "RGBX", "RGBa", "YCbCr"])
def test_modes_that_no_file_has(mode):
    source = Image.new("RGBA" if mode == "RGBa" else "LA" if mode == "La" else "RGB", (4, 4), "red")
    rgb = np.asarray(to_rgb(source.convert(mode))).astype(int)
    expected = np.asarray(source.convert("RGB")).astype(int)
    # a palette is chosen for the picture, and brightness-colour spaces round
    assert np.abs(rgb - expected).max() <= (1 if mode in ("YCbCr", "HSV") else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = np.zeros((6, 4, 3), np.uint8)
    upright[0, 0] = 255  # top left
    upright[0, 3] = 128  # top right
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "damage", [b"Exif\0\0not EXIF", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff"]
)
def test_damaged_exif_data_cost_no_picture(tmp_path, ending, damage):
    PHOTO.save(tmp_path / f"plain.{ending}")
    PHOTO.save(tmp_path / f"a.{ending}", exif=damage)
    expected = pixels(tmp_path / f"plain.{ending}")
    np.testing.assert_array_equal(pixels(tmp_path / f"a.{ending}"), expected)


def test_one_pixel(tmp_path):
    Image.new("L", (1, 1), 7).save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").tolist() == [[[7, 7, 7]]]


def mpo(tmp_path):
    small = Image.fromarray(COLOURS[:8, :8])
    PHOTO.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[small], quality=100)
    return tmp_path / "a.jpg"


def test_the_first_picture_of_a_camera_file(tmp_path):
    with Image.open(mpo(tmp_path)) as image:
        assert image.format == "MPO"
        assert image.n_frames == 2
    assert pixels(tmp_path / "a.jpg").shape == COLOURS.shape


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_animations_and_pages_are_refused(tmp_path, name):
    frames = [PHOTO, PHOTO.rotate(90), PHOTO.rotate(180)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(SourceError, match="expected one picture, found 3 frames") as caught:
        read_image(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)
    assert "on_error" in caught.value.hint


def encoded(format):
    data = io.BytesIO()
    PHOTO.resize((200, 150)).save(data, format)
    return data.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP", "JPEG2000"])
def test_truncated_files(tmp_path, format):
    data = encoded(format)
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="damaged|begins with"):
        read_image(tmp_path / "a.jpg")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(SourceError, match=r"found an empty file \(0 bytes\)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("content", [b"<html>404</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 99])
def test_not_an_image(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_image(tmp_path / "a.jpg")
    assert repr(content[:8]) in caught.value.message


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(SourceError, match="gone"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    with pytest.raises(SourceError, match="cannot be read: Is a directory"):
        read_image(tmp_path / "b.jpg")


def test_a_decompression_bomb(tmp_path):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(SourceError, match="3600000000 pixels"):
        read_image(tmp_path / "a.png")


def test_errors_survive_a_process_boundary(tmp_path):
    import pickle

    (tmp_path / "a.jpg").touch()
    with pytest.raises(SourceError) as caught:
        read_image(tmp_path / "a.jpg")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
