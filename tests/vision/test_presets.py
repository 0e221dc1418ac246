"""Layers by name: the presets of published analyses, and every layer of the models of seed 004."""

import pytest
import torch
from torchvision import models

from actx_core import TapError
from actx_core.select_taps import select
from actx_vision.models.config import TorchvisionConfig
from actx_vision.models.presets import tap_presets
from actx_vision.models.torchvision_model import TorchvisionModel

timm = pytest.importorskip("timm")

from actx_vision.models.config import TimmConfig  # noqa: E402
from actx_vision.models.timm_model import TimmModel  # noqa: E402

SEED_004 = [
    "alexnet", "resnet50", "resnet101", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
]  # fmt: skip


def torchvision_model(name):
    return TorchvisionModel(TorchvisionConfig(name=name, weights="random"))


# Presets


def numbers(found, prefix):
    return [int(name.removeprefix(prefix)) for name in found if name.startswith(prefix)]


def test_what_the_presets_list():
    resnet = tap_presets("torchvision", "resnet50")["ann_pipe"]
    assert len(resnet) == len(set(resnet)) == 33
    assert resnet[:3] == ("conv1", "layer1.0.conv1", "layer1.0.conv2")
    assert resnet[-1] == "layer4.2.conv2"
    assert "layer3.5.conv2" in resnet
    vgg = tap_presets("torchvision", "vgg19")
    assert numbers(vgg["ann_pipe"], "features.") == [4, 9, 18, 27, 36]
    with torch.device("meta"):
        module = models.vgg19()
    assert {type(module.get_submodule(name)) for name in vgg["ann_pipe"]} == {torch.nn.MaxPool2d}
    assert numbers(vgg["brainscore"], "features.") == [4, 8, 18, 27, 36]
    assert numbers(vgg["brainscore"], "classifier.") == [0, 3]
    alexnet = tap_presets("torchvision", "alexnet")["brainscore"]
    assert numbers(alexnet, "features.") == [0, 3, 6, 8, 10]
    assert numbers(alexnet, "classifier.") == [1, 4, 6]
    clip = tap_presets("open-clip", "RN50")["ann_pipe"]
    assert len(clip) == 48
    assert clip[-1] == "layer4.2.conv3"
    cornet = tap_presets("cornet-s", "cornet_s")
    assert cornet["ann_pipe"] == ("V1", "V2", "V4", "IT")
    assert cornet["brainscore"] == (
        *("V1.output", "V2.output:0", "V2.output:1"),
        *(f"V4.output:{t}" for t in range(4)),
        *("IT.output:0", "IT.output:1", "decoder.avgpool"),
    )


def test_an_architecture_that_no_analysis_lists_has_none():
    assert tap_presets("torchvision", "resnet18") == {}
    model = torchvision_model("resnet18")
    with pytest.raises(TapError, match="no such preset"):
        select(model.taps(), ["preset:ann_pipe"], model.presets())


@pytest.mark.parametrize(
    ("kind", "config", "name"),
    [
        *(
            (TorchvisionModel, TorchvisionConfig, n)
            for n in ("alexnet", "vgg19", "resnext101_32x8d")
        ),
        *((TimmModel, TimmConfig, n) for n in ("resnet50", "vit_base_patch16_clip_224.openai")),
    ],
)
def test_every_tap_of_a_preset_is_there(kind, config, name):
    model = kind(config(name=name, weights="random"))
    taps = model.taps()
    assert model.presets()
    for preset, names in model.presets().items():
        chosen, notes = select(taps, [f"preset:{preset}"], model.presets())
        assert {tap.name for tap in chosen} == set(names)
        assert not notes


# The names that the seeds print


def test_names_printed_in_seed_003():
    vit = TimmModel(TimmConfig(name="vit_base_patch16_224", weights="random"))
    [tap], _ = select(vit.taps(), ["blocks.5.attn"])
    assert (tap.axes, tap.shape) == (("sample", "token", "channel"), (197, 768))
    wanted = ["layer1.0.conv1", "layer2.0.conv1", "layer4.2.conv3"]
    found, _ = select(torchvision_model("resnet50").taps(), wanted)
    assert [tap.shape for tap in found] == [(64, 56, 56), (128, 56, 56), (2048, 7, 7)]


def test_names_printed_in_seed_004():
    found, _ = select(
        torchvision_model("alexnet").taps(), ["features.11", "avgpool", "classifier.4"]
    )
    assert [tap.shape for tap in found] == [(256, 13, 13), (256, 6, 6), (4096,)]


@pytest.mark.parametrize("name", SEED_004)
def test_any_layer_can_be_taken(name):
    taps = {tap.name: tap for tap in torchvision_model(name).taps()}
    with torch.device("meta"):
        module = models.get_model(name, weights=None)
    for path, _ in module.named_modules():
        if path and not path.endswith("relu"):  # ResNets call one module three times
            assert not taps[path].problem, path
    parts = {path.partition(".")[0] for path, _ in module.named_modules()}
    if "features" in parts:
        assert parts - {""} == {"features", "avgpool", "classifier"}
