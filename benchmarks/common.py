"""What the benchmarks share: inputs, the bare loop, alternating measurements, the table and its JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from actx_core import Pipeline

RESULTS = Path(__file__).parent / "results"
BATCH = 32
SHAPE = (3, 224, 224)


@dataclass(frozen=True)
class Row:
    """One line of a benchmark's table: a measured value and the limit it must stay below."""

    name: str
    value: float
    limit: float | None = None
    unit: str = "x"
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.limit is None or self.value <= self.limit


def peak_memory() -> float:
    """Peak resident memory of this process in MB.

    On Linux ``ru_maxrss`` will not do: it begins with what the parent held before exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


@dataclass(frozen=True)
class Cost:
    """Seconds of wall clock and of all threads' CPU."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


@contextmanager
def inputs(samples: int) -> Iterator[Path]:
    """A folder with ``inputs.npy``: random float32 images, ready for the network."""
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as folder:
        rng = np.random.default_rng(0)
        array = rng.standard_normal((samples, *SHAPE), dtype=np.float32)
        np.save(Path(folder, "inputs.npy"), array)
        yield Path(folder)


def pipeline(folder: Path, out: str, samples: int, taps: Sequence[str]) -> Pipeline:
    """resnet18 with random weights over the first ``samples`` inputs, taps pooled to channel means."""
    return Pipeline.from_dict(
        {
            "actx": 1,
            "run": {"out": str(folder / out), "device": "cpu", "batch_size": BATCH},
            "source": {"type": "arrays", "path": str(folder / "inputs.npy"), "limit": samples},
            "model": {
                "type": "module",
                "callable": "torchvision.models:resnet18",
                "trust": True,
                "input_shape": list(SHAPE),
                "taps": list(taps),
            },
            "pool": {"type": "mean", "over": ["y", "x"]},
            "executor": {"type": "serial"},
        }
    )


def run_actx(folder: Path, taps: Sequence[str], samples: int) -> None:
    """A whole run from nothing: plan, extract, write, verify, join."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        for _ in pipeline(folder, f"{Path(out).name}/run", samples, taps).run():
            pass


def run_bare(folder: Path, network: nn.Module, samples: int) -> None:
    """The same forward passes over the same file, keeping nothing."""
    array = np.load(folder / "inputs.npy", mmap_mode="r")[:samples]
    with torch.inference_mode():
        for start in range(0, samples, BATCH):
            network(torch.from_numpy(np.array(array[start : start + BATCH])))


@dataclass(frozen=True)
class Comparison:
    """Cost of one more sample, actx and bare, and what single repeats said."""

    actx: Cost
    bare: Cost
    repeats: Sequence[tuple[Cost, Cost]]


def compare(
    actx: Callable[[int], None],
    bare: Callable[[int], None],
    *,
    few: int,
    many: int,
    repeats: int = 5,
) -> Comparison:
    """Measure both in turns, each in a process of its own, over few and over many samples.

    The cost of one more sample is the median of the long runs less that of the short ones: what happens
    once (planning, loading, joining, the report) cancels out.
    """
    runs = []
    with _serving(actx) as measure_actx, _serving(bare) as measure_bare:
        both = (measure_actx, measure_bare)
        for measure in both:
            measure(few)
        for _ in range(repeats):
            runs.append([measure(n) for n in (few, many) for measure in both])
            print(".", end="", flush=True)
    print()
    each = [_per_sample(run, many - few) for run in runs]
    columns = [_median(column) for column in zip(*runs, strict=True)]
    return Comparison(*_per_sample(columns, many - few), each)


@contextmanager
def _serving(run: Callable[[int], None]) -> Iterator[Callable[[int], Cost]]:
    """A process that runs what it is told; each side keeps its own allocator and threads."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, run), daemon=True)
    process.start()

    def measure(samples: int) -> Cost:
        ours.send(samples)
        cost: Cost = ours.recv()
        return cost

    yield measure
    process.kill()


def _serve(pipe: Connection, run: Callable[[int], None]) -> None:
    while True:
        samples = pipe.recv()
        pipe.send(_cost(run, samples))


def _per_sample(costs: Sequence[Cost], samples: int) -> tuple[Cost, Cost]:
    """Actx's and the bare loop's cost of one more sample, from runs over few and over many."""
    actx_few, bare_few, actx_many, bare_many = costs
    actx, bare = actx_many - actx_few, bare_many - bare_few
    return Cost(actx.wall / samples, actx.cpu / samples), Cost(
        bare.wall / samples, bare.cpu / samples
    )


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))


def _cost(run: Callable[[int], None], samples: int) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    run(samples)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def ratio_rows(found: Comparison, limit: float) -> list[Row]:
    """The table of a comparison: the ratios are what must stay below the limit."""
    rows = []
    for name, kind in (("CPU time", "cpu"), ("wall time", "wall")):
        actx, bare = (getattr(cost, kind) for cost in (found.actx, found.bare))
        spread = [getattr(a, kind) / getattr(b, kind) for a, b in found.repeats]
        rows += [
            Row(f"{name}, actx / bare", actx / bare, limit, note=_listed(spread)),
            Row(f"{name} of one sample, actx", actx * 1e3, unit="ms"),
            Row(f"{name} of one sample, bare", bare * 1e3, unit="ms"),
        ]
    return rows


def _listed(ratios: Sequence[float]) -> str:
    return "single repeats " + " ".join(f"{ratio:.3f}" for ratio in ratios)


def machine() -> Mapping[str, Any]:
    """Where and with what the numbers were taken."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy", "actx-core")},
    }


def finish(name: str, title: str, rows: Sequence[Row]) -> int:
    """Print the table, write ``results/NAME.json``; the exit code says whether every limit held."""
    table = Table(title=title, title_justify="left")
    for column in ("", "value", "limit", "", "note"):
        table.add_column(column, justify="right" if column in ("value", "limit") else "left")
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:g} {row.unit}"
        verdict = "" if row.limit is None else "pass" if row.passed else "FAIL"
        table.add_row(row.name, f"{row.value:.3f} {row.unit}", limit, verdict, row.note)
    facts = machine()
    console = Console(width=None if os.isatty(1) else 140)
    console.print(table)
    console.print("  ".join(f"{key} {value}" for key, value in facts.items()), style="dim")
    RESULTS.mkdir(exist_ok=True)
    content = {
        "title": title,
        "machine": facts,
        "rows": [asdict(r) | {"passed": r.passed} for r in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    return 0 if all(row.passed for row in rows) else 1
