"""actx against thingsvision: the same photographs, model and layers into HDF5; CPU time and resident memory.

thingsvision pins old versions of torch and numpy, so it runs in an environment of its own:

    python -m venv VENV && VENV/bin/pip install thingsvision==2.7.3
    .venv/bin/python benchmarks/versus_thingsvision.py VENV/bin/python

Each run is a process of its own; its CPU time counts all its threads and children, from import to exit.
The features of both must agree before anything is compared.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common import Row

FEW, MANY = 128, 512
REPEATS = 3
EARLY = ("layer1",)
FIVE = ("layer1", "layer2", "layer3", "layer4", "avgpool")
SIZE = (640, 480)
PEAK = "peak"


def actx(folder: Path, samples: int, layers: Sequence[str]) -> None:
    from actx_core import Pipeline

    pipeline = Pipeline.from_dict(
        {
            "actx": 1,
            "run": {"out": str(folder / "actx"), "device": "cpu", "batch_size": 32},
            "source": {"type": "image-folder", "path": str(folder / f"images{samples}")},
            "model": {
                "type": "torchvision",
                "name": "resnet18",
                "weights": str(folder / "resnet18.pth"),
                "taps": list(layers),
            },
            "store": {"type": "hdf5"},
        }
    )
    for _ in pipeline.run():
        pass


def thingsvision(folder: Path, samples: int, layers: Sequence[str]) -> None:
    import torch
    from thingsvision import get_extractor_from_model
    from thingsvision.utils.data import DataLoader, ImageDataset
    from thingsvision.utils.storing import save_features
    from torchvision.models import resnet18

    model = resnet18()
    model.load_state_dict(torch.load(folder / "resnet18.pth"))
    extractor = get_extractor_from_model(model=model.eval(), device="cpu", backend="pt")
    images = ImageDataset(
        root=str(folder / f"images{samples}"),
        out_path=str(folder / "names"),
        backend="pt",
        transforms=extractor.get_transformations(),
    )
    batches = DataLoader(dataset=images, batch_size=32, backend="pt")
    features = extractor.extract_features(
        batches=batches, module_names=list(layers), flatten_acts=True
    )
    for layer in layers:
        out = folder / "thingsvision" / layer
        save_features(features[layer], out_path=str(out), file_format="hdf5")


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a process with its children, and the peak resident memory of the process in MB."""

    cpu: float
    memory: float


def measure(python: str, who: str, folder: Path, samples: int, layers: Sequence[str]) -> Cost:
    """One run in a process of its own."""
    command = [python, __file__, "run", who, str(folder), str(samples), *layers]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)  # counts children that were waited for, too
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{who} failed:\n{said.decode()[-2000:]}")
    return Cost(used.ru_utime + used.ru_stime, float((folder / PEAK).read_text()))


def note_peak(folder: Path) -> None:
    """Leave this process's peak resident memory; ru_maxrss would also count the parent before exec."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    (folder / PEAK).write_text(str(int(peak.split()[1]) / 2**10))


def difference(folder: Path, samples: int, layers: Sequence[str]) -> float:
    """Largest difference of the two outputs, relative to the largest value of a layer."""
    import h5py
    import numpy as np

    from actx_core import open_run

    run, worst = open_run(folder / "actx"), 0.0
    for layer in layers:
        ours = run[f"images{samples}/resnet18/{layer}"].numpy().reshape(samples, -1)
        with h5py.File(folder / "thingsvision" / layer / "features.hdf5") as file:
            theirs = file["features"][:]
        worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    return worst


def make_inputs(folder: Path) -> None:
    """Photographs with real edges and texture, and one file of random weights for both."""
    import numpy as np
    import torch
    from PIL import Image
    from skimage import data
    from torchvision.models import resnet18

    photographs = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    rng = np.random.default_rng(0)
    for samples in (FEW, MANY):
        (folder / f"images{samples}").mkdir()
    for i in range(MANY):
        picture = Image.fromarray(photographs[i % len(photographs)]).resize(SIZE)
        noise = rng.integers(0, 24, (SIZE[1], SIZE[0], 3), np.uint8)
        picture = Image.fromarray(np.maximum(np.asarray(picture), noise))
        for samples in (FEW, MANY) if i < FEW else (MANY,):
            picture.save(folder / f"images{samples}" / f"{i:05}.jpg", quality=90)
    torch.manual_seed(0)
    torch.save(resnet18().state_dict(), folder / "resnet18.pth")


def compare(python: str, folder: Path, layers: Sequence[str]) -> dict[str, list[Cost]]:
    """Median costs of actx and of thingsvision over FEW and over MANY, measured in turns."""
    pythons = {"actx": sys.executable, "thingsvision": python}
    found: dict[tuple[str, int], list[Cost]] = {}
    for _ in range(REPEATS):
        for samples in (FEW, MANY):
            for who, interpreter in pythons.items():
                shutil.rmtree(folder / who, ignore_errors=True)
                cost = measure(interpreter, who, folder, samples, layers)
                found.setdefault((who, samples), []).append(cost)
                print(".", end="", flush=True)
            if (worst := difference(folder, samples, layers)) > 1e-4:
                raise SystemExit(f"the outputs differ by {worst:.2g} of the largest value")
    print()
    return {who: [_median(found[who, samples]) for samples in (FEW, MANY)] for who in pythons}


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.cpu for cost in costs),
        statistics.median(cost.memory for cost in costs),
    )


def ratios(title: str, costs: Mapping[str, Sequence[Cost]], least: float) -> list[Row]:
    """The table for some layers; ``least``: how many times less CPU an image must cost."""
    from common import Row

    (few, many), (rival_few, rival_many) = costs["actx"], costs["thingsvision"]
    image, rival_image = many.cpu - few.cpu, rival_many.cpu - rival_few.cpu
    growth, rival_growth = many.memory - few.memory, rival_many.memory - rival_few.memory
    each = f"{image / (MANY - FEW) * 1e3:.1f} and {rival_image / (MANY - FEW) * 1e3:.1f} ms"
    grown = f"{growth:.0f} and {rival_growth:.0f} MB from {FEW} to {MANY} images"
    whole = f"{many.cpu:.1f} and {rival_many.cpu:.1f} s for {MANY} images"
    peak = f"{many.memory:.0f} and {rival_many.memory:.0f} MB at {MANY} images"
    return [
        Row(f"{title}: CPU time of one more image", image / rival_image, 1 / least, note=each),
        Row(f"{title}: CPU time of a whole run", many.cpu / rival_many.cpu, note=whole),
        Row(f"{title}: growth of memory", growth / rival_growth, 0.5, note=grown),
        Row(f"{title}: peak memory", many.memory / rival_many.memory, note=peak),
    ]


def main(python: str) -> int:
    from common import finish

    ask = "import json, importlib.metadata as m; print(json.dumps({n: m.version(n) for n in"
    ask += " ('thingsvision', 'torch', 'torchvision', 'numpy')}))"
    versions = json.loads(subprocess.check_output([python, "-c", ask], text=True))
    rows = []
    with tempfile.TemporaryDirectory(prefix="actx-bench-") as name:
        make_inputs(Path(name))
        for title, layers, least in (("layer1", EARLY, 3.0), ("five layers", FIVE, 1.4)):
            rows += ratios(title, compare(python, Path(name), layers), least)
    rival = ", ".join(f"{key} {value}" for key, value in versions.items())
    title = f"actx / thingsvision: resnet18, {SIZE[0]}x{SIZE[1]} JPEG to HDF5; rival with {rival}"
    return finish("versus_thingsvision", title, rows)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", who, folder, samples, *layers]:
            {"actx": actx, "thingsvision": thingsvision}[who](Path(folder), int(samples), layers)
            note_peak(Path(folder))
        case [python]:
            sys.exit(main(python))
        case _:
            sys.exit(f"{__doc__}\nexpected one argument: the Python that has thingsvision")
