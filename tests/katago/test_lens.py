"""The logit lens: tip and heads on any point of the stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from actx_core import extract
from actx_katago import load_network
from actx_katago.positions.inputs import Inputs
from tests.katago.plain import hooked, katago, samples

Net = Callable[..., Path]


@pytest.mark.parametrize("where", ["embedding", "0", "1"])
def test_the_lens_is_the_heads_on_the_stream(net: Net, mixed: list[Inputs], where: str):
    network = net(version=15)
    heads = ["policy.board", "policy.pass", "value", "score", "ownership", "prediction.lead"]
    found = extract(katago(network), samples(mixed[:3]), [f"lens.{where}.{h}" for h in heads])
    module = load_network(network)
    rows = []
    for board in mixed[:3]:
        stream = hooked(network, board)[
            "trunk.embedding" if where == "embedding" else f"trunk_after_block{where}"
        ]
        with torch.no_grad():
            rows.append(
                module.stream_to_outputs(
                    torch.tensor(stream)[None], torch.tensor(board.planes[None, :1])
                )
            )
    for head in ("value", "score"):
        assert np.allclose(
            found[f"lens.{where}.{head}"], torch.cat([r[head] for r in rows]), atol=1e-5
        )
    owned = np.concatenate([r["ownership"].numpy().reshape(-1) for r in rows])
    assert np.allclose(found[f"lens.{where}.ownership"], owned, atol=1e-5)
    policy = np.concatenate([r["policy"][0, :, :-1].numpy().T for r in rows])
    assert np.allclose(found[f"lens.{where}.policy.board"], policy, atol=1e-5)
    lead = torch.cat([r["score"][:, 2] for r in rows]).numpy() * 20
    none = [no_result(r["value"], board) for r, board in zip(rows, mixed)]
    assert np.allclose(
        found[f"lens.{where}.prediction.lead"], lead * (1 - np.array(none)), atol=1e-3
    )


def no_result(value: torch.Tensor, board: Inputs) -> float:
    possible = board.globals[6] == 0 or board.globals[9] > 0
    return float(value.softmax(1)[0, 2]) if possible else 0.0


def test_the_lens_behind_the_last_block_is_the_network(net: Net, mixed: list[Inputs]):
    heads = ["policy.board", "policy.pass", "value", "score", "ownership"]
    model = katago(net(version=15))
    found = extract(model, samples(mixed), [*heads, *(f"lens.1.{head}" for head in heads)])
    for head in heads:
        assert np.array_equal(found[head], found[f"lens.1.{head}"])


def test_the_lens_costs_nothing_unless_asked(
    net: Net, mixed: list[Inputs], monkeypatch: pytest.MonkeyPatch
):
    from actx_katago.network.module import Network

    monkeypatch.setattr(Network, "stream_to_outputs", None)
    found = extract(katago(net()), samples(mixed), ["trunk_after_block1", "value"], [])
    assert len(found["value"]) == len(mixed)
    with pytest.raises(TypeError):
        extract(katago(net()), samples(mixed), ["lens.0.value"])
