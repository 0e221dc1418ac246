"""CORnet-S against a reference that is written out by hand: keys, shapes, every time step, its weights."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from actx_core import ModelError, Sample, TapError
from actx_vision.models import weights
from actx_vision.models.config import CornetSConfig
from actx_vision.models.cornet import cornet_s
from actx_vision.models.cornet_model import CornetS

RNG = np.random.default_rng(4)
SAMPLES = [
    Sample(str(n), Image.fromarray(RNG.integers(0, 256, (80, 100, 3), dtype=np.uint8)))
    for n in range(2)
]
SMALL = {"resize": 72, "crop": 64}
STEPS = {"V2": 2, "V4": 4, "IT": 2}
CHANNELS = {"V2": (64, 128), "V4": (128, 256), "IT": (256, 512)}


def norm_keys(prefix, channels):
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{prefix}.{name}", (channels,)
    yield f"{prefix}.num_batches_tracked", ()


def upstream_keys():
    """Key → shape of the published state dict, without its prefix ``module.``."""
    yield "V1.conv1.weight", (64, 3, 7, 7)
    yield from norm_keys("V1.norm1", 64)
    yield "V1.conv2.weight", (64, 64, 3, 3)
    yield from norm_keys("V1.norm2", 64)
    for area, (before, channels) in CHANNELS.items():
        wide = 4 * channels
        yield f"{area}.conv_input.weight", (channels, before, 1, 1)
        yield f"{area}.skip.weight", (channels, channels, 1, 1)
        yield from norm_keys(f"{area}.norm_skip", channels)
        yield f"{area}.conv1.weight", (wide, channels, 1, 1)
        yield f"{area}.conv2.weight", (wide, wide, 3, 3)
        yield f"{area}.conv3.weight", (channels, wide, 1, 1)
        for t in range(STEPS[area]):
            yield from norm_keys(f"{area}.norm1_{t}", wide)
            yield from norm_keys(f"{area}.norm2_{t}", wide)
            yield from norm_keys(f"{area}.norm3_{t}", channels)
    yield "decoder.linear.weight", (1000, 512)
    yield "decoder.linear.bias", (1000,)


def by_hand(state, x):
    """Every area's activity at every time step, without a single module."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(x, name, **options):
        return functional.conv2d(x, state[f"{name}.weight"], **options)

    kept = {}
    x = functional.relu(norm(conv(x, "V1.conv1", stride=2, padding=3), "V1.norm1"))
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    kept["V1"] = x = functional.relu(norm(conv(x, "V1.conv2", padding=1), "V1.norm2"))
    for area, steps in STEPS.items():
        x = conv(x, f"{area}.conv_input")
        for t in range(steps):
            skip = x
            if t == 0:
                skip = norm(conv(x, f"{area}.skip", stride=2), f"{area}.norm_skip")
            y = functional.relu(norm(conv(x, f"{area}.conv1"), f"{area}.norm1_{t}"))
            stride = 2 if t == 0 else 1
            y = conv(y, f"{area}.conv2", stride=stride, padding=1)
            y = functional.relu(norm(y, f"{area}.norm2_{t}"))
            y = norm(conv(y, f"{area}.conv3"), f"{area}.norm3_{t}")
            kept[f"{area}.output:{t}"] = x = functional.relu(y + skip)
    kept["decoder.avgpool"] = x.mean((2, 3), keepdim=True)
    linear = state["decoder.linear.weight"], state["decoder.linear.bias"]
    kept["output"] = functional.linear(x.mean((2, 3)), *linear)
    return kept


@pytest.fixture(scope="module")
def state():
    """Weights in which every tensor matters, as large as they must be not to fade or explode."""
    generator = torch.Generator().manual_seed(0)

    def values(key, shape):
        if key.endswith("num_batches_tracked"):
            return torch.tensor(1)
        if "norm" in key:
            low = -0.5 if key.endswith(("bias", "running_mean")) else 0.5
            return torch.rand(shape, generator=generator) + low
        fan = max(np.prod(shape[1:]), 1)
        return torch.randn(shape, generator=generator) * (2 / fan) ** 0.5

    return {key: values(key, shape) for key, shape in upstream_keys()}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    """A checkpoint in the published form."""
    path = tmp_path_factory.mktemp("weights") / "cornet_s.pth"
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    return path


def extracted(model, taps):
    model.taps()
    model.open(taps)
    batch = model.prepare(SAMPLES)
    kept = model.extract(batch, lambda _, activation: activation)
    arrays = model.to_host({name: activation.array for name, activation in kept.items()})()
    model.close()
    return batch.inputs, arrays


def test_it_has_the_parameters_and_keys_of_the_published_network():
    with torch.device("meta"):
        module = cornet_s()
    found = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert found == dict(upstream_keys())
    assert sum(p.numel() for p in module.parameters()) == 53_416_616 == CornetS.parameters


def test_every_time_step_equals_the_reference(state, file):
    model = CornetS(CornetSConfig(weights=file, device="cpu", preprocess=SMALL))
    steps = [f"{area}.output:{t}" for area, n in STEPS.items() for t in range(n)]
    inputs, arrays = extracted(model, ["V1", *steps, "decoder.avgpool", "output"])
    expected = by_hand(state, inputs)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        scale = expected[name].abs().max().item()
        assert scale > 1e-2, name
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5 * scale)
    four = [arrays[f"V4.output:{t}"] for t in range(4)]
    assert not any(np.allclose(a, b) for a, b in pairwise(four))


def test_an_area_is_its_last_time_step(file):
    model = CornetS(CornetSConfig(weights=file, device="cpu", preprocess=SMALL))
    pairs = {"V1": "V1.output", "V2": "V2.output:1", "V4": "V4.output:3", "IT": "IT.output:1"}
    _, arrays = extracted(model, [*pairs, *pairs.values()])
    for area, last in pairs.items():
        np.testing.assert_array_equal(arrays[area], arrays[last])


def test_the_parts_of_a_time_step_are_taps():
    model = CornetS(CornetSConfig(weights="random"))
    taps = {tap.name: tap for tap in model.taps()}
    assert not [tap.name for tap in taps.values() if tap.problem]
    assert [taps[f"V4.conv2:{t}"].shape for t in range(4)] == [(1024, 14, 14)] * 4
    assert taps["V4.conv1:0"].shape == (1024, 28, 28)
    assert taps["V4.norm2_3"].axes == ("sample", "channel", "y", "x")
    assert taps["decoder.linear"].shape == (1000,)


def test_an_output_without_its_time_step_is_refused():
    model = CornetS(CornetSConfig(weights="random", device="cpu"))
    with pytest.raises(TapError, match="called 4 times") as caught:
        model.open(["V4.output"])
    assert "'V4.output:3'" in caught.value.hint


def test_torch_fx_can_trace_it(state):
    with torch.no_grad():
        module = cornet_s().eval()
        module.load_state_dict(state)
        traced = torch.fx.symbolic_trace(module)
        x = torch.randn(1, 3, 64, 64)
        assert torch.equal(traced(x), module(x))


def test_weights_that_do_not_fit(state, tmp_path):
    short = {key: value for key, value in state.items() if key != "V4.norm3_3.bias"}
    torch.save(short, tmp_path / "short.pth")
    model = CornetS(CornetSConfig(weights=tmp_path / "short.pth"))
    with pytest.raises(ModelError, match=r"V4\.norm3_3\.bias"):
        model.fingerprint()
    with pytest.raises(ModelError, match="no weights called 'imagenet1k'") as caught:
        CornetS(CornetSConfig(weights="imagenet1k"))
    assert "'imagenet'" in caught.value.hint


def test_published_weights_that_cannot_be_had(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network here")

    monkeypatch.setattr(weights, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = CornetS(CornetSConfig(weights="DEFAULT"))
    assert model.weights == "imagenet"
    with pytest.raises(ModelError, match="'cornet_s' are not on this machine") as caught:
        model.fingerprint()
    assert "https://s3.amazonaws.com/cornet-models/cornet_s-1d3f7974.pth" in caught.value.hint
    assert str(tmp_path / "hub" / "checkpoints" / "cornet_s-1d3f7974.pth") in caught.value.hint
