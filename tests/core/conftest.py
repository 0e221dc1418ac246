"""Fixtures of the core tests: plugins that exist for one test, and pipelines that use one."""

from __future__ import annotations

import copy
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from actx_core.config.load import load_dict, load_file
from actx_core.errors import ConfigError
from actx_core.registry import registry

TOY = Path(__file__).parent / "toy"
AddPlugin = Callable[..., Path]


@pytest.fixture
def plugin_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddPlugin]:
    """``add(name, source_code, **modules)``: an installed plugin, found as any other is.

    ``source_code`` is the plugin module, ``NAME_plugin``; ``modules`` are further modules by name.
    ``metadata`` adds lines to METADATA. Other plugins that are installed here are disabled. The folder is
    returned, for the PYTHONPATH of a subprocess.
    """
    written: set[str] = set()
    names: list[str] = []

    def add(name: str, source_code: str, *, metadata: str = "", **modules: str) -> Path:
        folder = tmp_path / "plugins" / name
        info = folder / f"{name}-0.0.0.dist-info"
        info.mkdir(parents=True)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.0\n{dedent(metadata)}"
        (info / "METADATA").write_text(about)
        (info / "entry_points.txt").write_text(f"[actx]\n{name} = {name}_plugin\n")
        for module, code in {f"{name}_plugin": source_code, **modules}.items():
            (folder / f"{module}.py").write_text(dedent(code))
            written.add(module)
        names.append(name)
        monkeypatch.setenv("ACTX_PLUGINS", ",".join(names))
        monkeypatch.syspath_prepend(folder)
        registry.cache_clear()
        return folder

    registry.cache_clear()
    yield add
    monkeypatch.undo()
    for module in written:
        sys.modules.pop(module, None)
    importlib.invalidate_caches()
    registry.cache_clear()


@pytest.fixture
def run_python() -> Callable[..., str]:
    """``run_python(code, *folders, **environment)``: what the code prints in a fresh interpreter."""

    def run(code: str, *folders: Path, **environment: str) -> str:
        path = os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path, **environment}
        command = [sys.executable, "-W", "error", "-c", code]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def toy(plugin_on_path: AddPlugin) -> Path:
    """The plugin of ``toy/``, with a module that is broken and one that needs a missing package."""
    return plugin_on_path(
        "toy",
        (TOY / "toy_plugin.py").read_text(),
        toy_config=(TOY / "toy_config.py").read_text(),
        toy_torn="raise RuntimeError('torn apart')",
        toy_heavy="import a_big_package",
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a pipeline file."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "pipeline.toml"
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return path

    return write


@pytest.fixture
def wrong(write: Callable[[str], Path]) -> Callable[..., list[str]]:
    """The problems of a pipeline file, as ``line:column: message  hint: …``."""

    def wrong(text: str, *overrides: str) -> list[str]:
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load_file(path, overrides)
        lines = [str(p).removeprefix(f"{path}:") for p in caught.value.problems]
        assert str(caught.value).count("\n") == len(lines) - 1
        # look-ups that fail name the plugins that are installed here but disabled for the test
        return [re.sub("; disabled plugins: .*", "", line) for line in lines]

    return wrong


@pytest.fixture
def plain() -> dict[str, Any]:
    """A small pipeline as a dict."""
    return {
        "actx": 1,
        "run": {"out": "runs/a"},
        "source": {"type": "files", "path": "data/x"},
        "model": {"type": "toy", "taps": ["layer*"]},
    }


@pytest.fixture
def problems(plain: dict[str, Any]) -> Callable[..., list[tuple[str, str, str]]]:
    """(where, message, hint) of each problem of ``plain`` after a change."""

    def problems(
        change: Callable[[dict[str, Any]], object], **options: Any
    ) -> list[tuple[str, str, str]]:
        data = copy.deepcopy(plain)
        change(data)
        with pytest.raises(ConfigError) as caught:
            load_dict(data, **options)
        return [(p.where, p.message, p.hint) for p in caught.value.problems]

    return problems
