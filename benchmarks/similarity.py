"""RDMs beside scipy and rsatoolbox, CKA beside a loop over pairs: equality first, then time and memory."""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import rsatoolbox
from common import Row, finish, peak_memory
from scipy.spatial.distance import pdist

from actx_cluster.similarity.cka import hsic
from actx_cluster.similarity.distances import Distances, condensed
from actx_cluster.similarity.points import Points, points
from actx_cluster.similarity.products import kernels
from actx_cluster.similarity.saved import Saved
from actx_core import Input

TAPS, ROWS, WIDTH = 12, 50_000, 384
REPEATS = 3


class Stored:
    """A tap on disk that is read, not mapped: mapped pages would count as memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape, self.dtype = (ROWS, WIDTH), np.dtype(np.float32)

    def __getitem__(self, rows: slice) -> np.ndarray:
        count, offset = (rows.stop - rows.start) * WIDTH, rows.start * WIDTH * 4
        return np.fromfile(self.path, np.float32, count, offset=offset).reshape(-1, WIDTH)


def conditions(array: np.ndarray | Stored, name: str) -> Points:
    """An array as an analyzer gets it."""
    return points(
        Input(name, array, ("row", "channel"), pa.table({"row": np.arange(array.shape[0])}), "")
    )


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(*works: Callable[[], object]) -> list[float]:
    """The median of each, measured in turns."""
    runs = [[seconds(work) for work in works] for _ in range(REPEATS)]
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def correlation(array: np.ndarray, folder: Path) -> np.ndarray:
    """The RDM, from nothing."""
    path = folder / "distances.f32"
    path.unlink(missing_ok=True)
    return condensed(Distances(conditions(array, "rdm"), "correlation"), path)


def rdm(folder: Path) -> list[Row]:
    """2,000 conditions of 4,096 dimensions."""
    array = np.random.default_rng(0).standard_normal((2000, 4096), dtype=np.float32)
    dataset = rsatoolbox.data.Dataset(array.astype(np.float64))
    wide = array.astype(np.float64)
    error = float(np.abs(correlation(array, folder) - pdist(wide, "correlation")).max())
    ours, scipy, toolbox = in_turns(
        lambda: correlation(array, folder),
        lambda: pdist(wide, "correlation"),
        lambda: rsatoolbox.rdm.calc_rdm(dataset, method="correlation"),
    )
    return [
        Row("RDM 2,000 x 4,096: largest error", error * 1e6, 10, "1e-6"),
        Row("time, actx / scipy pdist", ours / scipy, 1 / 15, note=f"{ours:.3f} s, {scipy:.2f} s"),
        Row("time, actx / rsatoolbox", ours / toolbox, 1 / 30, note=f"{toolbox:.2f} s"),
    ]


def large_rdm(folder: Path) -> list[Row]:
    """8,000 conditions: time, and memory beyond the input."""
    array = np.random.default_rng(1).standard_normal((8000, 4096), dtype=np.float32)
    before = resident()
    took = seconds(lambda: correlation(array, folder))
    return [
        Row("RDM 8,000 x 4,096", took, unit="s"),
        Row("memory beyond the input", peak_memory() - before, unit="MB", note="result 128 MB"),
    ]


def linear_cka(taps: list[Stored], folder: Path) -> np.ndarray:
    """Biased CKA of all pairs, as the loop gives it."""
    every = [conditions(tap, f"tap{i}") for i, tap in enumerate(taps)]
    found = hsic(kernels(every, Saved(folder / "sums.npz")), debiased=False)
    own = np.sqrt(np.diag(found))
    return np.asarray(found / np.outer(own, own))


def feature_cka(x: np.ndarray, y: np.ndarray) -> float:
    """CKA of two taps in the feature form of Kornblith et al. (2019)."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norms = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / norms)


def loop_cka(taps: list[np.ndarray]) -> np.ndarray:
    """All pairs, one after the other."""
    found = np.eye(len(taps))
    for i, j in combinations(range(len(taps)), 2):
        found[i, j] = found[j, i] = feature_cka(taps[i], taps[j])
    return found


def cka(folder: Path) -> list[Row]:
    """12 taps x 50,000 rows x 384 dimensions, read from disk."""
    rng = np.random.default_rng(2)
    base = rng.standard_normal((ROWS, 32), dtype=np.float32)
    for i in range(TAPS):
        mixing = rng.standard_normal((32, WIDTH), dtype=np.float32)
        noise = rng.standard_normal((ROWS, WIDTH), dtype=np.float32)
        (base @ mixing + noise * (i + 1)).tofile(folder / f"tap{i}.f32")
    taps = [Stored(folder / f"tap{i}.f32") for i in range(TAPS)]
    before = resident()
    result = linear_cka(taps, folder)
    memory = peak_memory() - before
    held = [tap[slice(0, ROWS)] for tap in taps]
    error = float(np.abs(result - loop_cka(held)).max())
    ours, loop = in_turns(lambda: linear_cka(taps, folder), lambda: loop_cka(held))
    size = f"{TAPS} x {ROWS:,} x {WIDTH}"
    return [
        Row(f"CKA {size}: largest difference", error * 1e6, 10, "1e-6"),
        Row("memory", memory, 600, "MB"),
        Row("time, actx / loop over pairs", ours / loop, 1 / 2, note=f"{ours:.1f} s, {loop:.1f} s"),
    ]


def resident() -> float:
    """MB that this process holds now."""
    text = Path("/proc/self/statm").read_text()
    return int(text.split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name:
        found = [*cka(Path(name)), *rdm(Path(name)), *large_rdm(Path(name))]
    sys.exit(finish("similarity", "Similarity", found))
