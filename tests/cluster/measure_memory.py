"""Runs analyses one after the other, and prints what each took at most and what was foretold, as JSON.

Started as a process of its own: ``measure_memory.py FOLDER CASES``. A case is [type, options, shapes].
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from actx_core import ArraySpec, Input
from actx_core.analyze import analyze
from actx_core.config.load import load_analyses
from actx_core.layout import Layout
from actx_core.registry import registry

FEW = 300


class Stored:
    """The first rows of a .npy file, which is mapped only while they are read."""

    def __init__(self, path, rows):
        self.path, self.dtype = path, np.dtype("float32")
        self.shape = (rows, np.load(path, mmap_mode="r").shape[1])

    def __getitem__(self, rows):
        return np.array(np.load(self.path, mmap_mode="r")[: self.shape[0]][rows])


def stored(folder, rows, size, seed):
    """Twenty clusters of values above 0; longer files serve for fewer rows."""
    path = folder / f"{size}-{seed}.npy"
    if not path.exists() or len(np.load(path, mmap_mode="r")) < rows:
        random = np.random.default_rng(seed)
        centres = 3 * random.standard_normal((20, size), np.float32)
        file = np.lib.format.open_memmap(path, "w+", "float32", (rows, size))
        for start in range(0, rows, 10_000):
            part = file[start : start + 10_000]
            part[:] = random.standard_normal(part.shape, np.float32)
            part += centres[np.arange(start, start + len(part)) % 20]
            np.abs(part, out=part)
    return Stored(path, rows)


def inputs(folder, shapes):
    found = {}
    for number, (rows, size) in enumerate(shapes):
        columns = {
            "sample": [f"n01440764/n01440764_{row:08}.JPEG" for row in range(rows)],
            "replicate": np.zeros(rows, np.int64),
            "label": [f"class{row % 20}" for row in range(rows)],
            "angle": np.arange(rows) % 12 * 15.0,
        }
        name = f"s/m/t{number}"
        array = stored(folder, rows, size, number)
        found[name] = Input(name, array, ("row", "channel"), pa.table(columns), f"{shapes}")
    return found


def run(entries, found):
    with tempfile.TemporaryDirectory() as out:
        analyze({k: lambda v=v: v for k, v in found.items()}, Layout(Path(out)), entries)


def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measured(entries, found):
    """Growth of the resident memory at its fullest; what was freed before is given back first."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
    run(entries, found)
    return status("VmHWM") - before


def foretold(entry, shapes):
    specs = [
        ArraySpec("s", "m", f"t{number}", ("row", "channel"), (size,), "float32", rows)
        for number, (rows, size) in enumerate(shapes)
    ]
    return registry().load(entry.component)(entry.config).memory(specs)


def main():
    folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    for kind, options, shapes in cases:
        entries = load_analyses({"actx": 1, "analyze": [{"type": kind, **options}]})
        run(
            entries, inputs(folder, [(FEW, min(size, 64)) for _, size in shapes])
        )  # loads libraries
        found = inputs(folder, shapes)
        peak = measured(entries, found)
        print(json.dumps([peak, foretold(entries[0], shapes)]), flush=True)


main()
