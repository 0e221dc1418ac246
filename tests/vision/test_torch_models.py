"""torchvision and timm models as actx models: taps, and activations equal to plain forward hooks."""

import io

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision import models

from actx_core import Sample
from actx_vision.models.config import TimmConfig, TorchvisionConfig
from actx_vision.models.timm_model import TimmModel
from actx_vision.models.torchvision_model import TorchvisionModel

RNG = np.random.default_rng(1)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (90, 120, 3), dtype=np.uint8)) for _ in range(3)]
SAMPLES = [Sample(str(number), picture) for number, picture in enumerate(PICTURES)]
SMALL = {"resize": 72, "crop": 64}

CASES = {
    "resnet18": (
        *(TorchvisionModel, TorchvisionConfig, models.resnet18, SMALL),
        ["conv1", "bn1", "layer1.0.conv2", "layer2", "layer4.1.bn2", "avgpool", "fc"],
    ),
    "vit_tiny_patch16_224": (
        *(TimmModel, TimmConfig, lambda: timm.create_model("vit_tiny_patch16_224"), {}),
        ["patch_embed", "blocks.0.attn", "blocks.3.mlp.fc1", "blocks.11", "norm", "head"],
    ),
}


def reference(module, inputs, names):
    """Activations by plain hooks, copied before anything later can change them in place."""
    module.eval()
    kept = {}
    for name in names:
        module.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: kept.update({name: output.clone()})
        )
    with torch.no_grad():
        kept["output"] = module(inputs)
    return kept


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    model, config, build, preprocess, taps = CASES[request.param]
    torch.manual_seed(5)
    plain = build()
    for buffer in plain.buffers():
        if (
            buffer.is_floating_point()
        ):  # statistics that batch normalisation would not have by chance
            buffer.uniform_(0.5, 1.5)
    torch.save(plain.state_dict(), tmp_path / "weights.pth")
    options = {"name": request.param, "weights": str(tmp_path / "weights.pth"), "device": "cpu"}
    return model(config(**options, preprocess=preprocess)), plain, taps


def extracted(model, taps):
    model.open(taps)
    batch = model.prepare(SAMPLES)
    kept = model.extract(batch, lambda _, activation: activation)
    arrays = model.to_host({name: activation.array for name, activation in kept.items()})()
    return batch, kept, arrays


def test_activations_equal_plain_hooks(case):
    model, plain, taps = case
    listed = {tap.name: tap for tap in model.taps()}
    batch, kept, arrays = extracted(model, [*taps, "output"])
    expected = reference(plain, batch.inputs, taps)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        scale = expected[name].abs().max().item()
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-5, atol=1e-5 * scale)
        assert kept[name].axes == listed[name].axes
        assert array.shape[1:] == listed[name].shape
        assert not listed[name].problem
    model.close()


def test_one_early_tap_alone(case):
    model, plain, taps = case
    batch, _, arrays = extracted(model, taps[:1])
    expected = reference(plain, batch.inputs, taps[:1])[taps[0]].numpy()
    np.testing.assert_allclose(arrays[taps[0]], expected, rtol=1e-5, atol=1e-5)
    model.close()


def test_axes_are_named():
    model = TorchvisionModel(TorchvisionConfig(name="resnet18", weights="random"))
    taps = {tap.name: tap for tap in model.taps()}
    assert taps["layer3"].axes == ("sample", "channel", "y", "x")
    assert taps["layer3"].shape == (256, 14, 14)
    assert taps["fc"].axes[0] == "sample"
    assert taps["fc"].shape == (1000,)
    model = TimmModel(TimmConfig(name="vit_tiny_patch16_224", weights="random"))
    taps = {tap.name: tap for tap in model.taps()}
    assert taps["blocks.5.attn"].axes == ("sample", "token", "channel")
    assert taps["blocks.5.attn"].shape == (197, 192)


def test_random_weights_follow_the_seed():
    def first(seed):
        model = TorchvisionModel(
            TorchvisionConfig(name="resnet18", weights="random", seed=seed, preprocess=SMALL)
        )
        arrays = extracted(model, ["conv1"])[2]
        model.close()
        return arrays["conv1"]

    np.testing.assert_array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))


@pytest.mark.parametrize("name", ["regnet_y_400mf", "inception_v3", "googlenet"])
def test_taps_of_models_that_compute_while_they_are_built(name):
    taps = TorchvisionModel(TorchvisionConfig(name=name, weights="DEFAULT")).taps()
    usable = [tap for tap in taps if not tap.problem]
    assert len(usable) > 50
    assert usable[-1].shape == (1000,)


def test_a_segmentation_model():
    model = TorchvisionModel(
        TorchvisionConfig(name="lraspp_mobilenet_v3_large", weights="random", preprocess=SMALL)
    )
    taps = {tap.name: tap for tap in model.taps()}
    assert taps["output.out"].axes == ("sample", "channel", "y", "x")
    assert taps["output.out"].shape == (21, 64, 64)


def test_a_run_says_how_pictures_were_prepared():
    model = TimmModel(TimmConfig(name="test_resnet", weights="random"))
    model.taps()
    model.open(["output"])
    facts = model.describe()
    assert facts["weights"] == "random"
    assert facts["preprocess"]["crop"] == 160
    changed = TimmModel(
        TimmConfig(name="test_resnet", weights="random", preprocess={"interpolation": "nearest"})
    )
    assert changed.fingerprint() != model.fingerprint()
    assert changed.fingerprint().split()[0] == model.fingerprint().split()[0]
    model.close()


def test_peek_shows_what_the_model_gets():
    model = TorchvisionModel(TorchvisionConfig(name="resnet18", weights="random", preprocess=SMALL))
    previews = model.preview(model.prepare(SAMPLES))
    with Image.open(io.BytesIO(previews[0].data)) as image:
        assert image.size == (64, 64)
