"""Settings of all tests: a clean environment, one thread per worker, GPU tests only where there is one."""

from __future__ import annotations

import os

import pytest

for name in list(os.environ):
    if name.startswith("ACTX_") or name in {"FORCE_COLOR", "NO_COLOR"}:
        del os.environ[name]
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores already; read by torch and OpenBLAS when they are imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings  # noqa: E402 (after the environment is set)

# Time limits per example fail by chance on a busy machine; pytest-timeout watches over the whole test.
settings.register_profile("actx", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("actx")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    wanted = [item for item in items if item.get_closest_marker("gpu")]
    if not wanted:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wanted:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
