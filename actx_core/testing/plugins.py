"""The suite for a plugin as a whole: it is found, it is cheap to list, and what it names exists."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import pytest

from actx_core.contracts import (
    Analyzer,
    Config,
    Executor,
    Format,
    Model,
    Pooler,
    Source,
    Store,
)
from actx_core.hookspecs import Component
from actx_core.registry import Plugin, Registry
from actx_core.testing.suite import Suite, check_described, python

BASES = {
    "model": Model,
    "source": Source,
    "pooler": Pooler,
    "store": Store,
    "analyzer": Analyzer,
    "executor": Executor,
    "format": Format,
}
FRAMEWORKS = {"torch", "jax", "tensorflow", "transformers", "timm", "torchvision", "sklearn"}
HEAVY = FRAMEWORKS | {
    "numpy",
    "pydantic",
    "pandas",
    "pyarrow",
    "h5py",
    "PIL",
    "scipy",
    "matplotlib",
}


class PluginTests(Suite):
    """Define the fixture ``plugin``: the name of its entry point in the group ``actx``."""

    @pytest.fixture
    def plugin(self) -> str:
        raise NotImplementedError("define a fixture `plugin` that returns the entry point's name")

    @pytest.fixture
    def registry(self) -> Registry:
        return Registry()

    @pytest.fixture
    def found(self, plugin: str, registry: Registry) -> Plugin:
        found = next((p for p in registry.plugins if p.name == plugin), None)
        assert found, f"no entry point '{plugin}' in the group actx: is the plugin installed?"
        return found

    @pytest.fixture
    def components(self, found: Plugin) -> Sequence[Component]:
        """Those whose extras are installed."""
        return [c for c in found.components if c.extra not in found.missing]

    def test_it_loads(self, found: Plugin) -> None:
        assert found.status == "ok", found.traceback or found.error
        assert found.version, "the distribution has no version"

    def test_components_are_named_apart_and_summed_up(self, found: Plugin) -> None:
        times = Counter((c.kind, c.name) for c in found.components)
        assert max(times.values(), default=0) <= 1, f"declared twice: {times.most_common(1)}"
        silent = [c.name for c in found.components if not c.summary]
        assert not silent, f"no summary: {', '.join(silent)}"

    def test_listing_imports_nothing_heavy(self, plugin: str, found: Plugin) -> None:
        loaded = _loaded(plugin)
        assert not loaded & HEAVY, f"listing imports {loaded & HEAVY}"

    def test_configs_import_no_framework(
        self, plugin: str, components: Sequence[Component]
    ) -> None:
        modules = [c.config.partition(":")[0] for c in components if c.config]
        loaded = _loaded(plugin, modules)
        assert not loaded & FRAMEWORKS, f"the modules of the Configs import {loaded & FRAMEWORKS}"

    def test_components_are_what_they_say(
        self, registry: Registry, components: Sequence[Component]
    ) -> None:
        for component in components:
            target = registry.load(component)
            base = BASES.get(component.kind)
            if base is None:
                assert hasattr(target, "make_context"), f"{component.name} is no click command"
            else:
                assert issubclass(target, base), f"{component.target} is no {base.__name__}"
                kept = getattr(target, "__abstractmethods__", ())
                assert not kept, f"{component.target} does not define {', '.join(kept)}"

    def test_configs_are_described(
        self, registry: Registry, components: Sequence[Component]
    ) -> None:
        for component in components:
            if component.kind != "command":
                config = registry.load_config(component)
                assert issubclass(config, Config), f"{component.config} is no Config"
                check_described(config)


def _loaded(plugin: str, modules: Sequence[str] = ()) -> set[str]:
    """The packages that are imported once this plugin is listed, and the modules imported."""
    return set(json.loads(python(_LIST, plugin, *modules).splitlines()[-1]))


_LIST = """
import json, sys
from importlib import import_module, metadata
plugin, *modules = sys.argv[1:]
module = next(iter(metadata.entry_points(group="actx", name=plugin))).load()
for name in dir(module):
    declares = name.startswith("actx_") and not name.startswith("actx_on_")
    if declares and hasattr(getattr(module, name), "actx_impl"):
        list(getattr(module, name)())
for name in modules:
    import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
