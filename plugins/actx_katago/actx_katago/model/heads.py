"""What a network says of a position, as taps: the raw outputs, and what the engine reads in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch

from actx_core import Activation, Tap
from actx_katago.model.views import MOST_POINTS, Size, moves, on_board
from actx_katago.network.description import score_outputs
from actx_katago.network.outputs import Prediction, postprocess

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from actx_katago.network.description import Description

OUTPUTS = ("policy", "value", "score", "ownership")
"""The network's own results."""

NUMBERS = [f.name for f in fields(Prediction) if f.name not in ("policy", "ownership")]


def head_taps(
    description: Description, size: Size | None, dtype: str, prefix: str = ""
) -> list[Tap]:
    """The taps of one reading of the stream; without ``size``, boards vary."""
    y, x = size or (None, None)
    scores = score_outputs(description.version)
    policies = description.policy_head.conv2p.c_out
    kind, most = ("", None) if size else ("point", MOST_POINTS)
    length = size[0] * size[1] + 1 if size else 0
    plane: Any = {"kind": kind, "rows_at_most": most}
    taps = [
        moves(Tap("policy", ("sample", "channel", "move"), (policies, length)), size is not None),
        Tap("policy.board", ("sample", "channel", "y", "x"), (policies, y, x), **plane),
        Tap("policy.pass", ("sample", "channel"), (policies,)),
        Tap("value", ("sample", "outcome"), (3,)),
        Tap("score", ("sample", "output"), (scores,)),
        Tap("ownership", ("sample", "y", "x"), (y, x), **plane),
    ]
    taps += [Tap(f"prediction.{name}", ("sample",), ()) for name in _known(description, scores)]
    return [
        replace(tap, name=prefix + tap.name, dtype=tap.dtype if tap.problem else dtype)
        for tap in taps
    ]


def _known(description: Description, scores: int) -> list[str]:
    """The numbers of a Prediction that a network of this version says."""
    policy = torch.zeros(1, 1, 2)
    raw = {"policy": policy, "value": torch.zeros(1, 3), "score": torch.zeros(1, scores)}
    found = postprocess(
        {**raw, "ownership": policy}, description, torch.ones(1, 2, dtype=torch.bool)
    )
    return [name for name in NUMBERS if getattr(found, name) is not None]


def read_heads(
    outputs: Mapping[str, Tensor],
    wanted: Mapping[str, Tap],
    description: Description,
    board: np.ndarray,
    globals_: Tensor,
) -> Iterator[tuple[str, Activation]]:
    """(name, activation) of each wanted head, by its name without prefix.

    ``board`` (samples, y, x) is True on the board, ``globals_`` (samples, 19) are the network's inputs.
    """
    policy = outputs["policy"]
    size = board.shape[1:]
    found: dict[str, Any] = {name: outputs[name] for name in ("policy", "value", "score")}
    found["policy.board"] = torch.unflatten(policy[:, :, :-1], 2, size)
    found["policy.pass"] = policy[:, :, -1]
    found["ownership"] = outputs["ownership"][:, 0]
    if any(name.startswith("prediction.") for name in wanted):
        predicted = _predicted(outputs, description, globals_)
        found |= {f"prediction.{name}": getattr(predicted, name) for name in NUMBERS}
    for name, tap in wanted.items():
        yield name, on_board(found[name].to(getattr(torch, tap.dtype)), tap.axes, board)


def _predicted(
    outputs: Mapping[str, Tensor], description: Description, globals_: Tensor
) -> Prediction:
    """As the engine reads them: no result only under simple ko or territory scoring."""
    wide = {
        name: tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        for name, tensor in outputs.items()
    }
    policy = wide["policy"]
    legal = torch.ones_like(
        policy[:, 0], dtype=torch.bool
    )  # only for the policy, which is not taken
    no_result = (globals_[:, 6] == 0) | (globals_[:, 9] > 0)
    return postprocess(wide, description, legal, no_result=no_result.to(policy.device))
