"""Seed 000 end to end: rows or records in, pooled activations, index and report out, killed or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from actx_core import Pipeline, open_run
from actx_core.cli.group import actx
from actx_katago import load_network
from actx_katago.go.position import Position
from actx_katago.positions.inputs import Inputs

NETWORKS = os.environ.get("KATAGO_NETWORKS", "")
TEN_BLOCKS = {"blocks": ("ordinary", "gpool") * 5, "channels": 8}

PIPELINE = """
actx = 1

[run]
out = "run"
batch_size = 256                  # --batch-size 256
device = "cpu"                    # --device

[source]
type = "selfplay"
path = "selfplay_out"             # --positions-dir

[model]
type = "katago"
layer_selection = "layer_selection.yml"

[[export]]
format = "katago-pooled"
path = "activations"
"""
SELECTION = """
chosen_layer: trunk_block_9
network_file: {network}
board_size: 9
pooling: mean
date: 2025-07-01
rationale: the middle of the trunk
"""


def by_hand(network: Path, files: list[Path], layer: str = "trunk_after_block9") -> np.ndarray:
    """The masked means of a layer over rows, with numpy and a plain hook: what the seed's script meant."""
    module = load_network(network)
    streams: list[torch.Tensor] = []
    module.get_submodule(layer).register_forward_hook(lambda *args: streams.append(args[2]))
    means = []
    for file in files:
        arrays = np.load(file)
        packed = arrays["binaryInputNCHWPacked"]
        side = int((arrays["policyTargetsNCMove"].shape[2] - 1) ** 0.5)
        planes = np.unpackbits(packed, axis=2)[:, :, : side * side].reshape(-1, 22, side, side)
        for start in range(0, len(planes), 64):
            x = torch.tensor(planes[start : start + 64]).float()
            with torch.inference_mode():
                module(x, torch.tensor(arrays["globalInputNC"][start : start + 64]))
            stream, mask = streams.pop(), x[:, :1]
            means.append(((stream * mask).sum((2, 3)) / mask.sum((2, 3))).numpy())
    return np.concatenate(means)


def run_seed(desk: Path, network: Path) -> np.ndarray:
    """The seed's command; the matrix that it leaves, once files and index are what they should be."""
    (desk / "layer_selection.yml").write_text(SELECTION.format(network=network))
    (desk / "pipeline.toml").write_text(PIPELINE)
    done = CliRunner().invoke(actx, ["run", str(desk / "pipeline.toml")])
    assert done.exit_code == 0, done.output
    matrix: np.ndarray = np.load(desk / "activations" / "pooled_trunk_block_9.npy")
    index = (desk / "activations" / "pos_index_to_npz.txt").read_text().splitlines()
    meta = json.loads((desk / "activations" / "pooled_meta.json").read_text())
    assert len(index) == len(matrix) == meta["positions"]
    assert (meta["batch_size"], meta["pooled_channels"]) == (256, matrix.shape[1])
    assert (desk / "run" / "report.html").stat().st_size > 1000
    return matrix


def test_the_seed_on_rows_that_are_made_here(
    tmp_path: Path, net: Callable[..., Path], nine: list[Inputs], write_rows: Callable[..., Any]
):
    (tmp_path / "selfplay_out").mkdir()
    files = [tmp_path / "selfplay_out" / f"{name}.npz" for name in ("a", "b")]
    write_rows(files[0], nine[:7], 9)
    write_rows(files[1], nine[7:], 19)  # small boards in a large tensor
    matrix = run_seed(tmp_path, net(**TEN_BLOCKS))
    expected = by_hand(net(**TEN_BLOCKS), files)
    assert np.abs(matrix - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.timeout(600)
def test_the_seed_on_real_rows(tmp_path: Path, data: Path, net: Callable[..., Path]):
    """With a real network of 18 blocks where KATAGO_NETWORKS has one, else with random weights."""
    rows = sorted((data / "selfplay" / "selfplay_9x9_g170b6").rglob("*.npz"))
    real = sorted(Path(NETWORKS).glob("*b18c384nbt*")) if NETWORKS else []
    network = real[0] if real else net(**TEN_BLOCKS)
    (tmp_path / "selfplay_out").symlink_to(rows[0].parent)
    matrix = run_seed(tmp_path, network)
    assert matrix.shape == (1148, 384 if real else 8)
    first = by_hand(network, rows[:1])
    found = matrix[: len(first)]
    assert np.abs(found - first).max() <= 1e-4 * np.abs(first).max()


@pytest.fixture
def records(tmp_path: Path, play: Callable[..., list[Position]], sgf: Callable[..., str]) -> Path:
    (tmp_path / "games").mkdir()
    for n, (side, moves) in enumerate([(9, 20), (13, 16), (7, 12)]):
        text = sgf(play(side, side, moves, n), KM="6.5", RU="chinese")
        (tmp_path / "games" / f"g{n}.sgf").write_text(text)
    return tmp_path / "games"


def of_records(out: Path, records: Path, network: Path) -> dict[str, Any]:
    return {
        "actx": 1,
        "run": {"out": str(out), "batch_size": 4, "shard_size": 8, "device": "cpu"},
        "source": {"type": "sgf", "path": str(records), "every": 2, "as": "games"},
        "model": {
            "type": "katago",
            "network": str(network),
            "as": "net",
            "taps": ["trunk_block_1", "value"],
            "tap": [{"match": ["trunk.final"], "pool": [{"type": "chains"}]}],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
        "executor": {"type": "serial"},
    }


KILLED = """
import json, os, signal, sys
from actx_core import Pipeline
for receipts, _ in enumerate(Pipeline.from_dict(json.loads(sys.argv[1])).run(), 1):
    if receipts == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def stored(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Each array's bytes, and the table of its rows."""
    run = open_run(folder)
    found = {}
    for name in run.arrays:
        table = run[name].rows.to_pylist()
        found[name] = (run[name].numpy().tobytes(), repr(table))
    return found


def test_records_run_to_the_report_and_a_kill_changes_nothing(
    tmp_path: Path, records: Path, net: Callable[..., Path]
):
    whole = of_records(tmp_path / "whole", records, net())
    list(Pipeline.from_dict(whole).run())
    killed = of_records(tmp_path / "killed", records, net())
    code = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(killed)], check=False
    ).returncode
    assert code == -9
    assert not (tmp_path / "killed" / "report.html").exists()
    list(Pipeline.from_dict(killed).run())
    assert stored(tmp_path / "killed") == stored(tmp_path / "whole")
    assert set(stored(tmp_path / "whole")) == {
        *("games/net/trunk_after_block1", "games/net/value", "games/net/trunk.final")
    }
    run = open_run(tmp_path / "killed")
    assert run["games/net/trunk_after_block1"].shape == (11 + 9 + 7, 16)
    chains = run["games/net/trunk.final"].rows.to_pylist()
    assert {"colour", "size", "liberties", "y", "x"} <= chains[0].keys()
    assert (tmp_path / "killed" / "report.html").stat().st_size > 1000
