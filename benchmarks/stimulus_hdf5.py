"""HDF5 per stimulus: an export against one create_dataset per item, the reader against opening per item."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from common import Cost, Row, finish
from PIL import Image
from torch import nn

from actx_core import Pipeline, Run, open_run
from actx_vision import load_lazy_activations
from actx_vision.formats.stimulus_config import StimulusHdf5Config
from actx_vision.formats.stimulus_hdf5 import StimulusHdf5

STIMULI, REPLICATES, FEATURES = 2000, 4, 512
LAYERS = [f"layer{stage}.{block}.conv1" for stage in range(1, 6) for block in range(2)]
REPEATS = 5


class Block(nn.Module):
    """A layer with a name as in the file."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Linear(features, FEATURES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.conv1(x))


def network() -> nn.Sequential:
    """Ten layers of 512 features over pictures of 8 x 8 pixels."""
    widths = iter([3 * 8 * 8, *[FEATURES] * 9])
    parts: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for stage in range(1, 6):
        parts[f"layer{stage}"] = nn.Sequential(Block(next(widths)), Block(next(widths)))
    whole = nn.Sequential()
    for name, part in parts.items():
        whole.add_module(name, part)
    return whole


def extract(folder: Path) -> Run:
    """A run over 2,000 pictures, four replicates each."""
    (folder / "semantic").mkdir()
    rng = np.random.default_rng(0)
    for i in range(STIMULI):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "semantic" / f"object_{i:04}.png")
    pipeline = Pipeline.from_dict(
        {
            "actx": 1,
            "run": {"out": str(folder / "run"), "device": "cpu", "batch_size": 500},
            "source": {
                "type": "image-folder",
                "path": str(folder / "semantic"),
                "replicates": REPLICATES,
                "jitter": {"saturation": 0.05},
            },
            "model": {
                "type": "module",
                "as": "ResNet50",
                "callable": "stimulus_hdf5:network",
                "trust": True,
                "preprocess": {"resize": 8, "crop": 8},
                "taps": LAYERS,
            },
        }
    )
    for _ in pipeline.run():
        pass
    return open_run(folder / "run")


def naive(run: Run, path: Path) -> None:
    """The layout as any script writes it, from the same run."""
    layers = {name: run[f"semantic/ResNet50/{name}"].replicates() for name in LAYERS}
    values = {name: layer.numpy() for name, layer in layers.items()}
    with h5py.File(path, "w") as file:
        for i, stimulus in enumerate(layers[LAYERS[0]].samples):
            for name in LAYERS:
                file.create_dataset(f"ResNet50/{stimulus}/{name}", data=values[name][i])


def export(run: Run, path: Path) -> None:
    StimulusHdf5(StimulusHdf5Config()).write(run, path)


def reopening(path: Path, layer: str) -> np.ndarray:
    """One layer for all stimuli, the file opened for each."""
    with h5py.File(path) as file:
        stimuli = list(file["ResNet50"])
    values = []
    for stimulus in stimuli:
        with h5py.File(path) as file:
            values.append(file["ResNet50"][stimulus][layer][:])
    return np.stack(values)


def lazily(path: Path, layer: str) -> np.ndarray:
    with load_lazy_activations(path) as acts:
        model = acts["ResNet50"]
        return np.stack([model[stimulus][layer] for stimulus in model])


def at_once(path: Path, layer: str) -> np.ndarray:
    with load_lazy_activations(path) as acts:
        return acts.matrix("ResNet50", layer)


def cost(call: Callable[..., Any], *arguments: Any) -> Cost:
    began = Cost(time.perf_counter(), time.process_time())
    call(*arguments)
    return Cost(time.perf_counter(), time.process_time()) - began


def write_rows(run: Run, folder: Path) -> list[Row]:
    """In turns, each to a new file; an export also syncs what it wrote."""
    ours, theirs = [], []
    for i in range(REPEATS):
        theirs.append(cost(naive, run, folder / f"naive{i}.h5"))
        ours.append(cost(export, open_run(run.path), folder / f"actx{i}"))
    return rows("write", "create_dataset per item", ours, theirs, 0.5)


def read_rows(path: Path) -> list[Row]:
    """In turns, another layer each time, as nothing of it may be cached by the reader."""
    found: dict[Callable[..., np.ndarray], list[Cost]] = {reopening: [], lazily: [], at_once: []}
    for layer in LAYERS[:REPEATS]:
        for read, costs in found.items():
            costs.append(cost(read, path, layer))
    theirs = "opening per item"
    return [
        *rows("nested access", theirs, found[lazily], found[reopening], 0.333),
        *rows("matrix", theirs, found[at_once], found[reopening], 0.333),
    ]


def rows(name: str, other: str, ours: list[Cost], theirs: list[Cost], limit: float) -> list[Row]:
    found = []
    for kind in ("cpu", "wall"):
        a, b = (statistics.median(getattr(c, kind) for c in costs) for costs in (ours, theirs))
        note = f"{a:.3f} s / {b:.3f} s, {b / a:.1f} times as fast"
        found.append(
            Row(
                f"{name}, {kind} time / {other}", a / b, limit if kind == "cpu" else None, note=note
            )
        )
    return found


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name:
        folder = Path(name)
        run = extract(folder)
        naive(run, folder / "naive.h5")
        export(run, folder)
        path = folder / "model_activations_semantic.h5"
        with h5py.File(folder / "naive.h5") as a, h5py.File(path) as b:
            assert list(a["ResNet50"]) == list(b["ResNet50"])
            for stimulus in a["ResNet50"]:
                for layer in LAYERS:
                    one, two = (f["ResNet50"][stimulus][layer] for f in (a, b))
                    assert one.shape == two.shape == (REPLICATES, FEATURES)
                    assert np.array_equal(one, two)
        for layer in LAYERS[:2]:
            assert np.array_equal(lazily(path, layer), reopening(path, layer))
            assert np.array_equal(at_once(path, layer), reopening(path, layer))
        table = [*write_rows(run, folder), *read_rows(path)]
    title = (
        f"HDF5 per stimulus: {STIMULI} stimuli x {len(LAYERS)} layers x ({REPLICATES}, {FEATURES})"
    )
    return finish("stimulus_hdf5", title, table)


if __name__ == "__main__":
    sys.exit(main())
