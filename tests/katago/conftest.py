"""Positions of random games on boards of several sizes, training files made of them, and small networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actx_katago import random_network, write_network
from actx_katago.go.board import PASS
from actx_katago.go.features import features_v7
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules
from actx_katago.positions.inputs import Inputs

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "katago"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors are not worth several threads, least of all where tests run beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data() -> Path:
    """Real networks, self-play files and the outputs of KataGo's engine."""
    if not DATA.is_dir():
        pytest.skip("needs KataGo's reference data, which is not part of the project")
    return DATA


def play(y: int, x: int, moves: int, seed: int = 0, rules: Rules | None = None) -> list[Position]:
    """The positions of a random game without passes."""
    rng = np.random.default_rng(seed)
    positions = [Position.start(x, y, rules)]
    while len(positions) <= moves:
        now = positions[-1]
        legal = [p for p in range(y * x) if now.legal(p) and not now.board.suicide(p, now.to_move)]
        positions.append(now.play(int(rng.choice(legal)) if legal else PASS))
    return positions


def inputs_of(position: Position) -> Inputs:
    planes, globals_ = features_v7(position)
    moved = np.argwhere(planes[9])
    last = (int(moved[0, 0]), int(moved[0, 1])) if len(moved) else None
    return Inputs(planes, globals_, last=last)


@pytest.fixture(scope="session", name="play")
def _play() -> Callable[..., list[Position]]:
    return play


@pytest.fixture(scope="session", name="inputs_of")
def _inputs_of() -> Callable[[Position], Inputs]:
    return inputs_of


@pytest.fixture(scope="session")
def mixed() -> list[Inputs]:
    """Positions on boards of four sizes, one of them wider than high, in no order; the first is empty."""
    games = [play(9, 9, 40, 1), play(7, 7, 20, 2), play(8, 5, 25, 3), play(13, 13, 60, 4)]
    picked = [(0, 0), (1, 12), (3, 30), (2, 24), (0, 17), (1, 20), (0, 40), (3, 60), (2, 1)]
    return [inputs_of(games[game][turn]) for game, turn in picked]


@pytest.fixture(scope="session")
def nine() -> list[Inputs]:
    """Positions of one game on 9 x 9."""
    return [inputs_of(position) for position in play(9, 9, 30, 5)[::3]]


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A small network in a file; the arguments are those of ``random_network``."""
    folder = tmp_path_factory.mktemp("networks")
    made: dict[str, Path] = {}

    def make(**options: Any) -> Path:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = folder / f"net{len(made)}.bin.gz"
            write_network(random_network(**options), made[key])
        return made[key]

    return make


@pytest.fixture
def write_rows() -> Callable[..., None]:
    """Write positions as KataGo's engine writes training rows, in square tensors."""
    return save_rows


def save_rows(
    path: Path, boards: Sequence[Inputs], side: int, *, meta: bool = False, **changes: Any
) -> dict[str, np.ndarray]:
    """``changes`` replace arrays; the arrays are returned."""
    n = len(boards)
    planes = np.zeros((n, 22, side, side), bool)
    targets = np.zeros((n, 80), np.float32)
    policy = np.zeros((n, 2, side * side + 1), np.int16)
    values = np.zeros((n, 5, side, side), np.int8)
    rng = np.random.default_rng(0)
    for i, board in enumerate(boards):
        y, x = board.size
        planes[i, :, :y, :x] = board.planes
        empty = np.argwhere(board.planes[0] & ~board.planes[1] & ~board.planes[2])
        for at in empty[rng.choice(len(empty), 3, replace=False)]:
            policy[i, 0, at[0] * side + at[1]] = rng.integers(1, 50)
        policy[i, 0, -1] = 7
        values[i, 0, :y, :x] = rng.choice([-1, 0, 1], (y, x))
        targets[i, [0, 20, 21, 25, 26, 27, 29]] = [i % 2, i - 2.5, i / 4, 1, 1, 1, i % 2]
        targets[i, 41:47] = rng.integers(0, 1 << 20, 6)
        targets[i, [51, 60, 63]] = [i, 100 + i, 3]
    arrays = {
        "binaryInputNCHWPacked": np.packbits(planes.reshape(n, 22, side * side), axis=2),
        "globalInputNC": np.stack([board.globals for board in boards]),
        "policyTargetsNCMove": policy,
        "globalTargetsNC": targets,
        "valueTargetsNCHW": values,
    }
    if meta:
        arrays["metadataInputNC"] = rng.random((n, 192), np.float32)
    arrays |= changes
    np.savez_compressed(path, **arrays)
    return arrays


@pytest.fixture
def sgf() -> Callable[..., str]:
    """The record of a position: ``sgf(position, KM="6.5")``."""
    return record


def record(positions: Sequence[Position], **properties: str) -> str:
    """A game as SGF, from its positions."""
    g = positions[0].board.grid
    head = {"SZ": f"{g.width}:{g.height}" if g.width != g.height else str(g.width), **properties}
    text = "(;FF[4]GM[1]" + "".join(f"{k}[{v}]" for k, v in head.items())
    for now in positions[1:]:
        colour, point = now.moves[-1]
        y, x = divmod(point, g.width)
        text += f";{'.BW'[colour]}[{'' if point == PASS else chr(97 + x) + chr(97 + y)}]"
    return text + ")"
