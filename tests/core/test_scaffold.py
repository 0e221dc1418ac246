from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from actx_core.config.load import load_file
from actx_core.errors import ConfigError, SourceError
from actx_core.registry import registry
from actx_core.scaffold import init_pipeline, new_plugin

ROOT = Path(__file__).parents[2]


def installed(project: Path, where: Path) -> None:
    """What an installation leaves for discovery, without installing."""
    told = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    name = told["name"]
    info = where / f"{name.replace('-', '_')}-{told['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {told['version']}\n"
    )
    entries = told["entry-points"]["actx"]
    lines = ["[actx]", *(f"{key} = {value}" for key, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


def run(folder: Path, *command: str, path: list[Path]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    command = (sys.executable, "-m", *command)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


class TestPlugin:
    @pytest.mark.parametrize("name", ["toy", "my-net2"])
    def test_it_passes_its_own_tests(self, tmp_path, name):
        files = new_plugin(tmp_path, name)
        home = tmp_path / f"actx-{name}"
        assert sorted(files) == sorted(p for p in home.rglob("*") if p.is_file())
        installed(home, tmp_path / "site")
        done = run(
            home,
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            path=[home, tmp_path / "site"],
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"\b1[5-9] passed", done.stdout), done.stdout

    def test_its_tests_can_fail(self, tmp_path):
        new_plugin(tmp_path, "toy")
        home = tmp_path / "actx-toy"
        model = home / "actx_toy" / "model.py"
        model.write_text(
            model.read_text().replace(
                "x = batch.inputs\n", "x = batch.inputs - batch.inputs.mean(0)\n"
            )
        )
        installed(home, tmp_path / "site")
        done = run(home, "pytest", "-q", "-p", "no:cacheprovider", path=[home, tmp_path / "site"])
        assert (
            "FAILED tests/test_plugin.py::TestToy::test_a_sample_does_not_depend_on_its_batch"
            in done.stdout
        )

    def test_the_pipeline_of_its_readme_runs(self, tmp_path):
        new_plugin(tmp_path, "toy")
        home = tmp_path / "actx-toy"
        installed(home, tmp_path / "site")
        (text,) = re.findall(r"```toml\n(.*?)```", (home / "README.md").read_text(), re.DOTALL)
        (tmp_path / "pipeline.toml").write_text(text)
        vectors = np.random.default_rng(0).normal(size=(6, 8))
        np.save(tmp_path / "vectors.npy", vectors)
        done = run(tmp_path, "actx_core", "run", "pipeline.toml", path=[home, tmp_path / "site"])
        assert done.returncode == 0, done.stdout + done.stderr
        weights = np.random.default_rng(0).normal(size=(2, 8, 8)).astype("float32")
        first = np.tanh(vectors.astype("float32") @ weights[0])
        (stored,) = (tmp_path / "runs").rglob("layer0.npy")
        np.testing.assert_allclose(np.load(stored), first, rtol=1e-6)

    def test_the_code_is_tidy(self, tmp_path):
        new_plugin(tmp_path, "my-net")
        home = tmp_path / "actx-my-net"
        ruff = [sys.executable, "-m", "ruff", "--isolated"]
        options = ["--line-length=100", "--no-cache"]
        checked = subprocess.run(
            [*ruff, "format", "--check", *options, home], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout
        select = ["--select=E,F,W,I,B,UP,ANN,RUF,PT,SIM", "--ignore=I001"]
        checked = subprocess.run(
            [*ruff, "check", *select, *options, home], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout

    @pytest.mark.parametrize(
        "name", ["", "Toy", "my_net", "-x", "x-", "a--b", "../x", "1a", "core"]
    )
    def test_bad_names(self, tmp_path, name):
        with pytest.raises(ConfigError, match="expected lower-case letters"):
            new_plugin(tmp_path, name)
        assert not any(tmp_path.iterdir())

    def test_nothing_is_overwritten(self, tmp_path):
        mine = tmp_path / "actx-toy" / "README.md"
        mine.parent.mkdir()
        mine.write_text("mine")
        with pytest.raises(ConfigError, match=r"expected a free place, found .*README\.md.*hint: "):
            new_plugin(tmp_path, "toy")
        assert [p for p in tmp_path.rglob("*") if p.is_file()] == [mine]
        assert mine.read_text() == "mine"


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """This repository's plugins on the path, and what to put on that of another process."""
    pytest.importorskip("torchvision")
    path = [tmp_path / "site", ROOT / "plugins/actx_vision", ROOT / "plugins/actx_cluster"]
    for project in path[1:]:
        installed(project, path[0])
    for place in path:
        monkeypatch.syspath_prepend(str(place))
    registry.cache_clear()
    yield path
    registry.cache_clear()


@pytest.fixture
def images(tmp_path):
    from PIL import Image

    folder = tmp_path / "my pictures"
    folder.mkdir()
    for n in range(9):
        pixels = np.random.default_rng(n).integers(0, 255, (40, 50, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / f"{n}.png")
    return folder


class TestPipeline:
    def test_it_runs(self, plugins, images, tmp_path):
        file = init_pipeline(tmp_path / "work", images)
        assert file == tmp_path / "work" / "pipeline.toml"
        config = load_file(file)
        assert config.sources[0].config.path.resolve() == images
        assert config.sources[0].given["path"] == "../my pictures"
        assert [a.config.k for a in config.analyses] == [(2,)]
        assert (tmp_path / "work/.actx/pipeline.schema.json").exists()
        done = run(tmp_path / "work", "actx_core", "run", "pipeline.toml", path=plugins)
        assert done.returncode == 0, done.stdout + done.stderr
        (stored,) = (tmp_path / "work/runs/first").rglob("avgpool.npy")
        assert np.load(stored).shape == (9, 512)

    def test_photographs_of_a_package(self, plugins, tmp_path):
        pytest.importorskip("skimage")
        given = load_file(init_pipeline(tmp_path)).sources[0].given
        assert given["path"] == "package:skimage/data"
        assert "chelsea.png" in given["include"]

    def test_no_photographs_anywhere(self, plugins, tmp_path, monkeypatch):
        photographs = {"package:no_such_package/data": ("a.png",)}
        monkeypatch.setattr("actx_core.scaffold.pipeline.PHOTOGRAPHS", photographs)
        with pytest.raises(ConfigError, match="no images were named.*hint: actx init --images"):
            init_pipeline(tmp_path)

    def test_no_images_in_the_folder(self, plugins, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(SourceError, match="expected images, found an empty folder"):
            init_pipeline(tmp_path / "work", tmp_path / "empty")
        assert not (tmp_path / "work").exists()

    def test_without_kmeans(self, plugins, images, tmp_path, monkeypatch):
        monkeypatch.setenv("ACTX_DISABLE_PLUGINS", "cluster")
        registry.cache_clear()
        file = init_pipeline(tmp_path, images)
        assert load_file(file).analyses == ()
        assert "kmeans" not in file.read_text()

    def test_without_the_plugin_for_images(self, images, tmp_path, monkeypatch):
        monkeypatch.setenv("ACTX_PLUGINS", "core")
        registry.cache_clear()
        with pytest.raises(
            ConfigError, match="needs the plugin for images.*hint: pip install actx-vision"
        ):
            init_pipeline(tmp_path, images)
        registry.cache_clear()

    def test_nothing_is_overwritten(self, plugins, images, tmp_path):
        (tmp_path / "pipeline.toml").write_text("mine")
        with pytest.raises(ConfigError, match=r"expected a free place, found .*pipeline\.toml"):
            init_pipeline(tmp_path, images)
        assert (tmp_path / "pipeline.toml").read_text() == "mine"
