"""The plugin's declarations: cheap to list, cheap to check options, and right."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from actx_cluster import plugin
from actx_core import Analyzer, Config


def loaded_after(code):
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_listing_and_checking_options_import_nothing_heavy():
    listed = loaded_after("from actx_cluster import plugin; list(plugin.actx_analyzers())")
    assert not listed & {"numpy", "pydantic", "sklearn", "matplotlib"}
    modules = sorted({c.config.partition(":")[0] for c in plugin.actx_analyzers()})
    checked = loaded_after(f"import {', '.join(modules)}")
    assert not checked & {"numpy", "sklearn", "matplotlib", "scipy"}


def test_running_leaves_pyplot_alone():
    modules = sorted({c.target.partition(":")[0] for c in plugin.actx_analyzers()})
    assert "matplotlib.pyplot" not in loaded_after(f"import {', '.join(modules)}")


@pytest.mark.parametrize("component", list(plugin.actx_analyzers()), ids=lambda c: c.name)
def test_components_name_classes_that_exist(component):
    def load(target):
        module, _, name = target.partition(":")
        return getattr(import_module(module), name)

    assert issubclass(load(component.target), Analyzer)
    assert issubclass(load(component.config), Config)
    assert component.summary.endswith(".")
