"""What can be hooked: stream, residuals, inner blocks, heads, attention; and the logit lens."""

from __future__ import annotations

import pytest
import torch

from actx_core import ModelError
from actx_katago import Network, load_weights, random_network
from actx_katago.network.random import KINDS


@pytest.fixture(scope="module")
def network():
    file = random_network(17, KINDS, tip="spatial-rms")
    made = Network(file.description).eval()
    load_weights(made, file)
    return made


@pytest.fixture(scope="module")
def inputs():
    generator = torch.Generator().manual_seed(0)
    spatial = (torch.rand(2, 22, 6, 5, generator=generator) < 0.3).float()
    spatial[:, 0] = 1
    spatial[1, :, 4:] = spatial[1, :, :, 3:] = 0
    return spatial, torch.rand(2, 19, generator=generator)


@pytest.fixture(scope="module")
def seen(network, inputs):
    found = {}
    handles = [
        child.register_forward_hook(lambda _, __, out, name=name: found.setdefault(name, out))
        for name, child in network.named_modules()
    ]
    with torch.no_grad():
        found["outputs"] = network(*inputs)
    for handle in handles:
        handle.remove()
    return found


def test_the_stream_is_the_sum_of_what_the_blocks_add(seen):
    stream = seen["trunk.embedding"]
    for i in range(len(KINDS)):
        assert seen[f"blocks.{i}"].shape == (2, 16, 6, 5)
        stream = stream + seen[f"blocks.{i}"]
        assert torch.equal(stream, seen[f"trunk_after_block{i}"])
        assert not torch.equal(stream, seen[f"blocks.{i}"])
    assert seen["trunk.final"].shape == (2, 16, 6, 5)


def test_a_nested_block_has_a_stream_of_its_own(seen):
    at = f"blocks.{KINDS.index('nested')}"
    stream = seen[f"{at}.normactconvp"]
    for j in range(5):
        assert seen[f"{at}.blockstack.{j}"].shape == (2, 8, 6, 5)
        stream = stream + seen[f"{at}.blockstack.{j}"]
        assert torch.equal(stream, seen[f"{at}.stack_after_block{j}"])


def test_attention_is_spread_over_the_board(seen):
    weights = seen[f"blocks.{KINDS.index('attention')}.attn_weights"]
    assert weights.shape == (2, 2, 30, 30)
    torch.testing.assert_close(weights.sum(3), torch.ones(2, 2, 30))
    off = torch.ones(6, 5, dtype=torch.bool)
    off[:4, :3] = False
    assert (weights[1, :, :, off.flatten()] == 0).all()
    assert (weights[1, :, :, ~off.flatten()] > 0).all()


def test_every_module_gives_a_tensor_with_the_batch_first(seen, network):
    silent = {"blocks", "trunk", "", "value_head"}
    silent |= {name for name, _ in network.named_modules() if name.endswith("blockstack")}
    for name, child in network.named_modules():
        if name not in silent and "rope" not in name:
            assert seen[name].shape[0] == 2, (name, child)


def test_a_hook_can_change_the_stream(network, inputs, seen):
    handle = network.get_submodule("trunk_after_block2").register_forward_hook(
        lambda *_: torch.zeros(2, 16, 6, 5)
    )
    try:
        with torch.no_grad():
            changed = network(*inputs)
    finally:
        handle.remove()
    assert not torch.allclose(changed["value"], seen["outputs"]["value"])


def test_the_lens_at_the_last_block_is_the_output(network, inputs, seen):
    last = seen[f"trunk_after_block{len(KINDS) - 1}"]
    for mask in (inputs[0][:, :1], inputs[0][:, 0]):
        with torch.no_grad():
            out = network.stream_to_outputs(last, mask)
        for name, expected in seen["outputs"].items():
            assert torch.equal(out[name], expected)
    with torch.no_grad():
        early = network.stream_to_outputs(seen["trunk.embedding"], inputs[0][:, :1])
    assert early["policy"].shape == (2, 4, 31)
    assert not torch.equal(early["policy"], seen["outputs"]["policy"])
    with pytest.raises(ModelError, match=r"expected a mask of shape \[2, 1, 6, 5\]"):
        network.stream_to_outputs(last, inputs[0])


def test_it_is_built_without_weights(network, inputs):
    with torch.device("meta"):
        empty = Network(network.description)
        out = empty(*(torch.empty_like(x, device="meta") for x in inputs))
    assert {name: value.shape for name, value in out.items()} == {
        "policy": (2, 4, 31),
        "value": (2, 3),
        "score": (2, 6),
        "ownership": (2, 1, 6, 5),
    }
    assert all(p.is_meta for p in empty.parameters())
    assert list(empty.state_dict()) == list(network.state_dict())


def test_weights_of_another_network_are_refused(network):
    with pytest.raises(ModelError, match="do not fit the network") as caught:
        load_weights(network, random_network(14))
    assert "\n" not in str(caught.value)
