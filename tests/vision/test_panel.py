"""The panel of seed 003: its names, entries, pictures and layers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models, transforms
from torchvision.transforms import InterpolationMode

from actx_core import ConfigError, ModelError, Pipeline, Sample
from actx_core.plan import build_model
from actx_core.select_taps import select
from actx_vision.models.panel import MEMBERS, PANELS, PanelConfig
from actx_vision.models.panel_model import Panel

timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")

from open_clip.transform import (  # noqa: E402
    PreprocessCfg,
    image_transform_v2,
    merge_preprocess_dict,
)

RNG = np.random.default_rng(2)
SIZES = [(330, 400), (401, 289), (97, 61), (224, 224), (1, 1), (33, 700)]
PICTURES = [Image.fromarray(RNG.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in SIZES]

NAMES = [
    "ResNet50", "ResNeXt-101-WSL", "ConvNeXt-Large", "CORNet-S", "VGG19", "ViT-B-16", "ViT-B-32-timm",
    "DeiT-Base", "ResNet50-CLIP", "ConvNeXt-Large-CLIP", "ViT-B-16-CLIP", "ViT-B-32-CLIP",
    "ViT-B-16-LAION-CLIP", "SLIP ViT-Small",
]  # fmt: skip
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BILINEAR, BICUBIC = InterpolationMode.BILINEAR, InterpolationMode.BICUBIC


def checked(model, **tables):
    given = {"actx": 1, "run": {"out": "run", "device": "cpu"}, "model": model, **tables}
    given.setdefault("source", {"type": "image-folder", "path": "stimuli"})
    return Pipeline.from_dict(given).config


def entries(**options):
    return checked({"type": "panel", **options}).models


def member(name, weights="published"):
    [entry] = entries(name=name, weights=weights)
    return build_model(entry)


# Entries


def test_the_panel_has_the_models_of_the_seed_by_their_names():
    found = entries(name="ann_pipe")
    assert [entry.id for entry in found] == NAMES == list(MEMBERS)
    for entry in found:
        type_, name, weights = PANELS["ann_pipe"][entry.id]
        assert (entry.component.plugin, entry.component.name) == ("vision", type_)
        assert (entry.config.name, entry.config.weights) == (name, weights)
        assert [tap.match for tap in entry.taps] == [("preset:ann_pipe",)]


def test_some_of_the_panel_in_its_own_order():
    found = entries(name="ann_pipe", only=["CORNet-S", "ResNet50"])
    assert [entry.id for entry in found] == ["ResNet50", "CORNet-S"]


def test_one_model_alone():
    [entry] = entries(name="ResNet50")
    assert (entry.id, entry.config.name) == ("ResNet50", "resnet50")
    [entry] = entries(**{"name": "ResNet50", "as": "mine"})
    assert entry.id == "mine"


def test_options_of_the_panel_go_to_each_model(tmp_path):
    options = {"dtype": "float16", "seed": 3, "batch_size": 5, "weights_dir": str(tmp_path)}
    for entry in entries(name="ann_pipe", weights="random", **options):
        assert entry.config.weights == "random"
        assert {key: getattr(entry.config, key) for key in options} == options
    run = {"out": "run", "batch_size": 9, "seed": 4}
    for entry in checked({"type": "panel", "name": "ann_pipe"}, run=run).models:
        assert (entry.config.batch_size, entry.config.seed) == (9, 4)


def test_taps_that_are_said_win():
    for entry in entries(name="ann_pipe", only=["ResNet50", "VGG19"], taps=["output"]):
        assert [tap.match for tap in entry.taps] == [("output",)]
    tap = {"match": ["preset:ann_pipe"], "store_dtype": "float16"}
    [entry] = entries(name="VGG19", tap=[tap])
    assert [(tap.match, tap.store_dtype) for tap in entry.taps] == [
        (("preset:ann_pipe",), "float16")
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "ResNet5"}, "is called 'ResNet5'; did you mean 'ResNet50'"),
        ({"name": "ann_pip"}, "did you mean 'ann_pipe'?"),
        ({"name": "qqq"}, "there are: ann_pipe, ResNet50"),
        (
            {"name": "ann_pipe", "only": ["VGG16"]},
            "has no model called 'VGG16'; did you mean 'VGG19'?",
        ),
        ({"name": "VGG19", "only": ["VGG19"]}, "'VGG19' is one model; 'only' goes with a panel"),
        ({"name": "ann_pipe", "only": []}, "at least 1"),
        ({"name": "ann_pipe", "weights": "pretrained"}, "'published' or 'random'"),
        ({"name": "ann_pipe", "as": "all"}, "'as' cannot name 14"),
    ],
)
def test_mistakes(options, complaint):
    with pytest.raises(ConfigError) as caught:
        entries(**options)
    assert complaint in str(caught.value)


def test_the_type_itself_is_no_model():
    panel = Panel(PanelConfig(name="ann_pipe"))
    for use in (panel.taps, lambda: panel.prepare([]), lambda: panel.open([])):
        with pytest.raises(ModelError, match="stands for other entries"):
            use()


# Pictures


def chain(resize, crop, interpolation, norm):
    steps = [transforms.Resize(resize, interpolation), transforms.CenterCrop(crop)]
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(*norm)])


def of_timm(name):
    entry = timm.models.get_pretrained_cfg(name).to_dict()
    return timm.data.create_transform(**timm.data.resolve_data_config(pretrained_cfg=entry))


def of_clip(name, tag):
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    cfg = merge_preprocess_dict(PreprocessCfg(size=size), open_clip.get_pretrained_cfg(name, tag))
    return image_transform_v2(PreprocessCfg(**cfg), is_train=False)


UPSTREAM = {
    "ResNet50": models.ResNet50_Weights.IMAGENET1K_V2.transforms(),
    "ResNeXt-101-WSL": of_timm("resnext101_32x8d.fb_wsl_ig1b_ft_in1k"),
    "ConvNeXt-Large": of_timm("convnext_large.fb_in22k_ft_in1k"),
    "CORNet-S": chain(256, 224, BILINEAR, IMAGENET),
    "VGG19": models.VGG19_Weights.IMAGENET1K_V1.transforms(),
    "ViT-B-16": of_timm("vit_base_patch16_224.augreg_in21k_ft_in1k"),
    "ViT-B-32-timm": of_timm("vit_base_patch32_224.augreg_in21k_ft_in1k"),
    "DeiT-Base": of_timm("deit_base_patch16_224.fb_in1k"),
    "ResNet50-CLIP": of_clip("RN50", "openai"),
    "ConvNeXt-Large-CLIP": of_clip("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup"),
    "ViT-B-16-CLIP": of_clip("ViT-B-16", "openai"),
    "ViT-B-32-CLIP": of_clip("ViT-B-32", "openai"),
    "ViT-B-16-LAION-CLIP": of_clip("ViT-B-16", "laion2b_s34b_b88k"),
    "SLIP ViT-Small": chain(224, 224, BILINEAR, IMAGENET),
}
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
TABLE = {
    "ResNet50": (232, 224, BILINEAR, IMAGENET),
    "ResNeXt-101-WSL": (256, 224, BILINEAR, IMAGENET),
    "ConvNeXt-Large": (256, 224, BICUBIC, IMAGENET),
    "VGG19": (256, 224, BILINEAR, IMAGENET),
    "ViT-B-16": (248, 224, BICUBIC, HALF),
    "ViT-B-32-timm": (248, 224, BICUBIC, HALF),
    "DeiT-Base": (248, 224, BICUBIC, IMAGENET),
    "ResNet50-CLIP": (224, 224, BICUBIC, CLIP),
    "ConvNeXt-Large-CLIP": (320, 320, BICUBIC, CLIP),
    "ViT-B-16-CLIP": (224, 224, BICUBIC, CLIP),
    "ViT-B-32-CLIP": (224, 224, BICUBIC, CLIP),
    "ViT-B-16-LAION-CLIP": (224, 224, BICUBIC, CLIP),
}
"""What the upstream transforms are, written out: a library that changes its mind is noticed."""


@pytest.fixture(params=["odd sizes", "a photograph"])
def pictures(request):
    if request.param == "odd sizes":
        return PICTURES
    sklearn = pytest.importorskip("sklearn", reason="the photograph comes with scikit-learn")
    file = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"
    return [Image.open(file).convert("RGB")]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_prepared_as_upstream_does_it(name, pictures):
    batch = member(name).prepare([Sample(str(n), each) for n, each in enumerate(pictures)])
    expected = torch.stack([UPSTREAM[name](picture) for picture in pictures])
    assert torch.equal(batch.inputs, expected)
    if name in TABLE:
        written = chain(*TABLE[name])
        assert torch.equal(expected, torch.stack([written(picture) for picture in pictures]))


# Layers


LAYERS = {
    "ResNet50": 33, "ResNeXt-101-WSL": 33, "ConvNeXt-Large": 36, "CORNet-S": 4, "VGG19": 5,
    "ViT-B-16": 12, "ViT-B-32-timm": 12, "DeiT-Base": 12, "ResNet50-CLIP": 48,
    "ConvNeXt-Large-CLIP": 36, "ViT-B-16-CLIP": 12, "ViT-B-32-CLIP": 12, "ViT-B-16-LAION-CLIP": 12,
    "SLIP ViT-Small": 5,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_the_panel_is_found_without_weights(name):
    model = member(name)
    taps = model.taps()
    for preset in model.presets():
        chosen, notes = select(taps, [f"preset:{preset}"], model.presets())
        assert {tap.name for tap in chosen} == set(model.presets()[preset])
        assert not notes
    assert len(model.presets()["ann_pipe"]) == LAYERS[name]


def test_the_panel_can_be_checked_where_torch_is_not_installed():
    script = (
        "import sys, actx_vision.models.panel;"
        "print([m for m in ('torch', 'torchvision', 'timm', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
