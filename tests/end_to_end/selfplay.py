"""Self-play rows on 9 x 9 with a network: generated ones, and real ones if they are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("actx_katago", reason="needs the plugin actx-katago")

from actx_katago import random_network, write_network
from actx_katago.go.features import features_v7
from actx_katago.go.position import Position

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "katago"


def generate(folder: Path) -> None:
    """Rows of four random games on 9 x 9, as the engine writes them, and a random network."""
    write_network(random_network(), folder / "net.bin.gz")
    rng, rows = np.random.default_rng(0), []
    for game in range(4):
        position = Position.start(9, 9)
        for turn in range(20):
            rows.append((game, turn, *features_v7(position)))
            legal = [p for p in range(81) if position.legal(p)]
            position = position.play(int(rng.choice(legal)))
    n = len(rows)
    targets, policy = np.zeros((n, 80), np.float32), np.zeros((n, 2, 82), np.int16)
    targets[:, 41:47] = [[row[0] + 1] * 6 for row in rows]
    targets[:, 51] = [row[1] for row in rows]
    targets[:, [25, 63]], policy[..., -1] = (1, 3), 1
    (folder / "selfplay_out").mkdir()
    np.savez_compressed(
        folder / "selfplay_out" / "games.npz",
        binaryInputNCHWPacked=np.packbits(
            np.stack([row[2] for row in rows]).reshape(n, 22, 81), axis=2
        ),
        globalInputNC=np.stack([row[3] for row in rows]),
        policyTargetsNCMove=policy,
        globalTargetsNC=targets,
    )


def real(folder: Path) -> None:
    """Real rows on 9 x 9, and the network whose games they are from."""
    rows = REAL / "selfplay" / "selfplay_9x9_g170b6"
    if not rows.is_dir():
        pytest.skip("needs KataGo's reference data, which is not part of the project")
    (folder / "selfplay_out").symlink_to(rows)
    network = next((REAL / "models").glob("g170-b6c96*.bin.gz"))
    (folder / "net.bin.gz").symlink_to(network)


DATA: dict[str, Callable[[Path], None]] = {"generated": generate, "real": real}
"""Writes ``selfplay_out`` and ``net.bin.gz`` into a folder."""
