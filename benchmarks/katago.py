"""What actx costs beside a KataGo network: rows and records in, against bare passes of the same module.

Needs ``KATAGO_NETWORKS``, a folder with kata1-b18c384nbt, and KataGo's reference data beside the checkout.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from common import Row, compare, finish, ratio_rows

from actx_core import Activation, Pipeline, Sample
from actx_core.poolers import Mean
from actx_katago import Network, load_network
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.positions.config import SelfplayConfig, SgfConfig
from actx_katago.positions.selfplay_source import Selfplay
from actx_katago.positions.sgf_source import Sgf

DATA = Path(__file__).parents[2] / "shared" / "data" / "katago"
ROWS = DATA / "selfplay" / "selfplay_9x9_g170b6"
GAMES = DATA / "reference" / "game[34]_19x19.sgf"
TAP = "trunk_after_block9"
AXES = ("sample", "channel", "y", "x")
LIMIT = 1 / 0.95


class Reached(Exception):
    """The tap has its value: the rest of the network is not run."""


def run_actx(folder: Path, network: Path, source: dict[str, str], batch: int, samples: int) -> None:
    """A whole run from nothing: plan, decode, extract, pool, write, verify, join."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        spec = {
            "actx": 1,
            "run": {"out": f"{out}/run", "device": "cpu", "batch_size": batch},
            "source": {**source, "limit": samples},
            "model": {"type": "katago", "network": str(network), "taps": [TAP]},
            "pool": {"type": "mean", "over": ["y", "x"]},
            "executor": {"type": "serial"},
        }
        for _ in Pipeline.from_dict(spec).run():
            pass


@cache
def truncated(network: Path) -> Network:
    """The network, which ends at the tap."""

    def stop(*_: object) -> None:
        raise Reached

    module = load_network(network)
    module.get_submodule(TAP).register_forward_hook(stop)
    return module


def run_bare(folder: Path, network: Path, batch: int, samples: int) -> None:
    """The same passes over inputs that are ready, keeping nothing."""
    module = truncated(network)
    planes, globals_ = (np.load(folder / f"{name}.npy") for name in ("planes", "globals"))
    with torch.inference_mode():
        for start in range(0, samples, batch):
            inputs = (torch.from_numpy(a[start : start + batch]) for a in (planes, globals_))
            try:
                module(*inputs)
            except Reached:
                continue


def save_inputs(folder: Path, model: Katago, samples: list[Sample]) -> None:
    planes, globals_ = model.prepare(loaded(samples)).inputs
    np.save(folder / "planes.npy", planes.numpy())
    np.save(folder / "globals.npy", globals_.numpy())


def loaded(samples: list[Sample]) -> list[Sample]:
    return [Sample(sample.id, sample.load()) for sample in samples]


def median_ms(work: Callable[[], object], samples: int, repeats: int = 5) -> float:
    """Milliseconds of CPU for one sample, which is wall time where one thread works on a quiet core."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times) / samples


def decode_and_pool(model: Katago) -> float:
    """Milliseconds of one row for all but the network: list, read, check, prepare, pool."""

    def work() -> None:
        listed = list(Selfplay(SelfplayConfig(path=ROWS)).listing())[:1024]
        for start in range(0, 1024, 256):
            batch = model.prepare(loaded(listed[start : start + 256]))
            Mean(over=("y", "x"))(Activation(stream, AXES), batch)

    stream = torch.rand(256, 384, 9, 9)
    return median_ms(work, 1024)


def featurise() -> tuple[float, int]:
    """Milliseconds of one position of whole 19 x 19 games, one after the other, on one core."""

    def work() -> None:
        for sample in Sgf(SgfConfig(path=GAMES)).listing():
            sample.load()

    positions = len(Sgf(SgfConfig(path=GAMES)).listing())
    return median_ms(work, positions, 3), positions


def main() -> int:
    found = sorted(Path(os.environ.get("KATAGO_NETWORKS", "-")).glob("*b18c384nbt*"))
    if not found or not ROWS.is_dir():
        missing = "KATAGO_NETWORKS names no folder with b18c384nbt" if not found else f"no {ROWS}"
        print(f"katago: skipped: {missing}")
        return 0
    network = found[0]
    model = Katago(KatagoConfig(network=network))
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name:
        folder = Path(name)
        save_inputs(folder, model, list(Selfplay(SelfplayConfig(path=ROWS)).listing())[:768])
        rows = {"type": "selfplay", "path": str(ROWS)}
        of_rows = compare(
            partial(run_actx, folder, network, rows, 256),
            partial(run_bare, folder, network, 256),
            few=256,
            many=768,
            repeats=3,
        )
        save_inputs(folder, model, list(Sgf(SgfConfig(path=GAMES)).listing())[:96])
        games = {"type": "sgf", "path": str(GAMES), "as": "games"}
        of_games = compare(
            partial(run_actx, folder, network, games, 16),
            partial(run_bare, folder, network, 16),
            few=16,
            many=96,
            repeats=3,
        )
    share = 100 * decode_and_pool(model) / (1e3 * of_rows.bare.cpu)
    each, positions = featurise()
    table = [
        *ratio_rows(of_rows, LIMIT),
        Row("decoding and pooling of the bare pass", share, 5, "%"),
        Row("SGF features of one position", each, 1e3 / 300, "ms", f"{positions} of whole games"),
        *(
            Row(f"19x19 records: {row.name}", row.value, row.limit, row.unit, row.note)
            for row in ratio_rows(of_games, LIMIT)
        ),
    ]
    return finish("katago", f"katago: {network.name} to {TAP}, 9x9 rows in batches of 256", table)


if __name__ == "__main__":
    sys.exit(main())
