"""Finished runs of a small network on rows of three games, for what is made of stored activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import Pipeline, Run, open_run
from actx_katago.go.position import Position
from actx_katago.positions.inputs import Inputs

MEAN = {"type": "mean", "over": ["y", "x"]}
Rows = Sequence[tuple[Position, int]]
"""(position, number of its game)."""


@pytest.fixture(scope="session")
def games(play: Callable[..., list[Position]]) -> list[list[Position]]:
    """Every third position of three games on 9 x 9."""
    return [play(9, 9, 30, seed)[::3] for seed in (11, 12, 13)]


@pytest.fixture(scope="session")
def write_games(inputs_of: Callable[[Position], Inputs]) -> Callable[[Path, Rows, int], None]:
    """Write positions as a training file: rows know their game and turn."""

    def write(path: Path, rows: Rows, side: int = 9) -> None:
        n = len(rows)
        planes, targets = np.zeros((n, 22, side, side), bool), np.zeros((n, 80), np.float32)
        boards = [inputs_of(position) for position, _ in rows]
        for i, (board, (position, game)) in enumerate(zip(boards, rows, strict=True)):
            planes[i, :, : board.size[0], : board.size[1]] = board.planes
            targets[i, 41:47] = game + 1
            targets[i, [25, 51, 63]] = [1, position.turn, 3]
        policy = np.zeros((n, 2, side * side + 1), np.int16)
        policy[:, :, -1] = 1
        np.savez_compressed(
            path,
            binaryInputNCHWPacked=np.packbits(planes.reshape(n, 22, side * side), axis=2),
            globalInputNC=np.stack([board.globals for board in boards]),
            policyTargetsNCMove=policy,
            globalTargetsNC=targets,
        )

    return write


@pytest.fixture(scope="session")
def corpus(
    tmp_path_factory: pytest.TempPathFactory,
    games: list[list[Position]],
    write_games: Callable[..., None],
) -> Path:
    """A folder of two files with the rows of three games: the first game in one, two in the other."""
    folder = tmp_path_factory.mktemp("corpus") / "selfplay_out"
    (folder / "more").mkdir(parents=True)
    write_games(folder / "a.npz", [(p, 0) for p in games[0]])
    write_games(folder / "more" / "b.npz", [(p, i) for i in (1, 2) for p in games[i]])
    return folder


@pytest.fixture(scope="session")
def run_of(
    tmp_path_factory: pytest.TempPathFactory, corpus: Path, net: Callable[..., Path]
) -> Callable[..., Run]:
    """Run a pipeline on the corpus; arguments change its parts. The same arguments give the same run."""
    made: dict[str, Path] = {}

    def run(
        taps: Sequence[str] = ("trunk_after_block1",),
        pool: Sequence[dict[str, Any]] = (MEAN,),
        *,
        source: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
        **parts: Any,
    ) -> Run:
        given = {
            "actx": 1,
            "source": {"type": "selfplay", "path": str(corpus), "as": "rows", **(source or {})},
            "model": {
                "type": "katago",
                "network": str(net()),
                "as": "net",
                "board_size": 9,
                "tap": [
                    {"match": [tap], "pool": list(pool) if tap.startswith("trunk") else []}
                    for tap in taps
                ],
                **(model or {}),
            },
            **parts,
        }
        key = repr(given)
        if key not in made:
            out = tmp_path_factory.mktemp("runs") / "run"
            options = {"out": str(out), "batch_size": 8, "shard_size": 12, "device": "cpu"}
            list(Pipeline.from_dict({"run": options, **given}).run())
            made[key] = out
        return open_run(made[key])

    return run
