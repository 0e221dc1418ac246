"""probe(): activations in a training step, which goes on as if nobody had looked."""

from __future__ import annotations

import copy
import os
from threading import Thread

import pytest
import torch
from torch import nn

from actx_core.errors import ModelError, TapError
from actx_core.poolers import Mean, Select
from actx_core.torch import probe

SPACE = Mean(over=("y", "x"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.layer2 = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(8, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(x))
        return self.fc(self.drop(x.mean((2, 3))))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 9, 7, generator=torch.Generator().manual_seed(seed))


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def steps(module: nn.Module, run) -> list[torch.Tensor]:
    """Three steps of training; every gradient, then every parameter and buffer."""
    torch.manual_seed(5)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    gradients = []
    for step in range(3):
        optimizer.zero_grad()
        run(module, images(seed=step)).square().mean().backward()
        gradients += [p.grad.clone() for p in module.parameters()]
        optimizer.step()
    return [*gradients, *module.state_dict().values(), torch.get_rng_state()]


def test_training_is_bit_equal_with_and_without(net):
    plain = steps(copy.deepcopy(net), lambda module, x: module(x))
    taken = []

    with probe(net, ["layer*", "fc@in"], pool=[]) as p:

        def run(module, x):
            taken.append(p(x))
            return p.result

        probed = steps(net, run)
    assert all(torch.equal(a, b) for a, b in zip(plain, probed, strict=True))
    assert [list(acts) for acts in taken] == [["layer1", "layer2", "fc@in"]] * 3
    assert hooks(net) == 0
    assert net.training


def test_values_equal_plain_hooks_before_in_place_changes(net):
    net.eval()
    seen = {}
    copied = copy.deepcopy(net)
    for name, part in copied.named_modules():
        part.register_forward_hook(
            lambda m, a, r, name=name: seen.update({name: r.detach().clone()})
        )
    with probe(net, ["layer1.*", "type:Conv2d", "output"]) as p:
        for seed in range(2):
            found = p(images(seed=seed))
            copied(images(seed=seed))
            seen["output"] = seen[""]
            assert list(found) == ["layer1.0", "layer1.1", "layer1.2", "layer2.0", "output"]
            for name, array in found.items():
                assert torch.equal(array, seen[name]), name
                assert not array.requires_grad
    assert not torch.equal(found["layer1.1"], found["layer1.2"])


def test_pools_on_the_device_and_other_batch_sizes(net):
    with probe(net, ["layer*"], pool=[SPACE]) as p:
        for count in (4, 2, 7):
            found = p(images(count))
            assert {n: tuple(a.shape) for n, a in found.items()} == {
                "layer1": (count, 8),
                "layer2": (count, 8),
            }
    with torch.no_grad(), probe(net.eval(), ["layer1"], pool=[SPACE]) as p:
        torch.testing.assert_close(p(images())["layer1"], net.layer1(images()).mean((2, 3)))


def test_modes_gradients_and_hooks_of_others_stay(net):
    calls = []
    net.layer2.eval()
    net.layer1.register_forward_hook(lambda *_: calls.append(1))
    modes = [m.training for m in net.modules()]
    with probe(net, ["layer*"]) as p:
        assert hooks(net) == 1, "between calls the module has only its own"
        p(images())
        assert p.result.requires_grad
        with torch.no_grad():
            p(images())
        assert not p.result.requires_grad
        with torch.inference_mode():
            p(images())
    assert len(calls) == 3
    assert [m.training for m in net.modules()] == modes
    assert hooks(net) == 1


def test_repeated_modules_tuples_and_selectors():
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.ModuleList(nn.Linear(6, 6) for _ in range(5))
            self.act, self.rnn = nn.ReLU(), nn.GRU(6, 3)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            for cell in self.cells:
                x = self.act(cell(x))
            return self.rnn(x.transpose(0, 1))

    module, inputs = Loop(), torch.randn(4, 2, 6)
    with probe(module, ["act", "output"]) as p, pytest.raises(TapError, match="called 5 times"):
        p(inputs)
    with probe(module, ["act:*", "depth:3", "rnn.0", "u*", "rnn*"][:3]) as p:
        for _ in range(2):
            found = p(inputs)
            assert list(found) == [
                "cells.0", "act:0", "act:1", "cells.2", "act:2", "act:3", "cells.4", "act:4", "rnn.0",
            ]  # fmt: skip
            assert torch.equal(found["rnn.0"], p.result[0].transpose(0, 1))
            assert found["rnn.0"].shape == (4, 2, 3)
    with probe(module, ["*"]) as p:
        assert list(p(inputs))[-1] == "act:4"
    assert any("unused: it is never called" in note for note in p.notes)


def test_axes_may_be_given(net):
    class Turned(nn.Module):
        def forward(self, x):
            return x.permute(0, 3, 1, 2).contiguous() * 1

    module = nn.Sequential(Turned(), nn.Identity())
    given = {"0": ("sample", "x", "channel", "y")}
    with probe(module, ["0"], pool=[SPACE], axes=given) as p:
        torch.testing.assert_close(p(images())["0"], images().mean((2, 3)))
    with probe(module, ["0"], pool=[SPACE]) as p, pytest.raises(TapError):
        p(images())


def test_tokens_of_transformers():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    with probe(module, ["layers.*"], pool=[Select(axis="token", index=0)]) as p, torch.no_grad():
        found = p(torch.ones(3, 5, 8))
    assert found["layers.1"].shape == (3, 8)
    assert torch.equal(found["layers.1"], p.result[:, 0])


def test_mixed_precision_training_pools_in_full(net):
    with probe(net, ["fc"]) as p, torch.autocast("cpu", torch.bfloat16):
        assert p(images())["fc"].dtype == torch.bfloat16
        assert p.result.dtype == torch.bfloat16


def test_mistakes(net):
    p = probe(net, ["layer1"])
    with pytest.raises(ModelError, match="probe is closed"):
        p(images())
    with p, pytest.raises(ModelError, match="no tensor among the arguments"):
        p([1, 2])
    with probe(net, ["layr1"]) as q, pytest.raises(TapError, match="no such tap") as error:
        q(images())
    assert "'layer1'" in error.value.hint
    with probe(net, ["layer1"]) as q, pytest.raises(RuntimeError, match="channels"):
        q(torch.zeros(2, 4, 9, 9))
    assert hooks(net) == 0
    with (
        probe(nn.Flatten(0), ["output"]) as q,
        pytest.raises(TapError, match="no axis of the length"),
    ):
        q(torch.zeros(2, 3))


def test_a_later_pass_without_a_tap_names_it():
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.skip = nn.Linear(2, 2), False

        def forward(self, x):
            return x if self.skip else self.part(x)

    module = Sometimes()
    with probe(module, ["part"]) as p:
        p(torch.ones(1, 2))
        module.skip = True
        with pytest.raises(TapError, match="part: it did not fire"):
            p(torch.ones(1, 2))
    assert hooks(module) == 0


def test_compiled_modules_run_as_written_under_their_own_names(net):
    net.eval()
    with probe(net, ["layer1.0", "fc"]) as p:
        truth = p(images())
    partly = copy.deepcopy(net)
    partly.layer1 = torch.compile(partly.layer1)
    inside = copy.deepcopy(net)
    inside.compile()
    for module in (torch.compile(net), partly, inside):
        with probe(module, ["layer1.0", "fc"]) as p:
            for _ in range(2):
                found = p(images())
                assert list(found) == ["layer1.0", "fc"]
                assert torch.equal(found["fc"], truth["fc"])


def test_distributed_training_keeps_its_gradients(net, tmp_path):
    import torch.distributed as dist

    if not dist.is_gloo_available():
        pytest.skip("this build of torch has no gloo")
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        module = nn.parallel.DistributedDataParallel(net)
        with probe(module, ["layer1"], pool=[SPACE]) as p:
            assert p(images())["layer1"].shape == (4, 8)
            p.result.sum().backward()
        assert all(param.grad is not None for param in net.parameters())
    finally:
        dist.destroy_process_group()


def test_other_threads_may_run_the_module_meanwhile():
    first, x = nn.Linear(4, 3), torch.rand(5, 4)

    class Meanwhile(nn.Module):
        def forward(self, given):
            other = Thread(target=first, args=(torch.full((5, 4), 9.0),))
            other.start()
            other.join()
            return given + first(x)

    with probe(nn.Sequential(first, Meanwhile()), ["0:*"]) as p:
        for _ in range(2):
            acts = p(x)
            assert sorted(acts) == ["0:0", "0:1"]
            for values in acts.values():
                assert torch.equal(values, first(x))
