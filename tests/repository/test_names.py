"""Public names: all there, loaded on first use, documented, and the only ones that plugins import."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import actx_core

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "actx_core",
    "actx_core.packages",
    "actx_core.poolers",
    "actx_core.testing",
    "actx_core.torch",
)
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_exists(module):
    names = _public_names(module)
    assert names
    assert len(names) == len(set(names))
    assert all(hasattr(importlib.import_module(module), name) for name in names)


def _public_names(module: str) -> list[str]:
    found = importlib.import_module(module)
    return getattr(found, "__all__", [name for name in vars(found) if not name.startswith("_")])


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(actx_core.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.asname or alias.name for node in block.body for alias in node.names]
    assert sorted(seen) == sorted(actx_core.__all__)


def test_importing_core_imports_nothing_heavy():
    heavy = "numpy pydantic pyarrow click rich torch pluggy pandas h5py"
    script = f"import sys, actx_core; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = actx_core.nonsense
    assert set(actx_core.__all__) <= set(dir(actx_core))


def test_every_public_name_is_documented():
    text = (ROOT / "docs" / "plugins.md").read_text()
    table = text.partition("## Public names")[2].partition("\n## ")[0]
    rows = "".join(line for line in table.splitlines(keepends=True) if line.startswith("|"))
    documented = set(re.findall(r"`(\w+)`", rows))
    assert documented == set(actx_core.__all__)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_imports_only_public_names_of_core(plugin):
    private = []
    for path in sorted((ROOT / "plugins" / plugin / plugin).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            private += [f"{where}: {name}" for name in _private_names(node)]
    assert private == []


def _private_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [
            a.name for a in node.names if a.name.startswith("actx_core") and a.name not in PUBLIC
        ]
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "actx_core":
        if node.module not in PUBLIC:
            return [str(node.module)]
        public = [*_public_names(node.module), "__version__"]
        return [f"{node.module}.{a.name}" for a in node.names if a.name not in public]
    return []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_do_not_import_each_other(plugin):
    others = set(PLUGINS) - {plugin}
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "plugins" / plugin / plugin).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in _imported(node)
    }
    assert imported & others == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [node.module or ""]
    return []
