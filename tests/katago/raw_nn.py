"""What KataGo's engine prints of a position (``kata-raw-nn``), against what ``postprocess`` makes of it."""

from __future__ import annotations

import numpy as np
import torch

from actx_katago import postprocess

TOLERANCES = {"policy": 1e-5, "win": 1e-5, "ownership": 5e-5, "score": 1e-3}
SCORES = {
    "whiteScoreSelfplay": "score",
    "whiteLead": "lead",
    "varTimeLeft": "variance_time",
    "shorttermWinlossError": "shortterm_value_error",
    "shorttermScoreError": "shortterm_score_error",
}
UNSAID = -1.0
"""What the engine prints for a number that it does not take from networks of a version."""


def differences(told, out, description, rules, player, optimism=0):
    """The largest difference of each kind, from what is printed for the player to move ("w" or "b").

    ``out`` are a network's outputs for this one position, ``rules`` those of the game.
    """
    expected = np.append(np.array(told["policy"], float), told["policyPass"])
    legal = torch.tensor(~np.isnan(expected))[None]
    unfinished = rules["ko"] == "SIMPLE" or rules["scoring"] == "TERRITORY"
    said = postprocess(out, description, legal, optimism=optimism, no_result=unfinished)
    sign = 1 if player == "w" else -1
    chances = (said.win, said.loss) if player == "w" else (said.loss, said.win)
    found = [float(chance) for chance in (*chances, said.no_result)]
    printed = [told[what] for what in ("whiteWin", "whiteLoss", "noResult")]
    scores = [0.0]
    for what, attribute in SCORES.items():
        value = getattr(said, attribute)
        if value is not None and told[what] != UNSAID:
            value = float(value) * (sign if what.startswith("white") else 1)
            scores.append(abs(value - told[what]))
    return {
        "policy": float(np.abs(said.policy[0].numpy() - np.nan_to_num(expected)).max()),
        "win": float(np.abs(np.subtract(found, printed)).max()),
        "ownership": float(
            np.abs(sign * said.ownership[0, 0].numpy() - told["whiteOwnership"]).max()
        ),
        "score": max(scores),
    }


def check(found, at):
    """Within the tolerances: what the engine prints has six decimals, three for scores."""
    for kind, difference in found.items():
        assert difference < TOLERANCES[kind], (at, kind, difference)
