"""The commands that ann_pipe's README shows, as they are said here: the runner, the examples, the checks."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from actx_core import Pipeline, open_run
from actx_core.cli.group import actx
from actx_vision import load_lazy_activations

EXAMPLES = Path(__file__).parents[2] / "examples"


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(str(folder)))
    for name in names:
        pixels = rng.integers(0, 256, (30, 40, 4), np.uint8)
        Image.fromarray(pixels, "RGBA").save(folder / f"{name}.png")


def python(folder: Path, *arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_model_then_read_then_verify(tmp_path):
    pictures(tmp_path / "semantic", ["object_01", "object_02"])
    taps = ["layer1.0.conv1", "layer1.0.conv2"]
    out = python(
        tmp_path,
        EXAMPLES / "run_single_model.py",
        *("--stimuli", "semantic", "--model", "ResNet50", "--layers", *taps, "--output", "out"),
    )
    file = Path(out.splitlines()[-1])
    assert file == Path("out/model_activations_semantic.h5")
    assert "object_01 {'layer1.0.conv1': (4, 200704), 'layer1.0.conv2': (4, 200704)}" in out
    command = (EXAMPLES / "read_activations_example.py", file, "--model", "ResNet50")
    shown = python(tmp_path, *command, "--show_layers")
    assert "models: ResNet50\n" in shown
    assert "ResNet50: 2 stimuli, 2 layers\n" in shown
    assert "  layer1.0.conv2: 4 replicates x 200704 features\n" in shown
    assert "replicates averaged: (2, 200704)" in shown
    assert "features" not in python(tmp_path, *command)
    verified = python(tmp_path, "-m", "actx_core", "verify", file)
    assert re.fullmatch(r"ok: 1 file, .* MB\n", verified)


def extract(desk: Path, change: Callable[[dict], None]) -> Path:
    """Run ann_pipe.toml with random weights; returns the folder of its files."""
    spec = tomllib.loads((EXAMPLES / "ann_pipe.toml").read_text("utf-8"))
    spec["model"][0]["weights"] = "random"
    change(spec)
    for _ in Pipeline.from_dict(spec, base=desk).run():
        pass
    return desk / "output" / "activations"


@pytest.fixture(scope="module")
def panel(tmp_path_factory) -> Path:
    """What the runner's command leaves: three models, four replicates."""
    desk = tmp_path_factory.mktemp("panel")
    pictures(desk / "stimuli" / "semantic" / "stimuli_rotatedsemantic", ["object_01"])
    return extract(desk, lambda spec: None) / "model_activations_stimuli_rotatedsemantic.h5"


def test_the_runner_writes_every_model_and_layer(panel):
    models = {"ResNet50": 33, "CORNet-S": 4, "ViT-B-16": 12}
    with h5py.File(panel) as file:
        assert sorted(file) == sorted(models)
        for model, layers in models.items():
            assert list(file[model]) == ["object_01"]
            assert len(file[model]["object_01"]) == layers
        acts = file["ResNet50"]["object_01"]["layer1.0.conv1"][:]
        assert acts.shape == (4, 64 * 56 * 56)
        assert file["ViT-B-16/object_01/blocks.5.mlp.fc2"].shape == (4, 197 * 768)
        assert file["CORNet-S/object_01/IT"].shape == (4, 512 * 7 * 7)


def test_several_folders_and_a_prefix(tmp_path):
    root = tmp_path / "stimuli" / "semantic"
    pictures(root / "stimuli_rotatedconcrete", ["a", "b"])
    pictures(root / "stimuli_confound" / "leaves", ["a"])

    def change(spec: dict) -> None:
        spec["source"][0]["folders"] = ["stimuli_rotatedconcrete", "stimuli_confound/leaves"]
        spec["model"][0] |= {"only": ["ResNet50"], "taps": ["conv1"]}
        spec["export"][0]["prefix"] = "concrete_models"

    folder = extract(tmp_path, change)
    names = ["concrete_models_leaves.h5", "concrete_models_stimuli_rotatedconcrete.h5"]
    assert sorted(path.name for path in folder.iterdir()) == names
    with h5py.File(folder / names[1]) as file:
        assert list(file["ResNet50"]) == ["a", "b"]
        assert file["ResNet50/a/conv1"].shape == (4, 64 * 112 * 112)


def test_its_file_holds_what_the_run_holds(panel):
    run = open_run(panel.parents[2] / "runs" / "semantic")
    with load_lazy_activations(panel) as acts:
        for model in acts:
            for layer, values in acts[model]["object_01"].items():
                array = run[f"stimuli_rotatedsemantic/{model}/{layer}"]
                assert array.rows["replicate"].to_pylist() == [0, 1, 2, 3]
                np.testing.assert_array_equal(values, array.numpy().reshape(4, -1))
            assert np.ptp(values, axis=0).max() > 0  # the replicates were jittered


def verify(path: Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(actx, ["verify", str(path)], prog_name="actx")
    return result.exit_code, result.stdout, result.stderr


def test_actx_verify_finds_nothing_wrong(panel):
    code, out, err = verify(panel)
    assert (code, err) == (0, "")
    assert out.startswith("ok: 1 file")


def test_actx_verify_names_what_is_wrong(panel, tmp_path):
    broken = tmp_path / "broken.h5"
    with h5py.File(panel) as whole, h5py.File(broken, "w") as file:
        for model in ("CORNet-S", "ViT-B-16"):
            whole.copy(model, file)
        file["CORNet-S/object_01/V4"][1, 5] = np.nan
        file["ViT-B-16/object_02/blocks.0.mlp.fc2"] = np.zeros((4, 3), np.float32)
    code, out, err = verify(broken)
    assert (code, out) == (6, "")
    assert "CORNet-S/object_01/V4: holds NaN or infinite values" in err
    assert "ViT-B-16/object_02/blocks.1.mlp.fc2: is missing" in err
    assert "CORNet-S: lacks stimuli that other models have: 'object_02'" in err
    broken.write_bytes(broken.read_bytes()[:-1000])
    code, out, err = verify(broken)
    assert (code, out) == (6, "")
    assert re.fullmatch(r"error: expected \d+ bytes, found \d+: the file is truncated\n", err)
