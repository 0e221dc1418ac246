"""Every model of seeds 003 and 004 at full size: its layers against plain hooks on the library's own network.

The weights are cheap random numbers in which every tensor matters: an initialisation would take longer than
all the forward passes, and leaves much at zero or one.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from actx_core import Pipeline, Sample
from actx_core.plan import build_model
from actx_vision.models.config import Preprocess
from actx_vision.models.cornet import cornet_s

timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")

RNG = np.random.default_rng(3)
PICTURE = Image.fromarray(RNG.integers(0, 256, (250, 300, 3), dtype=np.uint8))
SMALL = Preprocess(resize=72, crop=64)
"""For networks that take pictures of any size."""


def clip(name):
    return open_clip.create_model(name, device="meta", pretrained_text=False).visual


def slip():
    return timm.models.VisionTransformer(
        patch_size=16, embed_dim=384, depth=12, num_heads=12, num_classes=0
    )


PANEL = {
    "ResNet50": (models.resnet50, SMALL),
    "ResNeXt-101-WSL": (models.resnext101_32x8d, SMALL),  # timm's names are torchvision's
    "ConvNeXt-Large": (lambda: timm.create_model("convnext_large"), SMALL),
    "CORNet-S": (cornet_s, SMALL),
    "VGG19": (models.vgg19, SMALL),
    "ViT-B-16": (lambda: timm.create_model("vit_base_patch16_224"), None),
    "ViT-B-32-timm": (lambda: timm.create_model("vit_base_patch32_224"), None),
    "DeiT-Base": (lambda: timm.create_model("deit_base_patch16_224"), None),
    "ResNet50-CLIP": (lambda: clip("RN50-quickgelu"), None),
    "ConvNeXt-Large-CLIP": (lambda: clip("convnext_large_d_320"), SMALL),
    "ViT-B-16-CLIP": (lambda: clip("ViT-B-16-quickgelu"), None),
    "ViT-B-32-CLIP": (lambda: clip("ViT-B-32-quickgelu"), None),
    "ViT-B-16-LAION-CLIP": (lambda: clip("ViT-B-16"), None),
    "SLIP ViT-Small": (slip, None),
}
"""The network as its library builds it, and the pictures it gets where not those of its weights."""

PRINTED = {
    "ResNet50": ["layer1.0.conv1", "layer2.0.conv1", "layer4.2.conv3"],
    "ViT-B-16": ["blocks.5.attn"],
}
"""The names of layers that seed 003 prints."""

SEED_004 = [
    "alexnet", "resnet50", "resnet101", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Several would wait for each other, and that counts as time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(**options):
    """The model of an entry of a pipeline, with other pictures if need be."""
    preprocess = options.pop("preprocess", None)
    source = {"type": "image-folder", "path": "stimuli"}
    spec = {"actx": 1, "run": {"out": "run", "device": "cpu"}, "source": source, "model": options}
    [entry] = Pipeline.from_dict(spec).config.models
    model = build_model(entry)
    if preprocess is None:
        return model
    return type(model)(model.config.model_copy(update={"preprocess": preprocess}))


def filled(build):
    """The library's network with numbers in it that neither fade nor explode."""
    with torch.device("meta"):
        module = build()
    module.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(0)
    for value in module.state_dict().values():
        if value.ndim > 1:
            bound = (3 / value[0].numel()) ** 0.5
            value.uniform_(-bound, bound, generator=generator)
        elif value.is_floating_point():
            value.uniform_(0.5, 1.5, generator=generator)
    return module


def compare(model, plain, taps, monkeypatch):
    """The model's activations with the weights of ``plain``, and those of plain hooks on it."""
    build = model.build

    def without_values():
        with torch.device("meta"):
            return build()

    def load(module):
        module.load_state_dict(plain.state_dict(), strict=True, assign=True)

    monkeypatch.setattr(model, "build", without_values)
    monkeypatch.setattr(model, "load", load)
    model.open(taps)
    batch = model.prepare([Sample("a", PICTURE)])
    kept = model.extract(batch, lambda _, activation: activation)
    arrays = model.to_host({name: each.array for name, each in kept.items()})()
    model.close()

    expected = {}
    for name in taps:
        module = plain.get_submodule(name)
        module.register_forward_hook(
            lambda _module, _inputs, output, name=name: expected.update({name: output.clone()})
        )
    with torch.inference_mode():
        plain(batch.inputs)
    assert arrays.keys() == expected.keys() == set(taps)
    for name, array in arrays.items():
        scale = expected[name].abs().max().item()
        assert np.isfinite(scale)
        assert scale > 1e-3, name
        np.testing.assert_allclose(
            array, expected[name], rtol=1e-5, atol=1e-5 * scale, err_msg=name
        )


@pytest.mark.parametrize("name", PANEL)
def test_the_layers_of_the_panel_equal_plain_hooks(name, monkeypatch):
    build, preprocess = PANEL[name]
    model = built(type="panel", name=name, preprocess=preprocess)
    taps = [*model.presets()["ann_pipe"], *PRINTED.get(name, [])]
    compare(model, filled(build), list(dict.fromkeys(taps)), monkeypatch)


@pytest.mark.parametrize("name", SEED_004)
def test_every_layer_of_the_models_of_seed_004_equals_plain_hooks(name, monkeypatch):
    model = built(type="torchvision", name=name, weights="DEFAULT", taps=["*"], preprocess=SMALL)
    plain = filled(getattr(models, name))
    paths = [path for path, _ in plain.named_modules() if path]
    taps = [path for path in paths if not path.endswith(".relu")]  # ResNets call one three times
    assert len(taps) >= 20
    compare(model, plain, taps, monkeypatch)
