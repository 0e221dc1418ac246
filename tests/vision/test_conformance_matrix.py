"""The traps that other extractors fall into, each against values worked out without any hook."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional
from torchvision import models

from actx_core import Sample, TapError, extract
from actx_core.select_taps import select
from actx_core.torch import wrap
from actx_vision.models.config import CornetSConfig, TorchvisionConfig
from actx_vision.models.cornet_model import CornetS
from actx_vision.models.torchvision_model import TorchvisionModel

RNG = np.random.default_rng(6)
SAMPLES = [
    Sample(str(n), Image.fromarray(RNG.integers(0, 256, (80, 90, 3), dtype=np.uint8)))
    for n in range(3)
]
SMALL = {"resize": 72, "crop": 64}
NEVER = "it is never called in the forward pass"


@pytest.fixture(scope="module")
def alexnet():
    return opened("alexnet")


@pytest.fixture(scope="module")
def resnet50():
    return opened("resnet50")


def opened(name):
    options = {"weights": "random", "device": "cpu", "preprocess": SMALL}
    return TorchvisionModel(TorchvisionConfig(name=name, **options))


def taken(model, taps):
    """(state dict, inputs, activations)"""
    model.open(taps)
    batch = model.prepare(SAMPLES)
    found = model.extract(batch, lambda _, activation: activation)
    arrays = model.to_host({name: each.array for name, each in found.items()})()
    return model.module.state_dict(), batch.inputs, arrays


# In-place ReLU


LATER = [[], ["features.1"], ["features.2", "classifier.6"], ["features.1", "output"]]


@pytest.mark.parametrize("later", LATER, ids=lambda later: "+".join(later) or "alone")
def test_what_an_in_place_relu_overwrites_is_kept(alexnet, later):
    state, x, arrays = taken(alexnet, ["features.0", *later])
    weight, bias = state["features.0.weight"], state["features.0.bias"]
    expected = functional.conv2d(x, weight, bias, stride=4, padding=2)
    assert (expected < 0).float().mean() > 0.1  # what the ReLU would have cut
    np.testing.assert_allclose(arrays["features.0"], expected, rtol=1e-5, atol=1e-5)
    if "features.1" in later:
        np.testing.assert_allclose(arrays["features.1"], expected.relu(), rtol=1e-5, atol=1e-5)


# Modules that are called several times


def test_each_call_of_a_shared_relu_is_a_tap_of_its_own(resnet50):
    calls = [f"layer1.0.relu:{n}" for n in range(3)]
    state, x, arrays = taken(resnet50, calls)

    def conv_norm(x, conv, norm, **options):
        x = functional.conv2d(x, state[f"{conv}.weight"], **options)
        statistics = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        return functional.batch_norm(x, *statistics, state[f"{norm}.weight"], state[f"{norm}.bias"])

    x = functional.relu(conv_norm(x, "conv1", "bn1", stride=2, padding=3))
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    block = "layer1.0"
    first = functional.relu(conv_norm(x, f"{block}.conv1", f"{block}.bn1"))
    second = functional.relu(conv_norm(first, f"{block}.conv2", f"{block}.bn2", padding=1))
    third = conv_norm(second, f"{block}.conv3", f"{block}.bn3")
    third = functional.relu(third + conv_norm(x, f"{block}.downsample.0", f"{block}.downsample.1"))
    for name, expected in zip(calls, (first, second, third), strict=True):
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-4, atol=1e-5)


def test_the_bare_name_of_such_a_module_is_refused(resnet50):
    with pytest.raises(TapError, match="called 3 times in one forward pass") as caught:
        select(resnet50.taps(), ["layer1.0.relu"])
    assert "'layer1.0.relu:0', 'layer1.0.relu:1', 'layer1.0.relu:2'" in caught.value.hint
    shared = {tap.name.partition(":")[0] for tap in resnet50.taps() if "relu:" in tap.name}
    assert len([name for name in shared if "@" not in name]) == 16


def test_calls_of_a_recurrent_area_differ():
    model = CornetS(CornetSConfig(weights="random", device="cpu", preprocess=SMALL))
    _, _, arrays = taken(model, [f"V4.output:{t}" for t in range(4)])
    assert len(arrays) == 4
    for t in range(3):
        assert not np.allclose(arrays[f"V4.output:{t}"], arrays[f"V4.output:{t + 1}"])


# Modules that never fire


def without(build, *shape):
    """The taps that cannot be taken, with the reason."""
    model = wrap(build(), np.zeros(shape, np.float32))
    return model, {tap.name: tap.problem for tap in model.taps() if tap.problem}


def torchvision_vit():
    return models.VisionTransformer(32, 16, 2, 2, 16, 32)


def clip_vit(batch_first=True):
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    vit = open_clip.transformer.VisionTransformer(32, 16, 64, 2, 4, 2.0)
    vit.transformer.batch_first = batch_first
    for block in vit.transformer.resblocks:
        block.attn.batch_first = batch_first
    return vit


def clip_resnet():
    open_clip = pytest.importorskip("open_clip")
    layers = (1, 1, 1, 1)
    return open_clip.modified_resnet.ModifiedResNet(layers, 16, 4, image_size=64, width=8)


def timm_vit():
    timm = pytest.importorskip("timm")
    return timm.models.VisionTransformer(32, 16, embed_dim=16, depth=2, num_heads=2)


SILENT = {
    "torchvision": (
        *(torchvision_vit, 32),
        [f"encoder.layers.encoder_layer_{n}.self_attention.out_proj" for n in range(2)],
    ),
    "open_clip": (clip_vit, 32, [f"transformer.resblocks.{n}.attn.out_proj" for n in range(2)]),
    "open_clip RN": (clip_resnet, 64, [f"attnpool.{part}_proj" for part in "qkvc"]),
    "timm": (timm_vit, 32, [f"blocks.{n}.attn.attn_drop" for n in range(2)]),
}


@pytest.mark.parametrize("case", SILENT)
def test_a_module_that_never_fires_is_named(case):
    build, size, names = SILENT[case]
    model, problems = without(build, 3, size, size)
    assert {name: problems.get(name) for name in names} == dict.fromkeys(names, NEVER)
    with pytest.raises(TapError, match=NEVER) as caught:
        model.open(names[:1])
    assert caught.value.where == names[0]


# Tokens before samples


def test_the_axis_of_samples_is_found_where_tokens_come_first():
    first, last = clip_vit(batch_first=True), clip_vit(batch_first=False)
    seen = {}
    last.transformer.resblocks[1].register_forward_hook(
        lambda _module, _inputs, output: seen.update(shape=output.shape, output=output.clone())
    )
    pictures = RNG.standard_normal((3, 3, 32, 32)).astype(np.float32)
    samples = [Sample(str(n), picture) for n, picture in enumerate(pictures)]
    taps = ["transformer.resblocks.0", "transformer.resblocks.1"]
    found = extract(last, samples, taps=taps)
    assert seen["shape"] == (5, 3, 64)  # tokens, samples, channels
    np.testing.assert_allclose(found[taps[1]], seen["output"].transpose(0, 1), rtol=1e-6)
    expected = extract(first, samples, taps=taps)
    for tap in taps:
        np.testing.assert_allclose(found[tap], expected[tap], rtol=1e-4, atol=1e-5)
    axes = {tap.name: tap.axes for tap in wrap(last, pictures[0]).taps()}
    assert axes[taps[0]] == ("sample", "token", "channel")


# The table of all of them


def test_the_table_in_the_docs_names_tests_that_exist():
    here = Path(__file__).parent
    page = (here.parents[1] / "docs" / "vision-models.md").read_text("utf-8")
    rows = re.findall(r"^\|.*\| `(\w+\.py)::(\w+)` \|$", page, re.M)
    assert len(rows) == 9
    for file, name in rows:
        assert f"\ndef {name}(" in (here / file).read_text("utf-8"), name
