"""The average over the 8 symmetries, against one extraction for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actx_core import Sample, extract
from actx_core.poolers import Std
from actx_katago import load_network
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.symmetry import turn

Net = Callable[..., Path]
PLANE = ("y", "x")


def samples(boards: Sequence[Any]) -> list[Sample]:
    return [Sample(f"p{i}", board) for i, board in enumerate(boards)]


def katago(network: Path, **options: Any) -> Katago:
    return Katago(KatagoConfig(network=network, device="cpu", **{"batch_size": 4, **options}))


def turned(board: Inputs, symmetry: int) -> Inputs:
    return replace(board, planes=turn(board.planes, 1, 2, symmetry).copy())


@pytest.mark.parametrize(
    "options",
    [{"version": 15}, {"version": 17, "blocks": ("attention",)}],
    ids=["convolutions", "attention"],
)
def test_the_average_is_over_all_eight_symmetries(
    net: Net, mixed: list[Inputs], options: dict[str, Any]
):
    network = net(**options)
    boards = mixed[1:4]
    taps = ["trunk_after_block0", "ownership", "policy.board", "value", "policy.pass"]
    found = extract(katago(network, symmetry="average"), samples(boards), taps)
    expected = {tap: [] for tap in taps}
    for board in boards:
        ways = [told(network, turned(board, s), s) for s in range(8)]
        for tap in taps:
            expected[tap].append(np.mean([way[tap] for way in ways], axis=0))
    for tap in taps:
        means = np.concatenate(expected[tap])
        assert np.allclose(found[tap].reshape(means.shape), means, atol=2e-5), tap


def told(network: Path, board: Inputs, symmetry: int) -> dict[str, np.ndarray]:
    """What a network says of one turned board, turned back; a row per point in reading order, or one row."""
    module = load_network(network)
    streams = []
    module.trunk_after_block0.register_forward_hook(lambda *a: streams.append(a[2]))
    with torch.no_grad():
        out = module(torch.tensor(board.planes)[None].float(), torch.tensor(board.globals)[None])
    y, x = board.size
    planes = {
        "trunk_after_block0": streams[0][0],
        "ownership": out["ownership"][0],
        "policy.board": out["policy"][0, :, :-1].reshape(-1, y, x),
    }
    found = {"value": out["value"].numpy(), "policy.pass": out["policy"][:, :, -1].numpy()}
    for tap, plane in planes.items():
        plane = plane.numpy().swapaxes(1, 2) if symmetry & 4 else plane.numpy()
        plane = plane[:, :, ::-1] if symmetry & 2 else plane
        plane = plane[:, ::-1] if symmetry & 1 else plane
        found[tap] = np.moveaxis(plane, 0, -1).reshape(y * x, -1)
    return found


def test_the_average_of_a_policy_with_all_moves(net: Net, nine: list[Inputs]):
    found = extract(
        katago(net(), symmetry="average", board_size=9),
        samples(nine),
        ["policy", "policy.board", "policy.pass"],
    )
    apart = np.concatenate(
        [found["policy.board"].reshape(len(nine), 2, 81), found["policy.pass"][..., None]], 2
    )
    assert np.array_equal(found["policy"], apart)


def test_the_average_does_not_change_when_the_board_is_turned(net: Net, mixed: list[Inputs]):
    model = katago(net(), symmetry="average")
    boards = [turned(mixed[3], s) for s in range(8)]
    (found,) = extract(model, samples(boards), ["trunk.final"], [Std(over=PLANE)]).values()
    assert np.allclose(found, found[:1], atol=1e-5)
    (plain,) = extract(katago(net()), samples(boards), ["trunk.final"], [Std(over=PLANE)]).values()
    assert np.abs(plain - plain[:1]).max() > 1e-3
