"""What tests of the model share: samples, a model, and every tensor of a network by plain hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from actx_core import Sample
from actx_katago import load_network
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.positions.inputs import Inputs


def samples(boards: Sequence[Any]) -> list[Sample]:
    return [Sample(f"p{i}", board) for i, board in enumerate(boards)]


def katago(network: Path, **options: Any) -> Katago:
    return Katago(KatagoConfig(network=network, device="cpu", **{"batch_size": 4, **options}))


def padded(board: Inputs, side: int) -> Inputs:
    """The same position in a larger tensor."""
    planes = np.zeros((22, side, side), bool)
    planes[:, : board.size[0], : board.size[1]] = board.planes
    return replace(board, planes=planes)


def hooked(network: Path, board: Inputs, side: int = 0) -> dict[str, np.ndarray]:
    """Every tensor that a module gives for one position, by plain hooks; and the outputs."""
    found = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, args, result: found.__setitem__(name, result)

    module = load_network(network)
    for name, child in module.named_modules():
        child.register_forward_hook(keep(name))
    seen = padded(board, side) if side else board
    meta = None if board.meta is None else torch.tensor(board.meta)[None]
    with torch.no_grad():
        planes, globals_ = (
            torch.tensor(seen.planes)[None].float(),
            torch.tensor(board.globals)[None],
        )
        found.update(module(planes, globals_, meta))
    return {name: t[0].numpy() for name, t in found.items() if isinstance(t, torch.Tensor)}
