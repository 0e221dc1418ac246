"""The variants of a position that a source gives: symmetries and counterfactual inputs, as replicates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from actx_katago.go.features import set_komi
from actx_katago.positions.config import Komi, PositionsConfig
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.symmetry import COUNT, turn, turn_point


@dataclass(frozen=True)
class Variant:
    """One way to show a position: counterfactual first, then turned; ``columns`` say what was done."""

    replicate: int
    symmetry: int
    komi: float | None
    columns: dict[str, int | float]


def variants(config: PositionsConfig) -> list[Variant]:
    """All replicates of each position, in order: for each komi, each symmetry."""
    asked, counterfactual = config.symmetry, config.counterfactual
    symmetries = range(COUNT) if asked == "all" else [asked]
    komis = counterfactual.komi if isinstance(counterfactual, Komi) else [None]
    found: list[Variant] = []
    for komi in komis:
        for symmetry in symmetries:
            columns: dict[str, int | float] = {"symmetry": symmetry} if asked else {}
            if komi is not None:
                columns["komi_shown"] = komi
            found.append(Variant(len(found), symmetry, komi, columns))
    return found


def changed(inputs: Inputs, config: PositionsConfig, variant: Variant) -> Inputs:
    """The position as the network is to see it in this variant; ``last`` and ``points`` stay true."""
    planes, globals_ = inputs.planes, inputs.globals
    if config.counterfactual == "zero_global":
        globals_ = np.zeros_like(globals_)
    elif config.counterfactual == "history_off":
        planes, globals_ = planes.copy(), globals_.copy()
        planes[9:14], globals_[:5] = False, 0
        globals_[14] = 0  # that a pass would end the phase is known from the past alone
        planes[15], planes[16] = planes[14], planes[14]  # as KataGo does where history is short
    elif variant.komi is not None:
        globals_ = globals_.copy()
        y, x = inputs.size
        area_counts = bool(globals_[9] == 0 or globals_[13] > 0)
        set_komi(globals_, variant.komi, y * x, area_counts)
    symmetry = variant.symmetry
    return replace(
        inputs,
        planes=turn(planes, 1, 2, symmetry),
        globals=globals_,
        last=inputs.last and turn_point(*inputs.last, inputs.size, symmetry),
        points={name: turn(values, 0, 1, symmetry) for name, values in inputs.points.items()},
    )
