"""SLIP's image tower: the architecture, and its weights out of a checkpoint of a whole training."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from actx_core import ModelError, Sample

pytest.importorskip("timm")

from actx_vision.models.config import SlipConfig
from actx_vision.models.slip_model import Slip

EMBED, HEADS = 384, 12


def tower_keys():
    """Key → shape of the tower in the published files."""
    yield "cls_token", (1, 1, EMBED)
    yield "pos_embed", (1, 197, EMBED)
    yield "patch_embed.proj.weight", (EMBED, 3, 16, 16)
    yield "patch_embed.proj.bias", (EMBED,)
    for n in range(12):
        parts = {"attn.qkv": 3, "attn.proj": 1, "mlp.fc1": 4, "mlp.fc2": 1}
        for part, times in parts.items():
            before = 4 * EMBED if part == "mlp.fc2" else EMBED
            yield f"blocks.{n}.{part}.weight", (times * EMBED, before)
            yield f"blocks.{n}.{part}.bias", (times * EMBED,)
        for norm in ("norm1", "norm2"):
            yield f"blocks.{n}.{norm}.weight", (EMBED,)
            yield f"blocks.{n}.{norm}.bias", (EMBED,)
    yield "norm.weight", (EMBED,)
    yield "norm.bias", (EMBED,)


def by_hand(state, x):
    """The tower of twelve heads without a single module: its blocks, then its result."""

    def linear(x, name):
        return torch.nn.functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x, name):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return torch.nn.functional.layer_norm(x, (EMBED,), weight, bias, 1e-6)

    kept = {}
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    x = torch.nn.functional.conv2d(x, weight, bias, stride=16).flatten(2).transpose(1, 2)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], 1) + state["pos_embed"]
    for n in range(12):
        qkv = linear(norm(x, f"blocks.{n}.norm1"), f"blocks.{n}.attn.qkv")
        q, k, v = qkv.reshape(len(x), -1, 3, HEADS, EMBED // HEADS).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (EMBED // HEADS) ** -0.5).softmax(-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"blocks.{n}.attn.proj")
        y = linear(norm(x, f"blocks.{n}.norm2"), f"blocks.{n}.mlp.fc1")
        x = x + linear(torch.nn.functional.gelu(y), f"blocks.{n}.mlp.fc2")
        kept[f"blocks.{n}"] = x
    kept["output"] = norm(x, "norm")[:, 0]
    return kept


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(s, generator=generator) * 0.05 for key, s in tower_keys()}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    """As the training wrote it: both towers, the optimiser, the command line."""
    path = tmp_path_factory.mktemp("weights") / "slip_small_100ep.pt"
    both = {f"module.visual.{key}": value for key, value in state.items()}
    both |= {"module.logit_scale": torch.ones(()), "module.ln_final.weight": torch.ones(512)}
    args = argparse.Namespace(model="SLIP_VITS16", lr=3e-3, betas=(0.9, 0.98), resume="")
    torch.save({"epoch": 100, "state_dict": both, "optimizer": {"state": {}}, "args": args}, path)
    return path


def test_it_has_the_keys_and_parameters_of_the_published_tower():
    with torch.device("meta"):
        module = Slip(SlipConfig(weights="random")).build()
    found = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    assert found == dict(tower_keys())
    assert sum(p.numel() for p in module.parameters()) == Slip.parameters
    assert module.blocks[0].attn.num_heads == HEADS


def test_a_training_checkpoint_is_read_without_running_code(state, file):
    model = Slip(SlipConfig(weights=file, device="cpu"))
    taps = [*model.presets()["ann_pipe"], "output"]
    assert taps[:-1] == [f"blocks.{n}" for n in (1, 3, 6, 9, 11)]
    model.open(taps)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (250, 240, 3), dtype=np.uint8))
    batch = model.prepare([Sample("a", picture)])
    kept = model.extract(batch, lambda _, activation: activation)
    arrays = model.to_host({name: activation.array for name, activation in kept.items()})()
    model.close()
    expected = by_hand(state, batch.inputs)
    for name in taps:
        scale = expected[name].abs().max().item()
        np.testing.assert_allclose(arrays[name], expected[name], rtol=1e-4, atol=1e-5 * scale)


def test_the_permission_ends_with_the_reading(file):
    Slip(SlipConfig(weights=file)).fingerprint()
    with pytest.raises(Exception, match="argparse.Namespace"):
        torch.load(file, weights_only=True)


class Payload:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": {}, "args": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="weights_only"):
        Slip(SlipConfig(weights=tmp_path / "evil.pt")).fingerprint()
    assert "this must not run" not in capsys.readouterr().out


def test_a_tower_that_lacks_or_renames_a_tensor_is_refused(state, tmp_path):
    renamed = {key.replace("mlp.fc1", "mlp.0"): value for key, value in state.items()}
    torch.save({"state_dict": renamed}, tmp_path / "renamed.pt")
    with pytest.raises(ModelError, match=r"do not fit .*blocks\.0\.mlp\.fc1\.weight"):
        Slip(SlipConfig(weights=tmp_path / "renamed.pt")).fingerprint()


def test_the_tower_alone_is_a_local_file_too(state, file, tmp_path):
    torch.save(state, tmp_path / "tower.pth")
    alone = Slip(SlipConfig(weights=tmp_path / "tower.pth")).fingerprint()
    assert alone == Slip(SlipConfig(weights=file)).fingerprint()


def test_tags_are_the_lengths_of_training(monkeypatch, tmp_path, file):
    assert list(Slip.tags) == ["100ep", "50ep", "25ep"]
    assert Slip(SlipConfig(weights="DEFAULT")).weights == "100ep"
    with pytest.raises(ModelError, match="no weights called '75ep'") as caught:
        Slip(SlipConfig(weights="75ep"))
    assert "did you mean" in caught.value.hint
    (tmp_path / "slip_small_25ep.pt").write_bytes(file.read_bytes())
    there = Slip(SlipConfig(weights="25ep", weights_dir=str(tmp_path)))
    assert there.fingerprint() == Slip(SlipConfig(weights=file)).fingerprint()
