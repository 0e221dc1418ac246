"""The toy plugin on the path, in this process and in subprocesses."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actx_core.registry import registry

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real discovery of a plugin, without installing it."""
    monkeypatch.syspath_prepend(str(TOY))
    path = os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of syncs, and no power cut to test here."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a process of its own."""

    def run(code: str, *args: str, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]

    return run


@pytest.fixture
def fake() -> Callable[[], list[str]]:
    """An observer that fails at the first shard."""
    from actx_core import hookimpl

    seen: list[str] = []

    class Observer:
        @hookimpl
        def actx_on_plan(self) -> None:
            seen.append("plan")

        @hookimpl
        def actx_on_shard(self, receipt: object) -> None:
            seen.append("shard")
            raise RuntimeError("no")

    def register() -> list[str]:
        registry().hooks.register(Observer(), "observer")
        return seen

    return register
