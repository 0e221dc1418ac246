"""The five wheels: what is in them, and that core and vision run from wheels alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PROJECTS = {
    "actx_core": ROOT,
    **{
        name: ROOT / "plugins" / name
        for name in ("actx_vision", "actx_hf", "actx_katago", "actx_cluster")
    },
}


def _run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("wheels")
    for project in PROJECTS.values():
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", out, cwd=project)
    return {name: next(out.glob(f"{name}-*.whl")) for name in PROJECTS}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_holds_its_package_and_nothing_else(wheels, name):
    with zipfile.ZipFile(wheels[name]) as wheel:
        held = set(wheel.namelist())
        metadata = wheel.read(next(n for n in held if n.endswith(".dist-info/METADATA"))).decode()
    package = {n.partition("/")[2] for n in held if n.startswith(f"{name}/")}
    assert {n.partition("/")[0] for n in held if ".dist-info/" not in n} == {name}
    assert "py.typed" in package
    assert any(n.endswith(".dist-info/licenses/LICENSE") for n in held)
    assert "License-Expression: Apache-2.0" in metadata
    assert "Description-Content-Type: text/markdown" in metadata
    source = PROJECTS[name] / name
    expected = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package == expected


@pytest.fixture(scope="module")
def fresh(wheels, tmp_path_factory) -> Path:
    """A new environment's interpreter: wheels of core and vision, and other people's packages."""
    home = tmp_path_factory.mktemp("fresh")
    _run(sys.executable, "-m", "venv", "--without-pip", home / "venv")
    python = home / "venv" / "bin" / "python"
    _run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
        *("--no-deps", "--no-index", wheels["actx_core"], wheels["actx_vision"]),
        env=_clean(),
    )
    others = home / "others"
    others.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        ours = path.name.startswith(("actx", "_actx", "__editable__", "_editable_impl_actx"))
        if not ours and path.suffix != ".pth":
            (others / path.name).symlink_to(path)
    site = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout
    Path(site.strip(), "others.pth").write_text(f"{others}\n")
    return python


def _clean() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_", "ACTX_"))}


def test_a_fresh_environment_has_core_and_vision_only(fresh, tmp_path):
    script = """
from importlib.metadata import distributions
from importlib.util import find_spec
import actx_core, actx_vision
print(actx_core.__file__)
print(sorted(d.name for d in distributions() if d.name.startswith("actx")))
print(find_spec("actx_cluster"), find_spec("actx_hf"), find_spec("actx_katago"))
"""
    lines = _run(fresh, "-c", script, cwd=tmp_path, env=_clean()).stdout.splitlines()
    assert Path(lines[0]).is_relative_to(fresh.parents[1])
    assert lines[1:] == ["['actx-core', 'actx-vision']", "None None None"]


PIPELINE = """
actx = 1

[run]
out = "run"

[source]
type = "image-folder"
path = "pictures"

[model]
type = "torchvision"
name = "resnet18"
weights = "random"
batch_size = 2
taps = ["layer4", "avgpool"]

[pool]
type = "mean"
over = ["y", "x"]
"""


def test_actx_run_works_from_wheels_alone(fresh, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(pictures / f"{i}.png")
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    actx = fresh.parent / "actx"
    _run(actx, "run", "pipeline.toml", cwd=tmp_path, env=_clean(), stdin=subprocess.DEVNULL)
    for tap in ("layer4", "avgpool"):
        array = np.load(tmp_path / "run" / "pictures" / "resnet18" / f"{tap}.npy")
        assert array.shape == (3, 512)
        assert np.isfinite(array).all()
        assert len(np.unique(array, axis=0)) == 3
    _run(actx, "verify", "run", cwd=tmp_path, env=_clean())
