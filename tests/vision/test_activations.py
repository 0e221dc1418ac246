"""Every model of seeds 003 and 004 at its full size: what is extracted equals plain forward hooks.

The reference is built by the library itself and shares the weights, which are filled in quickly: real
initialisations of two billion numbers would take minutes.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from actx_core import Pipeline, Sample
from actx_core.plan import build_model
from actx_vision.models.cornet import cornet_s

timm = pytest.importorskip("timm")
open_clip = pytest.importorskip("open_clip")

PICTURE = Image.fromarray(np.random.default_rng(2).integers(0, 256, (330, 400, 3), dtype=np.uint8))
POOL = torch.rand(2**20, generator=torch.Generator().manual_seed(0)) * 2 - 1


def clip_visual(name):
    return lambda: open_clip.create_model(name, device=torch.get_default_device()).visual


PANEL = {
    "ResNet50": models.resnet50,
    "ResNeXt-101-WSL": models.resnext101_32x8d,  # torchvision's has the same names
    "ConvNeXt-Large": lambda: timm.create_model("convnext_large"),
    "CORNet-S": cornet_s,
    "VGG19": models.vgg19,
    "ViT-B-16": lambda: timm.create_model("vit_base_patch16_224"),
    "ViT-B-32-timm": lambda: timm.create_model("vit_base_patch32_224"),
    "DeiT-Base": lambda: timm.create_model("deit_base_patch16_224"),
    "ResNet50-CLIP": clip_visual("RN50"),
    "ConvNeXt-Large-CLIP": clip_visual("convnext_large_d_320"),
    "ViT-B-16-CLIP": clip_visual("ViT-B-16"),
    "ViT-B-32-CLIP": clip_visual("ViT-B-32"),
    "ViT-B-16-LAION-CLIP": clip_visual("ViT-B-16"),
    "SLIP ViT-Small": lambda: timm.models.VisionTransformer(
        patch_size=16, embed_dim=384, depth=12, num_heads=12, num_classes=0
    ),
}
SEED_004 = [
    "alexnet", "resnet50", "resnet101", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip
RESNET = ["conv1", "layer1.0.conv1", "layer3.5.conv2", "layer4", "avgpool", "fc"]


def filled(build):
    """``build``, but with numbers from a pool: neither fading nor exploding, and no tensor is idle."""

    def built():
        if torch.get_default_device().type == "meta":
            return build()
        with torch.device("meta"):
            module = build().to_empty(device="cpu")
        for name, tensor in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                tensor.zero_()
                continue
            values = tensor.view(-1)
            for start in range(0, len(values), len(POOL)):
                part = values[start : start + len(POOL)]
                part.copy_(POOL[: len(part)])
            if tensor.ndim > 1:
                tensor.mul_((3 * tensor.shape[0] / tensor.numel()) ** 0.5)
            else:  # norms, their statistics, biases
                tensor.mul_(0.2).add_(0.0 if name.endswith(("bias", "mean")) else 1.0)
        return module

    return built


def model_of(**entry):
    given = {"actx": 1, "run": {"out": "run", "device": "cpu"}, "model": entry}
    source = {"type": "image-folder", "path": "stimuli"}
    [model] = Pipeline.from_dict({**given, "source": source}).config.models
    return build_model(model)


def check(monkeypatch, model, taps, build):
    """Compare with the network that ``build`` makes, given the same weights."""
    monkeypatch.setattr(model, "build", filled(model.build))
    model.taps()
    model.open(taps)
    batch = model.prepare([Sample("a", PICTURE)])
    found = model.extract(batch, lambda _, activation: activation)
    with torch.device("meta"):
        plain = build()
    plain.load_state_dict(model.module.state_dict(), strict=True, assign=True)
    expected = {}
    for tap in taps:
        plain.get_submodule(tap).register_forward_hook(
            # A copy, for what follows may change it in place.
            lambda _module, _inputs, output, tap=tap: expected.update({tap: output.clone()})
        )
    with torch.inference_mode():
        plain.eval()(batch.inputs)
    model.close()
    assert found.keys() == expected.keys() == set(taps)
    for tap, value in expected.items():
        array, scale = found[tap].array, value.abs().max()
        assert array.shape == value.shape
        assert 0 < scale < np.inf
        assert (array - value).abs().max() <= 1e-5 * scale, tap


@pytest.mark.parametrize("name", PANEL)
def test_the_panel_of_seed_003(name, monkeypatch):
    model = model_of(type="panel", name=name, weights="random")
    check(monkeypatch, model, list(model.presets()["ann_pipe"]), PANEL[name])


@pytest.mark.parametrize("name", SEED_004)
def test_the_models_of_seed_004(name, monkeypatch):
    def build():
        return models.get_model(name, weights=None)

    small = {"resize": 72, "crop": 64}
    model = model_of(
        type="torchvision", name=name, weights="random", preprocess=small, taps=["output"]
    )
    with torch.device("meta"):
        paths = [path for path, _ in build().named_modules()]
    layers = [p for p in paths if p.startswith(("features.", "avgpool", "classifier."))]
    check(monkeypatch, model, layers if "features" in paths else RESNET, build)
