"""Take "this stone is in atari" out of a KataGo network's weights, and play the result against the original.

    python katago_ablate.py net.bin.gz rows.npz ablated.bin.gz --block 2 --engine katago

The direction is the linear discriminant, in the stream after a block, between the opponent's stones in atari
and the opponent's other stones in the rows of a training file. The weights lose it, and so does a copy with a
random direction, as a control; what is compared is how likely the policy captures. With an engine, the
original (Black) and the ablated network (White) then play each other in it.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from actx_core.torch import probe
from actx_katago import (
    Network,
    NetworkFile,
    load_weights,
    project_out,
    read_network,
    write_network,
)

SHRINKAGE = 0.1
"""How much of the mean variance is added to every direction: few stones are in atari."""


class Rows(NamedTuple):
    """Positions (N, 22, y, x) with globals (N, 19); stones in atari, other stones and captures (N, y, x)."""

    spatial: Tensor
    globals: Tensor
    atari: Tensor
    safe: Tensor
    captures: Tensor


def read_rows(path: Path) -> Rows:
    """The rows of a self-play or training file."""
    with np.load(path) as file:
        packed, globals_ = file["binaryInputNCHWPacked"], file["globalInputNC"]
        side = int((file["policyTargetsNCMove"].shape[2] - 1) ** 0.5)
    planes = np.unpackbits(packed, axis=2)[:, :, : side * side].reshape(len(packed), -1, side, side)
    on, own, opponent, one_liberty = (planes[:, i] > 0 for i in range(4))
    atari = opponent & one_liberty
    wide = np.pad(atari, ((0, 0), (1, 1), (1, 1)))
    beside = wide[:, :-2, 1:-1] | wide[:, 2:, 1:-1] | wide[:, 1:-1, :-2] | wide[:, 1:-1, 2:]
    arrays = (
        planes.astype(np.float32),
        globals_,
        atari,
        opponent & ~atari,
        beside & on & ~own & ~opponent,
    )
    return Rows(*map(torch.from_numpy, arrays))


def run(network: NetworkFile, rows: Rows, block: int) -> tuple[Tensor, Tensor]:
    """The stream after a block (N, y, x, channels), and the probabilities of moves (N, y · x + 1)."""
    module, tap = Network(network.description).eval(), f"trunk_after_block{block}"
    load_weights(module, network)
    streams, policies = [], []
    with torch.no_grad(), probe(module, [tap]) as passing:
        for spatial, globals_ in zip(rows.spatial.split(64), rows.globals.split(64), strict=True):
            streams.append(passing(spatial, globals_)[tap].permute(0, 2, 3, 1))
            policies.append(passing.result["policy"][:, 0].softmax(1))
    return torch.cat(streams), torch.cat(policies)


def discriminant(stream: Tensor, rows: Rows) -> np.ndarray:
    """The direction (channels,) that tells stones in atari from others best: Fisher's, shrunk."""
    groups = [stream[which].double() for which in (rows.atari, rows.safe)]
    means = [group.mean(0) for group in groups]
    centred = torch.cat([group - mean for group, mean in zip(groups, means, strict=True)])
    within = centred.T @ centred / len(centred)
    within += SHRINKAGE * within.diagonal().mean() * torch.eye(len(within))
    return np.asarray(torch.linalg.solve(within, means[0] - means[1]))


def captured(policy: Tensor, rows: Rows) -> float:
    """How likely a capture is, where there is one."""
    there = rows.captures.flatten(1).any(1)
    return float((policy[:, :-1] * rows.captures.flatten(1)).sum(1)[there].mean())


class Engine:
    """KataGo's engine with one network, spoken to in GTP."""

    def __init__(self, program: str, network: Path, settings: str, visits: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        config = Path(self._folder.name, "engine.cfg")
        config.write_text(
            f"logDir = {self._folder.name}\nlogAllGTPCommunication = false\nlogSearchInfo = false\n"
            f"rules = tromp-taylor\nmaxVisits = {visits}\nnumSearchThreads = 1\nnnRandomize = false\n"
        )
        command = [program, "gtp", "-model", str(network), "-config", str(config)]
        command += ["-override-config", settings] if settings else []
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, text=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def __call__(self, command: str) -> str:
        """Its answer to a command."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the process was started with pipes")
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        lines: list[str] = []
        while (line := self._process.stdout.readline()) and (line.strip() or not lines):
            lines += [line.strip()] if line.strip() else []
        if not lines or not lines[0].startswith("="):
            raise SystemExit(f"the engine answers '{command}' with {lines or 'nothing'}")
        return "\n".join([lines[0][1:].strip(), *lines[1:]])


def play(given: argparse.Namespace) -> None:
    """One game on 9 x 9: the original is Black, the ablated network White."""
    options = (given.settings, given.visits)
    with (
        Engine(given.engine, given.network, *options) as black,
        Engine(given.engine, given.out, *options) as white,
    ):
        moves: list[str] = []
        for player in (black, white):
            for command in ("boardsize 9", "komi 7", "clear_board"):
                player(command)
        while len(moves) < given.moves and moves[-2:] != ["pass", "pass"]:
            colour = "bw"[len(moves) % 2]
            mover, other = (black, white) if colour == "b" else (white, black)
            moves.append(mover(f"genmove {colour}").lower())
            if moves[-1] == "resign":
                break
            other(f"play {colour} {moves[-1]}")
        print("game:", " ".join(moves))
        print(black("showboard"))
        if moves[-1] != "resign":
            print("score:", black("final_score"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Take a direction out of a KataGo network.")
    parser.add_argument("network", type=Path, help="of version 8 or later")
    parser.add_argument("rows", type=Path, help="a self-play or training file, .npz")
    parser.add_argument("out", type=Path, help="the ablated network, .bin.gz")
    parser.add_argument("--block", type=int, default=0, help="up to which the stream loses it")
    parser.add_argument("--engine", help="KataGo's program")
    parser.add_argument("--settings", default="", help="for the engine: key=value,key=value")
    parser.add_argument("--visits", type=int, default=1, help="of the search for each move")
    parser.add_argument("--moves", type=int, default=100, help="after which the game is stopped")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    network, rows = read_network(given.network), read_rows(given.rows)
    stream, before = run(network, rows, given.block)
    direction = discriminant(stream, rows)
    chance = np.random.default_rng(0).standard_normal(len(direction))
    ablated = project_out(network, direction, given.block, name="without-atari")
    print(f"{int(rows.atari.sum())} stones in atari, {int(rows.safe.sum())} others")
    print(f"original: captures {captured(before, rows):.4f}")
    for name, changed in (
        ("ablated", ablated),
        ("random direction", project_out(network, chance, given.block)),
    ):
        _, after = run(changed, rows, given.block)
        same = float((after.argmax(1) == before.argmax(1)).double().mean())
        print(f"{name}: captures {captured(after, rows):.4f}, same best move {same:.1%}")
    write_network(ablated, given.out)
    print(f"wrote {given.out}")
    if given.engine:
        play(given)


if __name__ == "__main__":
    main()
