"""Training checkpoints: the same network as the exported file, hidden constants included."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict, defaultdict

import numpy as np
import pytest
import torch

from actx_core import ModelError
from actx_katago import Network, load_network, load_weights, random_network, read_network
from actx_katago.network.fields import join, walk
from actx_katago.network.layers import Norm

BLOCKS = ("ordinary", "gpool", "nested")
FACTORS = {  # of norms of a fixed scale, by their places; all others have none
    "blocks.0.normactconv1.norm": 1.0,
    "blocks.1.normactconv1.norm": 2**-0.5,
    "blocks.2.normactconvp.norm": 3**-0.5,
    "blocks.2.blockstack.0.normactconv1.norm": 1.0,
    "blocks.2.blockstack.1.normactconv1.norm": 2**-0.5,
    "blocks.2.normactconvq.norm": 3**-0.5,
    "norm_trunkfinal": 4**-0.5,
}


def rows(array, count, picked):
    """More rows than are exported, with the exported ones among them."""
    more = np.full((count, *array.shape[1:]), 0.5, np.float32)
    more[picked] = array
    return more


def state_of(network, center=1.0, fixed=True):
    """A network's weights as training code has them."""
    state = OrderedDict()
    for path, layer in walk(network.description):
        w = {name: network.weights[join(path, name)] for name in layer.arrays()}
        if isinstance(layer, Norm):
            factor = FACTORS.get(path, 1.0) if fixed else 1.0
            state[f"{path}.gamma"] = (w["scale"] / factor - center)[None, :, None, None]
            state[f"{path}.beta"] = w["bias"][None, :, None, None]
            state[f"{path}.running_mean"] = w["mean"]
            state[f"{path}.running_std"] = np.sqrt(w["variance"] + layer.epsilon)
            state[f"{path}.renorm_running_std"] = w["mean"]
        else:
            state |= {join(path, name): array for name, array in w.items()}
    for name in ("conv2p", "linear_pass2"):
        key = f"policy_head.{name}.weight"
        state[key] = rows(state[key], 6, [0, 5])
    for kind in ("weight", "bias"):
        score = state[f"value_head.linear_miscvaluehead.{kind}"]
        state[f"value_head.linear_miscvaluehead.{kind}"] = rows(score[:4], 10, [0, 1, 2, 3])
        state[f"value_head.linear_moremiscvaluehead.{kind}"] = rows(score[4:], 8, [0, 1])
    state["value_head.conv_seki.weight"] = np.ones((4, 8, 1, 1), np.float32)
    state["value_head.score_belief_offset_vector"] = np.ones(8, np.float32)
    return OrderedDict((k, torch.tensor(np.asarray(v, np.float32))) for k, v in state.items())


CONFIG = {
    "version": 15,
    "norm_kind": "fixscaleonenorm",
    "gamma_weight_decay_center_1": True,
    "activation": "mish",
    "mid_num_channels": 16,
    "gpool_num_channels": 4,
    "block_kind": [["a", "regular"], ["b", "regulargpool"], ["c", "bottlenest2gpool"]],
}


@pytest.fixture(scope="module")
def network():
    return random_network(15, BLOCKS, seed=5)


@pytest.fixture
def save(tmp_path):
    def write(name="model.ckpt", **content):
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return write


def outputs(file):
    network = Network(file.description).eval()
    load_weights(network, file)
    generator = torch.Generator().manual_seed(0)
    spatial = (torch.rand(2, 22, 6, 6, generator=generator) < 0.3).float()
    spatial[:, 0] = 1
    with torch.no_grad():
        return network(spatial, torch.rand(2, 19, generator=generator))


def same(found, network):
    for name, expected in outputs(network).items():
        torch.testing.assert_close(outputs(found)[name], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("center", [0.0, 1.0])
@pytest.mark.parametrize("fixed", [False, True])
def test_constants_that_stand_in_no_tensor(save, network, center, fixed):
    config = CONFIG | {
        "gamma_weight_decay_center_1": bool(center),
        "norm_kind": "fixbrenorm" if fixed else "brenorm",
    }
    found = read_network(save(model=state_of(network, center, fixed), config=config))
    same(found, network)
    assert found.kind == "ckpt"
    assert found.description.version == 15


def test_averaged_weights_are_the_default_and_are_named(save, network):
    other = random_network(15, BLOCKS, seed=6)
    averaged = {f"module.{k}": v for k, v in state_of(network).items()}
    averaged["n_averaged"] = torch.tensor(3)
    compiled = {f"_orig_mod.{k}": v for k, v in state_of(other).items()}
    metrics = {"sums": defaultdict(float, loss=1.0), "weights": defaultdict(float)}
    file = save(model=compiled, swa_model=averaged, config=CONFIG, running_metrics=metrics)
    found = read_network(file)
    assert found.swa is True
    same(found, network)
    found = read_network(file, swa=False)
    assert found.swa is False
    same(found, other)
    assert read_network(save(model=compiled, config=CONFIG)).swa is False
    assert isinstance(load_network(file, swa=False), Network)


def test_folders_zip_files_and_configurations_beside(tmp_path, save, network):
    file = save(model=state_of(network))
    with pytest.raises(ModelError, match="the checkpoint has no 'config'.*model.config.json"):
        read_network(tmp_path)
    (tmp_path / "model.config.json").write_text(json.dumps(CONFIG))
    same(read_network(tmp_path), network)
    archive = tmp_path / "kata1-b18.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.write(file, "kata1-b18/model.ckpt")
        stream.write(tmp_path / "model.config.json", "kata1-b18/model.config.json")
    same(read_network(archive), network)
    assert read_network(archive).description.name == "kata1-b18"
    (tmp_path / "model.config.json").write_text("{")
    with pytest.raises(ModelError, match=r"model.config.json: it is no JSON"):
        read_network(file)
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="expected a model.ckpt in the zip file"):
        read_network(archive)


def test_the_format_before_zip_files(tmp_path, network):
    file = tmp_path / "old.ckpt"
    content = {"model": state_of(network), "config": CONFIG}
    torch.save(content, file, _use_new_zipfile_serialization=False)
    same(read_network(file), network)


def test_a_second_kernel_of_one_point_is_added(save, network):
    state = state_of(network)
    key = "blocks.0.normactconv1.conv.weight"
    state[key.replace("conv.weight", "conv1x1.weight")] = torch.ones(8, 16, 1, 1)
    expected = network.weights[key].copy()
    expected[:, :, 1, 1] += 1
    found = read_network(save(model=state, config=CONFIG))
    np.testing.assert_allclose(found.weights[key], expected)


class Hostile:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["zip", "old", "pickle", "inside"])
def test_nothing_in_a_checkpoint_is_executed(tmp_path, kind):
    file, trap = tmp_path / "model.ckpt", tmp_path / "executed"
    if kind == "pickle":
        file.write_bytes(pickle.dumps(Hostile(trap)))
    else:
        content = {"model": {}, "config": {"version": 15, "extra": Hostile(trap)}}
        torch.save(content, file, _use_new_zipfile_serialization=kind != "old")
    if kind == "inside":
        with zipfile.ZipFile(tmp_path / "model.zip", "w") as stream:
            stream.write(file, "x/model.ckpt")
        file = tmp_path / "model.zip"
    with pytest.raises(ModelError) as caught:
        read_network(file)
    assert "\n" not in str(caught.value)
    assert "because it names posix.mkdir" in str(caught.value) or kind == "pickle"
    assert not trap.exists()


def test_damaged_checkpoints(tmp_path, save, network):
    whole = save(model=state_of(network), config=CONFIG).read_bytes()
    file = tmp_path / "cut.ckpt"
    for end in range(5, len(whole), len(whole) // 23):
        file.write_bytes(whole[:end])
        with pytest.raises(ModelError) as caught:
            read_network(file)
        assert "\n" not in str(caught.value)
    for content in ([1, 2], {"config": CONFIG}, {"model": {}, "config": CONFIG}, {"model": 3}):
        torch.save(content, file)
        with pytest.raises(ModelError):
            read_network(file)


WRONG = {
    "missing": ("policy_head.conv1p.weight", None, "has no such tensor"),
    "unknown": ("blocks.0.gate.weight", torch.ones(3), "this tensor has no place"),
    "rank": ("blocks.0.normactconv1.conv.weight", torch.ones(3), "expected a tensor with 4 axes"),
    "nan": ("conv_spatial.weight", torch.full((16, 22, 3, 3), torch.nan), "not all .* finite"),
    "width": ("blocks.1.normactconv1.norm.beta", torch.ones(3), "operands|shape|channels"),
    "vast": (
        "linear_global.weight",
        torch.ones(1, 1).expand(1 << 20, 1 << 20),
        "claims 1099511627776",
    ),
    "nowhere": ("linear_global.weight", torch.ones(16, 19, device="meta"), "is no plain tensor"),
    "mean": (
        "blocks.1.normactconv1.norm.running_mean",
        torch.ones(1),
        r"shape \[16\], found \[1\]",
    ),
    "gamma": ("blocks.1.normactconv1.norm.gamma", torch.ones(3), r"shape \[16\], found \[3\]"),
    "score": ("value_head.linear_miscvaluehead.bias", torch.ones(2), r"shape \[6\], found \[4\]"),
    "kernel": (
        "blocks.0.normactconv1.conv1x1.weight",
        torch.ones(1, 16, 1, 1),
        r"shape \[8, 16, 1, 1\]",
    ),
    "rows": ("policy_head.conv2p.weight", torch.ones(4, 8, 1, 1), "expected more than 5 policies"),
}


@pytest.mark.parametrize("case", WRONG)
def test_tensors_that_do_not_make_a_network(save, network, case):
    key, value, text = WRONG[case]
    state = state_of(network)
    if value is None:
        del state[key]
    else:
        state[key] = value
    with pytest.raises(ModelError, match=text) as caught:
        read_network(save(model=state, config=CONFIG))
    assert key.rpartition(".")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"activation": "mish_scale_8_hardcoded"}, "cannot be exported"),
        ({"version": "15"}, "expected a number for 'version', found '15'"),
        ({"version": 99}, "version: expected 3 to 17, found 99"),
        ({"norm_kind": "layer"}, "norms of kind 'layer' cannot be exported"),
        ({"extra": torch.ones(2)}, "configuration is no plain data"),
        ({"block_kind": 3}, "expected 'block_kind' of 3 blocks, found 3"),
        ({"block_kind": CONFIG["block_kind"][:2]}, "'block_kind' of 3 blocks, found 2"),
        (
            {"block_kind": [*CONFIG["block_kind"][:2], ["c", "dilatedbottlenest2"]]},
            "blocks.2: a block of kind 'dilatedbottlenest2' cannot be exported",
        ),
    ],
)
def test_configurations_that_cannot_be(save, network, change, text):
    with pytest.raises(ModelError, match=text):
        read_network(save(model=state_of(network), config=CONFIG | change))


@pytest.mark.parametrize("kind", ["attention", "attention-learned"])
def test_transformer_layers_between_convolutions(save, kind):
    """Frequencies are learned, or those of the base that the configuration says."""
    network = random_network(15, ("ordinary", kind, "feed-forward"), seed=7)
    state = state_of(network, fixed=False)
    if kind == "attention-learned":
        state["blocks.1.rope_freqs"] = state.pop("blocks.1.rope.frequencies")
    heads = {"transformer_heads": 2, "transformer_kv_heads": 1}
    kinds = [["a", "regular"], ["b", "attnrope"], ["c", "ffnsg"]]
    config = CONFIG | heads | {"norm_kind": "bnorm", "block_kind": kinds}
    same(read_network(save(model=state, config=config)), network)
    if kind == "attention":
        found = read_network(save(model=state, config=config | {"rope_theta": 50}))
        assert found.description.trunk.blocks[1].rope.theta == 50
        config["trunk_final_rmsnorm"] = config["trunk_rmsnorm_spatial"] = True
        with pytest.raises(ModelError, match="a norm over groups of channels"):
            read_network(save(model=state, config=config | {"rmsnorm_spatial_cgroup_size": 4}))


READ = """
import sys
from actx_core import ModelError
from actx_katago import read_network

def most():
    lines = open("/proc/self/status").read().splitlines()  # ru_maxrss begins with the parent's
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM:"))

for file in sys.argv[1:]:
    before = most()
    try:
        read_network(file)
    except ModelError as error:
        print(file, most() - before, error, sep="|")
"""


def test_hostile_checkpoints_take_no_memory(tmp_path):
    """Tensors that share their numbers, zeros that were packed, lengths and depths without end."""
    shared = torch.zeros(1 << 19, dtype=torch.float16)
    state = {str(i): shared.view(-1) for i in range(900)}
    torch.save({"model": {}, "config": {}}, tmp_path / "first.ckpt")
    torch.save({"model": state, "config": CONFIG}, tmp_path / "shared.ckpt")
    with zipfile.ZipFile(tmp_path / "first.ckpt") as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in (parts | {"first/data/0": bytes(100 << 20)}).items():
            packed.writestr(name, content)
    (tmp_path / "long.ckpt").write_bytes(b"\x80\x02\x8e" + (1 << 40).to_bytes(8, "little"))
    (tmp_path / "deep.ckpt").write_bytes(b"\x80\x02" + b"(" * 1_000_000)
    with zipfile.ZipFile(tmp_path / "inner.zip", "w") as outer:
        outer.write(tmp_path / "packed.ckpt", "inner/model.ckpt")
    names = [f"{name}.ckpt" for name in ("first", "shared", "packed", "long", "deep")]
    names.append("inner.zip")
    command = [sys.executable, "-c", READ, *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    said = [line.split("|") for line in done.stdout.splitlines()]
    assert [name for name, _, _ in said] == names, done.stderr
    taken = {name: int(megabytes) for name, megabytes, _ in said[1:]}  # the first one loads torch
    assert taken.pop("deep.ckpt") < 100  # a million lists of 56 bytes: the file has a million marks
    assert max(taken.values()) < 20
    assert "claims 524288 numbers: more than" in said[1][2]
    assert "unpack to more than" in said[2][2]
    assert "unpack to more than" in said[5][2]


def test_tensors_that_leave_out_zeros(save, network):
    """torch warns of them before they are refused."""
    state = state_of(network) | {"linear_global.weight": torch.ones(16, 19).to_sparse()}
    file = save(model=state, config=CONFIG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError, match="'linear_global.weight' is no plain tensor"):
            read_network(file)


def test_a_zip_file_of_two_networks(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as stream:
        stream.writestr("a/model.ckpt", b"one")
        stream.writestr("b/model.ckpt", b"two")
    with pytest.raises(ModelError, match="has more than one model.ckpt"):
        read_network(tmp_path / "two.zip")


def test_checkpoints_equal_the_exported_networks(data):
    files = sorted((data / "models").rglob("*.ckpt"))
    assert len(files) == 6
    for file in files:
        found, exported = read_network(file), read_network(file.with_suffix(".bin.gz"))
        assert found.description == exported.description
        for path, array in exported.weights.items():
            np.testing.assert_allclose(
                found.weights[path], array, rtol=0, atol=1.2e-7, err_msg=path
            )
