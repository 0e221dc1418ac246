"""Preprocessing: the model gets what torchvision and timm themselves would give it, bit for bit."""

import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision import models, transforms

from actx_core import ModelError, Sample
from actx_vision.models.config import TimmConfig, TorchvisionConfig
from actx_vision.models.timm_model import TimmModel
from actx_vision.models.torchvision_model import TorchvisionModel

RNG = np.random.default_rng(0)
SIZES = [(300, 400), (401, 289), (224, 224), (97, 61), (1, 1), (30, 500)]
PICTURES = [Image.fromarray(RNG.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in SIZES]


def torchvision_model(name, weights="DEFAULT", **options):
    return TorchvisionModel(TorchvisionConfig(name=name, weights=weights, **options))


def timm_model(name, weights="DEFAULT", **options):
    return TimmModel(TimmConfig(name=name, weights=weights, **options))


def prepared(model, pictures=PICTURES):
    batch = model.prepare([Sample(str(i), picture) for i, picture in enumerate(pictures)])
    assert list(batch.samples) == list(range(len(pictures)))
    assert batch.inputs.shape == model.example(len(pictures)).shape
    return batch.inputs


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("alexnet", "IMAGENET1K_V1"),
        ("vgg13_bn", "IMAGENET1K_V1"),
        ("resnet101", "IMAGENET1K_V2"),
        ("vgg16", "IMAGENET1K_FEATURES"),
        ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"),
        ("efficientnet_b1", "IMAGENET1K_V2"),
        ("efficientnet_v2_l", "IMAGENET1K_V1"),
        ("inception_v3", "IMAGENET1K_V1"),
        ("swin_v2_t", "IMAGENET1K_V1"),
        ("convnext_tiny", "IMAGENET1K_V1"),
        ("maxvit_t", "IMAGENET1K_V1"),
    ],
)
def test_torchvision_equals_the_weights_transform(name, tag):
    transform = models.get_model_weights(name)[tag].transforms()
    expected = torch.stack([transform(picture) for picture in PICTURES])
    assert torch.equal(prepared(torchvision_model(name, tag)), expected)


def test_every_torchvision_transform_is_translated():
    # What is compared above are pixels; here, that no other tag has a step which would be lost.
    known = {"crop_size", "resize_size", "mean", "std", "interpolation", "antialias", "training"}
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            preset = weights.transforms()
            public = {key for key in vars(preset) if not key.startswith("_")}
            assert public == known, weights
            assert preset.antialias is True
            model = torchvision_model(name, weights.name)
            assert model.example(2).shape == (2, 3, preset.crop_size[0], preset.crop_size[0])


@pytest.mark.parametrize(
    "name",
    [
        "resnet50.a1_in1k",
        "vit_base_patch16_224.augreg_in21k",
        "vit_base_patch16_clip_224.openai",
        "convnext_base.fb_in22k_ft_in1k_384",  # squash
        "tf_efficientnet_b0.ns_jft_in1k",
        "inception_v4.tf_in1k",
        "mobilenetv3_large_100.ra_in1k",
        "vit_base_patch16_siglip_224.webli",  # squash
        "deit3_small_patch16_224.fb_in22k_ft_in1k",
    ],
)
def test_timm_equals_its_own_transform(name):
    entry = timm.models.get_pretrained_cfg(name).to_dict()
    transform = create_transform(**resolve_data_config(pretrained_cfg=entry))
    expected = torch.stack([transform(picture) for picture in PICTURES])
    assert torch.equal(prepared(timm_model(name)), expected)


@pytest.mark.parametrize(
    ("crop_mode", "size"), [("border", (224, 224)), ("squash", (256, 128)), ("center", (96, 160))]
)
def test_timm_crop_modes_that_few_weights_have(monkeypatch, crop_mode, size):
    entry = timm.models.get_pretrained_cfg("resnet18.a1_in1k").to_dict()
    entry |= {"crop_mode": crop_mode, "input_size": (3, *size), "crop_pct": 0.9}
    model = timm_model("resnet18.a1_in1k")
    monkeypatch.setattr(model, "_pretrained", entry)
    transform = create_transform(**resolve_data_config(pretrained_cfg=entry))
    expected = torch.stack([transform(picture) for picture in PICTURES])
    assert torch.equal(prepared(model), expected)


def test_random_and_local_weights_are_fed_like_the_default_ones(tmp_path):
    default = prepared(torchvision_model("resnet50"))
    for weights in ("random", str(tmp_path / "mine.pth")):
        assert torch.equal(prepared(torchvision_model("resnet50", weights)), default)
    default = prepared(timm_model("vit_base_patch16_224"))
    for weights in ("random", str(tmp_path / "mine.safetensors")):
        assert torch.equal(prepared(timm_model("vit_base_patch16_224", weights)), default)


def chain(resize, crop, interpolation, mean, std):
    resize = transforms.Resize(resize, interpolation)
    crop = transforms.CenterCrop(crop)
    return transforms.Compose(
        [resize, crop, transforms.ToTensor(), transforms.Normalize(mean, std)]
    )


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BILINEAR = transforms.InterpolationMode.BILINEAR
BICUBIC = transforms.InterpolationMode.BICUBIC


@pytest.mark.parametrize("make", [torchvision_model, timm_model])
def test_a_part_of_the_preprocessing_is_changed(make):
    half = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    model = make("resnet18", "random", preprocess={"resize": 96, "crop": 64, **half})
    filter = BILINEAR if make is torchvision_model else BICUBIC
    expected = torch.stack([chain(96, 64, filter, *half.values())(p) for p in PICTURES])
    assert torch.equal(prepared(model), expected)
    model = make("resnet18", "random", preprocess={"interpolation": "bicubic", "resize": 256})
    expected = torch.stack([chain(256, 224, BICUBIC, *IMAGENET)(p) for p in PICTURES])
    assert torch.equal(prepared(model), expected)


def test_a_squashed_picture_is_changed_as_a_whole_or_not():
    name = "convnext_base.fb_in22k_ft_in1k_384"
    with pytest.raises(ModelError, match="cannot be changed in part"):
        timm_model(name, preprocess={"resize": 200}).example(1)
    model = timm_model(name, preprocess={"resize": 200, "crop": 160})
    expected = torch.stack([chain(200, 160, BICUBIC, *IMAGENET)(p) for p in PICTURES])
    assert torch.equal(prepared(model), expected)


def test_a_crop_that_would_have_black_borders_is_refused():
    with pytest.raises(ModelError, match=re.escape("crop = 384 is more than is left after")):
        torchvision_model("resnet18", preprocess={"crop": 384}).example(1)


def test_segmentation_needs_a_size():
    with pytest.raises(ModelError, match="pictures of any size") as caught:
        torchvision_model("fcn_resnet50").example(1)
    assert "crop" in caught.value.hint
    model = torchvision_model("fcn_resnet50", preprocess={"resize": 80, "crop": 64})
    expected = [chain(80, 64, BILINEAR, *IMAGENET)(p) for p in PICTURES]
    assert torch.equal(prepared(model), torch.stack(expected))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_other_sources_may_have_any_mode(mode):
    picture = PICTURES[0].convert(mode)
    squashed = timm_model("convnext_base.fb_in22k_ft_in1k_384")
    for model in (squashed, torchvision_model("resnet18")):
        expected = prepared(model, [picture.convert("RGB")])
        assert torch.equal(prepared(model, [picture]), expected)


def test_batches_are_prepared_in_several_threads():
    for name in ("resnet18.a1_in1k", "vit_base_patch16_siglip_224.webli"):
        model = timm_model(name)
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda _, model=model: prepared(model), range(8)))
        assert all(torch.equal(result, results[0]) for result in results)
        assert torch.equal(results[0], prepared(timm_model(name)))


def test_resized_is_larger_along_one_axis():
    model = torchvision_model("resnet18")
    assert model.resized(2, "y").shape == (2, 3, 448, 224)
    assert model.resized(2, "x").shape == (2, 3, 224, 448)


@pytest.mark.parametrize(
    "model",
    [torchvision_model("resnet18"), timm_model("vit_base_patch16_siglip_224.webli")],
    ids=["torchvision", "timm"],
)
def test_the_preview_is_what_the_model_sees(model):
    picture = Image.fromarray(np.full((300, 400, 3), (200, 100, 50), np.uint8))
    batch = model.prepare([Sample("a", picture), Sample("b", PICTURES[0])])
    flat, noise = model.preview(batch)
    with Image.open(io.BytesIO(flat.data)) as image:
        assert image.format == "PNG"
        assert image.size == (224, 224)
        assert np.unique(np.asarray(image).reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]
    with Image.open(io.BytesIO(noise.data)) as image:
        restored = np.asarray(image).astype(np.float32) / 255
    entry = model._transform.steps
    seen = batch.inputs[1].permute(1, 2, 0).numpy() * entry.std + entry.mean
    assert np.abs(restored - seen).max() < 1 / 255
