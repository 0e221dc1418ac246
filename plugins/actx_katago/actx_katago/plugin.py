"""What actx-katago offers; imported for listing, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actx_core import Component, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def actx_models() -> Iterator[Component]:
    yield Component(
        "katago",
        "actx_katago.model.katago:Katago",
        "Any KataGo network: .bin.gz, .txt.gz or .ckpt, versions 3 to 17.",
        config="actx_katago.model.config:KatagoConfig",
    )


@hookimpl
def actx_sources() -> Iterator[Component]:
    yield Component(
        "selfplay",
        "actx_katago.positions.selfplay_source:Selfplay",
        "Rows of KataGo's self-play and training files (.npz).",
        config="actx_katago.positions.config:SelfplayConfig",
    )
    yield Component(
        "sgf",
        "actx_katago.positions.sgf_source:Sgf",
        "Positions of Go games in SGF files.",
        config="actx_katago.positions.config:SgfConfig",
    )


@hookimpl
def actx_poolers() -> Iterator[Component]:
    yield Component(
        "at",
        "actx_katago.poolers:At",
        "The activation at one point of a board: the last move, or a given one.",
    )
    yield Component(
        "chains",
        "actx_katago.poolers:Chains",
        "The mean over each chain of stones: a row per chain.",
    )


@hookimpl
def actx_analyzers() -> Iterator[Component]:
    yield Component(
        "top-positions",
        "actx_katago.outputs.top_positions:TopPositions",
        "The positions of largest value of each channel or part: boards, a table, SGF files.",
        config="actx_katago.outputs.config:TopPositionsConfig",
    )


@hookimpl
def actx_formats() -> Iterator[Component]:
    yield Component(
        "katago-pooled",
        "actx_katago.outputs.pooled_format:KatagoPooled",
        "pooled_TAP.npy, pooled_meta.json and pos_index_to_npz.txt, as pooling scripts leave them.",
    )
    yield Component(
        "katago-sgf",
        "actx_katago.outputs.groups_format:KatagoSgf",
        "The positions of each cluster or part that analyses found, as SGF files with marks.",
    )


@hookimpl
def actx_commands() -> Iterator[Component]:
    yield Component(
        "katago",
        "actx_katago.commands:katago",
        "KataGo networks and positions: info, search, compare.",
    )
