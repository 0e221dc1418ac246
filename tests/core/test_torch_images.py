"""Image preprocessing, bit for bit against torchvision's transforms on PIL images."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torchvision import transforms

from actx_core.errors import ModelError
from actx_core.torch import ImagePreprocess, prepare_images, preview_images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    generator = np.random.default_rng(width * height)
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8), mode=None)


def photographs() -> list[Image.Image]:
    return [Image.fromarray(image) for image in (data.chelsea(), data.coffee(), data.astronaut())]


def reference(image: Image.Image, options: ImagePreprocess) -> torch.Tensor:
    steps = []
    if options.resize:
        mode = transforms.InterpolationMode(options.interpolation)
        steps.append(transforms.Resize(options.resize, mode))
    if options.crop:
        steps.append(transforms.CenterCrop(options.crop))
    steps += [transforms.ToTensor(), transforms.Normalize(options.mean, options.std)]
    return transforms.Compose(steps)(image.convert("RGB" if len(options.mean) == 3 else "L"))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize", [64, 33, None])
@pytest.mark.parametrize("crop", [64, 31, 80])
def test_equals_torchvision(interpolation, resize, crop):
    options = ImagePreprocess(
        resize=resize, crop=crop, interpolation=interpolation, mean=MEAN, std=STD
    )
    sizes = [(64, 64), (97, 65), (65, 97), (300, 41), (30, 33), (79, 81), (64, 65)]
    images = [noise(*size) for size in sizes]
    found = prepare_images(images, options)
    assert found.shape == (len(sizes), 3, crop, crop)
    assert found.dtype == torch.float32
    for image, tensor in zip(images, found, strict=True):
        assert torch.equal(tensor, reference(image, options))


def test_equals_torchvision_on_photographs():
    options = ImagePreprocess(resize=256, crop=224, interpolation="bicubic", mean=MEAN, std=STD)
    for image, tensor in zip(photographs(), prepare_images(photographs(), options), strict=True):
        assert torch.equal(tensor, reference(image, options))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "1", "P", "CMYK"])
def test_other_modes_are_converted(mode):
    image = photographs()[0].convert(mode)
    for mean in ((0.5, 0.4, 0.3), (0.5,)):
        options = ImagePreprocess(resize=40, crop=32, mean=mean, std=mean)
        assert torch.equal(prepare_images([image], options)[0], reference(image, options))


def test_without_options_pixels_come_in_zero_to_one():
    image = noise(5, 4)
    found = prepare_images([image], ImagePreprocess())
    np.testing.assert_array_equal(found[0].permute(1, 2, 0), np.asarray(image, np.float32) / 255)


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ModelError, match="images of one size.*found 4x5, 6x5"):
        prepare_images([noise(5, 4), noise(5, 6)], ImagePreprocess())


@pytest.mark.parametrize("mean", [MEAN, (0.5,)])
def test_previews_show_what_the_model_gets(mean):
    options = ImagePreprocess(crop=32, mean=mean, std=mean)
    image = noise(40, 36).convert("RGB" if len(mean) == 3 else "L")
    (preview,) = preview_images(prepare_images([image], options), options)
    shown = Image.open(io.BytesIO(preview.data))
    assert preview.kind == "image"
    assert shown.mode == image.mode
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(image.crop((4, 2, 36, 34))))
