"""What ``from actx_vision import …`` gives: loaded on first use, seen by type checkers, nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import actx_vision


@pytest.mark.parametrize("name", actx_vision.__all__)
def test_every_name_is_that_of_its_module(name):
    found = getattr(actx_vision, name)
    assert found.__name__ == name
    assert getattr(import_module(found.__module__), name) is found
    assert name in dir(actx_vision)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(actx_vision.__file__).read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert sorted(alias.name for node in block.body for alias in node.names) == actx_vision.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'actx_vision' has no attribute 'nonsense'"):
        _ = actx_vision.nonsense


def test_importing_the_package_imports_nothing_heavy():
    heavy = "numpy torch h5py pyarrow PIL pydantic"
    script = f"import sys, actx_vision; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
