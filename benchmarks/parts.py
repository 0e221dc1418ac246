"""NMF and PCA beside scikit-learn on the same rows: equality first, then time and peak memory.

The rows are like a ReLU layer's: 384 dimensions, few of them large, half of the values 0.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from warnings import simplefilter

import numpy as np
import pyarrow as pa
from common import Row, finish, peak_memory
from sklearn.decomposition import NMF, PCA, IncrementalPCA

from actx_cluster.parts.config import NmfConfig
from actx_cluster.parts.nmf import Nmf
from actx_cluster.rows import Rows
from actx_cluster.spectrum import principal
from actx_core import Input

SIZE, PARTS, ITERATIONS, REPEATS = 384, 50, 30, 3


class Stored:
    """Rows in a file, read by plain calls: what is mapped would count as memory."""

    dtype = np.dtype(np.float32)

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shape = (path.stat().st_size // (4 * SIZE), SIZE)

    def __getitem__(self, rows: slice) -> np.ndarray:
        count = (rows.stop - rows.start) * SIZE
        found = np.fromfile(self.path, np.float32, count, offset=rows.start * SIZE * 4)
        return found.reshape(-1, SIZE)


def write(path: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    mixing = random.normal(size=(80, SIZE)) * np.geomspace(3, 0.05, SIZE)
    with path.open("wb") as file:
        for _ in range(rows // 10_000):
            sources = random.exponential(size=(10_000, 80)) * (random.random((10_000, 80)) < 0.2)
            noise = 0.05 * random.normal(size=(10_000, SIZE))
            np.maximum(sources @ mixing + noise, 0).astype(np.float32).tofile(file)


def stored(path: Path) -> Input:
    array = Stored(path)
    return Input("bench", array, ("row", "channel"), pa.table({}), "", lambda rows: [])


def nmf(path: Path, iterations: int) -> float:
    """The relative error after some iterations."""
    options = NmfConfig(components=PARTS, max_iter=iterations, tol=0, refits=0, exemplars=0)
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as out:
        return Nmf(options).run([stored(path)], Path(out)).metrics[f"error_k{PARTS}"]


def extra(path: Path) -> float:
    """MB that NMF adds to the peak of a process of its own."""
    command = [sys.executable, __file__, str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def pca_rows(path: Path, array: np.ndarray) -> list[Row]:
    rows = Rows(stored(path))
    exact = PCA(50, svd_solver="full").fit(array.astype(np.float64)).explained_variance_
    mine = principal(rows, 50, 0).energies / (rows.count - 1)
    method = IncrementalPCA(50)
    pairs = [
        (seconds(lambda: principal(rows, 50, 0)), seconds(lambda: method.fit(array)))
        for _ in range(REPEATS)
    ]
    theirs = method.explained_variance_
    ratio = median(a / b for a, b in pairs)
    note = ", ".join(f"{a:.2f}/{b:.2f} s" for a, b in pairs)
    return [
        Row(
            "PCA-50: largest error of a variance", float(np.max(np.abs(mine / exact - 1))), 1e-4, ""
        ),
        Row("the same of IncrementalPCA", float(np.max(np.abs(theirs / exact - 1))), unit=""),
        Row("PCA-50: time beside IncrementalPCA", ratio, 0.1, note=note),
    ]


def nmf_rows(path: Path, array: np.ndarray) -> list[Row]:
    simplefilter("ignore")  # scikit-learn warns that it stops early, as it shall
    method = NMF(PARTS, init="nndsvda", max_iter=ITERATIONS, tol=0, random_state=0)
    theirs_took = seconds(lambda: method.fit(array))
    theirs = float(method.reconstruction_err_ / np.linalg.norm(array))
    errors: list[float] = []
    mine_took = seconds(lambda: errors.append(nmf(path, ITERATIONS)))
    note = f"{errors[0]:.5f} / {theirs:.5f}, {mine_took:.1f} / {theirs_took:.1f} s"
    return [
        Row(f"NMF-{PARTS}: error beside scikit-learn's cd", errors[0] / theirs, 1.01, note=note)
    ]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name:
        small, large = Path(name) / "50k", Path(name) / "500k"
        write(small, 50_000)
        array = np.fromfile(small, np.float32).reshape(-1, SIZE)
        rows = pca_rows(small, array) + nmf_rows(small, array)
        del array
        rows.append(Row("NMF, 50k rows: memory added", extra(small), 250, "MB"))
        write(large, 500_000)
        rows.append(Row("NMF, 500k rows: memory added", extra(large), 250, "MB"))
    return finish("parts", "parts: NMF and PCA of rows x 384, float32", rows)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        before = peak_memory()
        nmf(Path(sys.argv[1]), 2)
        print(peak_memory() - before)
    else:
        sys.exit(main())
