"""What shuffled reading costs: every row of a large file in random order against reading it in order.

The file is written first (8 GB; a number of GB may be given) and leaves the page cache before each pass.
The sequential rival reads the whole file with plain reads of 16 MB, as fast as the disk gives it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import Row, finish

from actx_core import Config
from actx_core.shuffle import BLOCK, Shuffle
from actx_core.stores.npy import Npy, npy_header
from actx_core.stores.payload import read_rows
from actx_core.types import ArraySpec

WIDTH = 1024
REPEATS = 3


def main() -> int:
    size = int(float(sys.argv[1]) * 1e9) if len(sys.argv) > 1 else 8_000_000_000
    rows = size // (4 * WIDTH)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        path = Path(folder) / "activations.npy"
        array = _write(path, rows)
        ratios = []
        for _ in range(REPEATS):
            plain = _timed(path, lambda: _in_order(path))
            mixed = _timed(path, lambda: _shuffled(array))
            ratios.append(plain / mixed)
            print(
                f"  {size / plain / 1e6:.0f} MB/s in order, {size / mixed / 1e6:.0f} MB/s shuffled"
            )
    shuffle = Shuffle(array, 4096)
    speed = statistics.median(ratios)
    note = f"{speed:.0%} of the speed; {shuffle.mixing:,} rows mixed"
    row = Row(f"sequential read / shuffled read, {size / 1e9:g} GB", 1 / speed, 1 / 0.8, note=note)
    return finish("shuffled", "shuffled reading of rows of 1,024 float32", [row])


def _write(path: Path, rows: int) -> Any:
    block = np.random.default_rng(0).standard_normal((4096, WIDTH), np.float32)
    with path.open("wb") as file:
        file.write(npy_header((rows, WIDTH), block.dtype))
        for start in range(0, rows, len(block)):
            file.write(block[: rows - start].data)
        file.flush()
        os.fsync(file.fileno())
    spec = ArraySpec("a", "b", "c", ("row", "channel"), (WIDTH,), "float32", rows)
    opened = Npy(Config()).open(path, spec)
    return _Array(path, opened, spec)


class _Array:
    """What Shuffle uses of a TapArray."""

    def __init__(self, path: Path, opened: Any, spec: ArraySpec) -> None:
        self.shape, self.dtype, self.spec = opened.shape, opened.dtype, spec
        self._path, self._opened = path, opened

    def __len__(self) -> int:
        return int(self.shape[0])

    def read(self, start: int, out: np.ndarray) -> None:
        read_rows(self._path, self._opened, start, out)


def _timed(path: Path, work: Any) -> float:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _in_order(path: Path) -> None:
    buffer = bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _shuffled(array: Any) -> None:
    for _rows, _values in Shuffle(array, 4096):
        pass


if __name__ == "__main__":
    sys.exit(main())
