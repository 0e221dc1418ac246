"""Names of taps: the stream and the residual are never confused, and a run says what an alias means."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from actx_core import Pipeline, open_run
from actx_core.cli.group import actx
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.model.taps import aliases
from actx_katago.positions.inputs import Inputs

Net = Callable[..., Path]


@pytest.mark.parametrize(
    ("alias", "tap"),
    [
        ("trunk_block_1", "trunk_after_block1"),
        ("trunk_block_1_output", "trunk_after_block1"),
        ("rconv2", "trunk_after_block1"),
        ("rconv2.out", "trunk_after_block1"),
        ("trunk_after_embedding", "trunk.embedding"),
        ("trunkfinal", "trunk.final"),
        ("model.blocks.1", "blocks.1"),
        ("rconv2.normactconvp.out", "blocks.1.normactconvp"),
        ("rconv2.blockstack.0.normactconv1.out", "blocks.1.blockstack.0.normactconv1"),
        ("output.policy", "policy"),
        ("output.ownership", "ownership"),
    ],
)
def test_other_names_of_taps(net: Net, alias: str, tap: str):
    model = Katago(KatagoConfig(network=net(version=15, blocks=("gpool", "nested"))))
    assert model.aliases()[alias] == tap
    assert tap in [known.name for known in model.taps()]


def test_attention_maps_have_katagos_names_too(net: Net):
    model = Katago(KatagoConfig(network=net(version=17, blocks=("gpool", "attention"))))
    assert model.aliases()["rconv2.attn_weights"] == "blocks.1.attn_weights"


def test_no_alias_hides_a_tap_or_means_none(net: Net):
    model = Katago(KatagoConfig(network=net(version=15, blocks=("nested", "gpool"))))
    names = [tap.name for tap in model.taps()]
    found = model.aliases()
    assert set(found.values()) <= set(names)
    assert not set(found) & set(names)
    assert list(found) == list(aliases(names))  # in one order


def test_stream_and_residual_are_two_tensors_and_the_run_says_which(
    tmp_path: Path, net: Net, nine: list[Inputs], write_rows: Callable[..., None]
):
    write_rows(tmp_path / "rows.npz", nine, 9)
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "device": "cpu"},
        "source": {"type": "selfplay", "path": str(tmp_path / "rows.npz"), "as": "rows"},
        "model": {
            "type": "katago",
            "network": str(net()),
            "as": "net",
            "taps": ["trunk_block_0", "rconv2.out", "blocks.1"],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
    }
    pipeline = Pipeline.from_dict(spec)
    list(pipeline.run())
    run = open_run(tmp_path / "run")
    assert run.arrays == [
        "rows/net/trunk_after_block0",
        "rows/net/blocks.1",
        "rows/net/trunk_after_block1",
    ]
    before, added, after = (run[name].numpy() for name in run.arrays)
    assert np.allclose(before + added, after, atol=1e-5)
    assert not np.allclose(added, after, atol=1e-2)
    told = json.dumps(json.loads((tmp_path / "run" / "plan.json").read_text()))
    for alias, tap in (
        ("trunk_block_0", "trunk_after_block0"),
        ("rconv2.out", "trunk_after_block1"),
    ):
        assert f"'{alias}' means the tap '{tap}'" in told
    assert "'blocks.1' means" not in told


def invoke(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(actx, [str(arg) for arg in args], prog_name="actx")
    return result.exit_code, result.output


def test_the_sentence_is_printed(net: Net):
    code, told = invoke("layers", net(), "--match", "trunk_block_1")
    assert code == 0, told
    assert "note: 'trunk_block_1' means the tap 'trunk_after_block1'" in told


def test_info_of_a_network(net: Net):
    network = net(version=15, blocks=("ordinary", "nested"), channels=24, meta=True)
    code, told = invoke("katago", "info", network, "--json")
    assert code == 0, told
    facts = json.loads(told)
    assert (facts["version"], facts["input_version"]) == (15, 7)
    assert (facts["n_spatial"], facts["n_global"], facts["n_meta"]) == (22, 19, 192)
    assert (facts["blocks"], facts["channels"]) == (2, 24)
    assert facts["taps"]["stream"] == [
        *("trunk.embedding", "trunk_after_block0", "trunk_after_block1", "trunk.final")
    ]
    assert "prediction.lead" in facts["taps"]["heads"]
    code, told = invoke("katago", "info", network)
    lines = dict(line.split("  ", 1) for line in told.splitlines())
    known = {name.strip(): value.strip() for name, value in lines.items()}
    assert known["version"] == "15, V7 inputs: 22 planes, 19 globals, 192 metadata"
    assert known["trunk"].startswith("2 blocks of 24 channels: ")
    assert known["sha256"] == facts["sha256"]
    assert len(known["sha256"]) == 64
    assert known["parameters"] == f"{facts['parameters']:,}"


def test_info_tells_the_parameters_of_the_module(net: Net):
    from actx_katago import load_network

    network = net(version=17, blocks=("attention", "feed-forward"), tip="spatial-rms")
    facts = json.loads(invoke("katago", "info", network, "--json")[1])
    counted = sum(p.numel() for p in load_network(network).state_dict().values())
    assert facts["parameters"] == counted
    assert facts["taps"]["attention"] == ["blocks.0.attn_weights"]


@pytest.mark.parametrize("content", [None, b"", b"no network at all"])
def test_info_refuses_what_is_no_network(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "net.bin.gz").write_bytes(content)
    code, told = invoke("katago", "info", tmp_path / "net.bin.gz")
    assert code == 5
    assert told.startswith(f"error: {tmp_path / 'net.bin.gz'}")
    assert len(told.splitlines()) == 1


def test_info_of_a_real_checkpoint_and_network(data: Path):
    facts = [
        json.loads(invoke("katago", "info", data / "models" / name, "--json")[1])
        for name in ("tiny-b6c48nbt.ckpt", "tiny-b6c48nbt.bin.gz")
    ]
    for key in ("version", "blocks", "channels", "block_kinds", "policies"):
        assert facts[0][key] == facts[1][key]
