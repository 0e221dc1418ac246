"""wrap(): somebody's module as a Model, taken as it is and left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from actx_core import extract
from actx_core.errors import ModelError, TapError
from actx_core.poolers import Mean
from actx_core.torch import wrap
from actx_core.types import Sample


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.drop(self.relu(self.norm(self.conv(x))))
        return self.fc(x.mean((2, 3)))


def state(module: nn.Module) -> dict:
    """All of a module that a careless reader could change."""
    return {
        "tensors": {k: v.clone() for k, v in module.state_dict().items()},
        "training": {n: m.training for n, m in module.named_modules()},
        "grad": {n: (p.requires_grad, p.grad) for n, p in module.named_parameters()},
        "hooks": sum(
            len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._forward_hooks_with_kwargs)
            for m in module.modules()
        ),
        "attributes": {n: sorted(m.__dict__) for n, m in module.named_modules()},
        "rng": torch.get_rng_state().clone(),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def assert_same(before: dict, after: dict) -> None:
    tensors = zip(before.pop("tensors").items(), after.pop("tensors").items(), strict=True)
    assert all(k == n and torch.equal(v, w) for (k, v), (n, w) in tensors)
    assert torch.equal(before.pop("rng"), after.pop("rng"))
    assert before == after


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    module = Net()
    module.norm.eval()
    module.fc.bias.requires_grad_(False)
    module.conv.register_forward_hook(lambda *_: None)
    return module


def images(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, 8, 6)).astype(np.float32)


def test_extract_from_a_plain_module_equals_hooks_and_leaves_no_trace(net):
    inputs = images()
    before = state(net)
    found = extract(net, inputs, ["conv", "relu", "norm@in", "output"])
    assert_same(before, state(net))

    seen = {}
    net.eval()
    handle = net.conv.register_forward_hook(lambda m, a, r: seen.update(conv=r.clone()))
    net.relu.register_forward_hook(lambda m, a, r: seen.update(relu=r.clone()))
    with torch.no_grad():
        seen["output"] = net(torch.from_numpy(inputs))
    handle.remove()
    assert list(found) == ["conv", "norm@in", "relu", "output"]
    for name, array in seen.items():
        np.testing.assert_array_equal(found[name], array)
    np.testing.assert_array_equal(found["norm@in"], seen["conv"])


def test_pools_and_batches(net):
    inputs = images(70)
    model = wrap(net, batch_size=32)
    found = extract(model, list(torch.from_numpy(inputs)), ["conv"], pool=[Mean(over=("y", "x"))])
    with torch.no_grad():
        truth = net.conv(torch.from_numpy(inputs)).mean((2, 3))
    np.testing.assert_allclose(found["conv"], truth, rtol=1e-5, atol=1e-6)


def test_the_module_is_restored_after_errors(net):
    before = state(net)
    with pytest.raises(TapError, match="no such tap"):
        extract(net, images(), ["nothing"])
    with pytest.raises(ModelError, match="forward pass failed"):
        extract(net, [np.zeros(7, np.float32)], ["conv"])
    broken = [*images(2), np.zeros((3, 9, 9), np.float32)]
    with pytest.raises(ModelError, match="one shape"):
        extract(net, broken, ["conv"])
    assert_same(before, state(net))


def test_a_model_is_closed_and_opened_again(net):
    before = state(net)
    model = wrap(net, images()[0])
    names = [tap.name for tap in model.taps()]
    assert names[:2] == ["conv@in", "conv"]
    assert model.taps()[1].axes == ("sample", "channel", "y", "x")
    assert model.taps()[1].shape == (8, 8, 6)
    assert_same(before, state(net))
    before = state(net)
    model.open(["conv"])
    model.open(["relu"])
    assert not net.training
    batch = model.prepare([Sample("0", images()[0])])
    assert set(model.extract(batch, lambda _, activation: activation)) == {"relu"}
    model.close()
    model.close()
    assert_same(before, state(net))


def test_training_goes_on_afterwards(net):
    extract(net, images(), ["relu", "output"])
    net(torch.from_numpy(images())).sum().backward()
    assert net.conv.weight.grad is not None


def test_own_type_keyword_arguments_and_no_example():
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2, dtype=torch.float64)

        def forward(self, *, a, ids):
            return self.fc(a) + ids[:, None]

    module = Pair()
    samples = [{"a": np.ones(4, np.float32), "ids": np.int64(i)} for i in range(3)]
    found = extract(module, samples, ["output", "fc"])
    assert found["output"].dtype == np.float64
    np.testing.assert_allclose(found["output"] - found["fc"], [[0, 0], [1, 1], [2, 2]])
    with pytest.raises(ModelError, match="no sample to probe"):
        wrap(module).taps()


def test_fingerprint_follows_the_live_weights(net):
    model = wrap(net)
    first = model.fingerprint()
    assert first == wrap(net).fingerprint()
    with torch.no_grad():
        net.conv.bias[0] += 1
    assert model.fingerprint() != first


def test_wrappers_of_training_are_seen_through(net):
    inputs = images()
    truth = extract(net, inputs, ["conv", "relu"])
    for wrapped in (nn.DataParallel(net), torch.compile(net), nn.DataParallel(torch.compile(net))):
        found = extract(wrapped, inputs, ["conv", "relu"])
        np.testing.assert_array_equal(found["relu"], truth["relu"])


@pytest.mark.filterwarnings("ignore:.*jit.script:FutureWarning")
def test_torchscript_calls_no_hooks_and_says_so():
    script = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
    module = nn.Sequential(nn.Linear(4, 4), script)
    found = extract(module, np.ones((2, 4), np.float32), ["output", "0"])
    with torch.no_grad():
        np.testing.assert_array_equal(found["output"], module(torch.ones(2, 4)))
    with pytest.raises(TapError, match="1: it is TorchScript, which calls no hooks"):
        extract(module, np.ones((2, 4), np.float32), ["1"])
    with pytest.raises(TapError, match="output: it is TorchScript"):
        extract(script, np.ones((2, 4), np.float32), ["output"])


def test_compiled_parts_run_as_written(net):
    inputs = images()
    truth = extract(net, inputs, ["conv", "relu", "output"])
    net.norm.compile()
    net.conv = torch.compile(net.conv)
    found = extract(net, inputs, ["conv", "relu", "output"])
    for name, array in truth.items():
        np.testing.assert_array_equal(found[name], array)
