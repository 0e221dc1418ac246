"""From a network's raw outputs to probabilities, points and moves, as KataGo's engine reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from actx_core import ModelError
from actx_katago.network.description import Description, Multipliers


@dataclass(frozen=True)
class Prediction:
    """What a network says of N positions, for the player to move; scores in points.

    ``policy`` (N, y · x + 1) sums to 1 over the legal moves, the pass last. ``ownership`` is (N, 1, y, x).
    All others are (N,): ``win``, ``loss`` and ``no_result`` sum to 1; ``score`` is the mean final score of
    self-play and ``score_stdev`` its deviation, ``lead`` the points that make the game even,
    ``variance_time`` the moves until the outcome is clear, the short-term errors what the next moves are
    expected to change. None is what networks of that version do not say.
    """

    policy: Tensor
    win: Tensor
    loss: Tensor
    no_result: Tensor
    score: Tensor | None
    score_stdev: Tensor | None
    lead: Tensor | None
    variance_time: Tensor | None
    shortterm_value_error: Tensor | None
    shortterm_score_error: Tensor | None
    ownership: Tensor


def postprocess(
    outputs: Mapping[str, Tensor],
    description: Description,
    legal: Tensor,
    *,
    optimism: float = 0.0,
    no_result: Tensor | bool = False,
) -> Prediction:
    """Read the outputs of ``Network`` as the engine does.

    ``legal`` (N, y · x + 1) is True for legal moves, the pass last. ``optimism`` mixes the second policy
    (version 12 on) into the first. ``no_result`` (N,) says where a game may end without one: under
    simple ko, or territory scoring; elsewhere that outcome has probability 0.
    """
    policy, value, raw = outputs["policy"], outputs["value"], outputs["score"]
    if legal.shape != (policy.shape[0], policy.shape[2]) or not legal.any(1).all():
        raise ModelError(
            f"expected at least one legal move in each row of shape {[policy.shape[0], policy.shape[2]]},"
            f" found shape {list(legal.shape)}"
        )
    logits = policy[:, 0]
    if optimism and policy.shape[1] > 1:
        logits = logits + (policy[:, 1] - logits) * optimism
    possible = torch.as_tensor(no_result, device=value.device).expand(value.shape[0])
    if description.version == 3:  # which counts that outcome under all rules
        possible = torch.ones_like(possible)
    blocked = torch.zeros_like(value, dtype=torch.bool)
    blocked[:, 2] = ~possible
    win, loss, none = value.masked_fill(blocked, -torch.inf).softmax(1).unbind(1)
    scores = _scores(raw, description.version, description.multipliers)
    counts = 1 - none
    return Prediction(
        policy=logits.masked_fill(~legal, -torch.inf).softmax(1),
        win=win,
        loss=loss,
        no_result=none,
        score=_times(scores.get("score"), counts),
        score_stdev=scores.get("score_stdev"),
        lead=_times(scores.get("lead"), counts),
        variance_time=scores.get("variance_time"),
        shortterm_value_error=scores.get("shortterm_value_error"),
        shortterm_score_error=scores.get("shortterm_score_error"),
        ownership=outputs["ownership"],
    )


def _times(values: Tensor | None, factor: Tensor) -> Tensor | None:
    return None if values is None else values * factor


def _scores(raw: Tensor, version: int, scale: Multipliers) -> dict[str, Tensor]:
    """The raw score outputs in points; nothing for version 3, which only says who wins by how much."""
    if version == 3:
        return {}
    columns = raw.unbind(1)
    found = {
        "score": columns[0] * scale.score_mean,
        "score_stdev": softplus(columns[1]) * scale.score_stdev,
    }
    if version < 8:
        return found
    found["lead"] = columns[2] * scale.lead
    found["variance_time"] = softplus(columns[3]) * scale.variance_time
    if version >= 9:
        errors = (scale.shortterm_value_error, scale.shortterm_score_error)
        found["shortterm_value_error"] = _error(columns[4], version, errors[0], 1)
        found["shortterm_score_error"] = _error(columns[5], version, errors[1], 10)
    return found


def _error(raw: Tensor, version: int, scale: float, old_scale: float) -> Tensor:
    """An error of the next few moves, of which networks from version 10 on give the square."""
    if version >= 14:
        return (softplus(raw / 2).square() * scale).sqrt()
    return (softplus(raw) * scale).sqrt() if version >= 10 else softplus(raw) * old_scale
