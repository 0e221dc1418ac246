"""Directions taken out of the weights: the stream has none of them, files keep it, the example runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from actx_core import ModelError
from actx_katago import (
    load_network,
    project_out,
    random_network,
    read_network,
    write_network,
)
from actx_katago.network.random import KINDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "katago_ablate.py"


@pytest.fixture(scope="module")
def network():
    return random_network(17, KINDS, meta=True, seed=3)


@pytest.fixture(scope="module")
def direction():
    return np.random.default_rng(4).standard_normal(16)


def stream(file, folder):
    """The points of the stream of a network that was written and read, (N, channels, y, x) in float64."""
    path = folder / "network.bin.gz"
    write_network(file, path)
    module, seen = load_network(path).double(), {}
    names = ["trunk.embedding", *(f"trunk_after_block{i}" for i in range(len(KINDS)))]
    for name in names:
        module.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.setdefault(name, out)
        )
    generator = torch.Generator().manual_seed(0)
    spatial = (torch.rand(2, 22, 5, 6, generator=generator) < 0.3).double()
    spatial[:, 0] = 1
    spatial[1, :, 4:] = 0
    with torch.no_grad():
        module(spatial, *(torch.rand(2, n, generator=generator).double() for n in (19, 192)))
    return [seen[name] for name in names]


@pytest.mark.parametrize("after", [0, 3, None])
def test_the_stream_has_no_such_direction_up_to_the_block(tmp_path, network, direction, after):
    points = stream(project_out(network, direction, after), tmp_path)
    unit = torch.tensor(direction / np.linalg.norm(direction))
    last = len(KINDS) if after is None else after + 1
    for i, point in enumerate(points):
        along = torch.tensordot(unit, point, ([0], [1])).abs().max()
        assert (along < 1e-5) == (i <= last), (i, along)
    before = stream(network, tmp_path)[0]
    expected = before - torch.einsum("c,d,ndyx->ncyx", unit, unit, before)
    torch.testing.assert_close(points[0], expected, rtol=0, atol=1e-5)


def test_nothing_else_changes(network, direction):
    ablated = project_out(network, direction, 1, name="less")
    changed = {
        path for path in network.weights if ablated.weights[path] is not network.weights[path]
    }
    assert changed == {
        "conv_spatial.weight",
        "linear_global.weight",
        "metadata_encoder.linear_output_to_trunk.weight",
        "blocks.0.normactconv2.conv.weight",
        "blocks.1.normactconv2.conv.weight",
    }
    assert ablated.description.name == "less"
    again = project_out(network, -3 * direction, 1)
    for path in changed:
        np.testing.assert_allclose(again.weights[path], ablated.weights[path], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [np.ones(15), np.ones((16, 1)), np.zeros(16), np.full(16, np.nan)]
)
def test_directions_that_are_none(network, wrong):
    with pytest.raises(ModelError, match="expected a direction of 16 numbers"):
        project_out(network, wrong)


@pytest.mark.parametrize("after", [-1, len(KINDS)])
def test_blocks_that_are_not_there(network, direction, after):
    with pytest.raises(ModelError, match=f"expected a block from 0 to 5, found {after}"):
        project_out(network, direction, after)


def run_example(folder, *arguments):
    command = [sys.executable, EXAMPLE, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_without_an_engine(tmp_path, net, nine, write_rows):
    file = net(version=15, blocks=("ordinary", "nested"))
    write_rows(tmp_path / "rows.npz", nine, 11)
    said = run_example(tmp_path, file, "rows.npz", "ablated.bin.gz", "--block", 1)
    atari = sum(int((board.planes[2] & board.planes[3]).sum()) for board in nine)
    assert f"{atari} stones in atari" in said
    assert "random direction: captures 0." in said
    ablated, original = read_network(tmp_path / "ablated.bin.gz"), read_network(file)
    assert ablated.description.name == "without-atari"
    path = "blocks.1.normactconvq.conv.weight"
    lost = original.weights[path] - ablated.weights[path]
    assert np.linalg.matrix_rank(lost[:, :, 0, 0], tol=1e-4) == 1


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(os.environ.get("KATAGO_ENGINE", "")).is_file(),
    reason="KATAGO_ENGINE does not name KataGo's engine",
)
def test_the_example_plays_in_the_engine(tmp_path, net, nine, write_rows):
    write_rows(tmp_path / "rows.npz", nine, 9)
    settings = ("--settings", os.environ.get("KATAGO_OPTIONS", ""))
    engine = ("--engine", os.environ["KATAGO_ENGINE"], "--moves", 4, *settings)
    said = run_example(tmp_path, net(version=14), "rows.npz", "ablated.bin.gz", *engine)
    game = next(line for line in said.splitlines() if line.startswith("game: "))
    assert len(game.split()) == 5
    assert "score: " in said
