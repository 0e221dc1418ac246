"""Whether memory grows with the data: peak resident memory of a run over N samples and over 4 N."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import Row, finish, peak_memory

from actx_core import Pipeline

SAMPLES = 128
REPEATS = 3
"""Runs of each size, of which the least peak counts: how far reading is ahead of the model differs."""


def run(folder: Path, samples: int) -> None:
    """Decode JPEGs and store one large unpooled tap (800 kB a sample): nothing of it may be kept."""
    pipeline = Pipeline.from_dict(
        {
            "actx": 1,
            "run": {"out": tempfile.mkdtemp(dir=folder), "device": "cpu", "shard_size": 32},
            "source": {"type": "image-folder", "path": str(folder / "images"), "limit": samples},
            "model": {
                "type": "torchvision",
                "name": "resnet18",
                "weights": "random",
                "batch_size": 16,
                "taps": ["layer1"],
            },
            "executor": {"type": "serial"},
        }
    )
    for _ in pipeline.run():
        pass


def measure(folder: Path, samples: int) -> float:
    """Peak resident memory of a run in its own process, in MB."""
    command = [sys.executable, __file__, str(folder), str(samples)]
    return float(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]
    )


def main() -> int:
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name:
        folder = Path(name)
        (folder / "images").mkdir()
        rng = np.random.default_rng(0)
        for i in range(4 * SAMPLES):
            pixels = rng.integers(0, 256, (300, 400, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{i:05}.jpg")
        peaks = [(measure(folder, SAMPLES), measure(folder, 4 * SAMPLES)) for _ in range(REPEATS)]
        few, many = map(min, zip(*peaks, strict=True))
    rows = [
        Row(f"growth from {SAMPLES} to {4 * SAMPLES} samples", many - few, 50, "MB"),
        Row(f"peak at {SAMPLES} samples", few, unit="MB"),
        Row(f"peak at {4 * SAMPLES} samples", many, unit="MB"),
        Row("payload of the samples added", 3 * SAMPLES * 64 * 56 * 56 * 4 / 2**20, unit="MB"),
    ]
    return finish("memory", "memory: image folder, resnet18, layer1 unpooled", rows)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        run(Path(sys.argv[1]), int(sys.argv[2]))
        print(peak_memory())
    else:
        sys.exit(main())
