"""Finds plugins, isolates broken ones, and resolves component names.

pluggy's own entry-point loader stops at the first plugin that fails, so this module has its own loop. It
imports neither numpy nor pydantic: listing plugins must stay cheap.
"""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module, metadata
from typing import Any, Literal

import pluggy

from actx_core import hookspecs
from actx_core.errors import ComponentConflict, ComponentNotFound, PluginError
from actx_core.hookspecs import API, KINDS, Component

Status = Literal["ok", "disabled", "broken", "incompatible"]


@dataclass(slots=True)
class Plugin:
    """One entry point of the group ``actx`` and what became of it."""

    name: str
    distribution: str = ""
    version: str = ""
    status: Status = "ok"
    error: str = ""
    traceback: str = ""
    components: list[Component] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    """Extras that some component needs, with the distributions that are not installed."""


class Registry:
    """The plugins of this interpreter and the components they offer."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.hooks = pluggy.PluginManager("actx")
        self.hooks.add_hookspecs(hookspecs)
        for entry in _entry_points():
            self.plugins.append(self._load(entry, {p.name: p.distribution for p in self.plugins}))

    def _load(self, entry: metadata.EntryPoint, taken: Mapping[str, str]) -> Plugin:
        dist = entry.dist
        plugin = Plugin(entry.name, dist.name if dist else "", dist.version if dist else "")
        if entry.name in taken:
            plugin.status = "broken"
            plugin.error = f"{taken[entry.name]} has a plugin of that name already"
            return plugin
        if _disabled(entry.name):
            plugin.status = "disabled"
            return plugin
        try:
            module = entry.load()
            wanted = getattr(module, "ACTX_API", API)
            if wanted != API:
                plugin.status = "incompatible"
                plugin.error = f"made for actx API {wanted}, this is {API}"
                return plugin
            self.hooks.register(module, entry.name)
            self.hooks.check_pending()
            plugin.components = list(self._components(entry.name))
            _refuse_twice(plugin.components)
            plugin.missing = _missing_extras(dist, plugin.components)
        except (Exception, SystemExit) as error:  # whatever a plugin does wrong stays in its row
            if os.environ.get("ACTX_STRICT_PLUGINS"):
                raise
            if self.hooks.has_plugin(entry.name):
                self.hooks.unregister(name=entry.name)
            plugin.status = "broken"
            plugin.error = f"{type(error).__name__}: {error}"
            plugin.traceback = traceback.format_exc()
            plugin.components = []
        return plugin

    def _components(self, plugin: str) -> Iterator[Component]:
        for kind in KINDS:
            for impl in getattr(self.hooks.hook, f"actx_{kind}s").get_hookimpls():
                if impl.plugin_name != plugin:
                    continue
                for component in impl.function() or ():
                    if not isinstance(component, Component) or ":" not in component.target:
                        raise TypeError(
                            f"actx_{kind}s must yield Component(name, 'module:Class'), got {component!r}"
                        )
                    yield replace(component, plugin=plugin, kind=kind)

    def all(self, kind: str) -> list[Component]:
        """Every component of one kind, in the order of plugins."""
        return [c for p in self.plugins for c in p.components if c.kind == kind]

    def find(self, kind: str, name: str) -> Component:
        """The component called ``name``, or ``plugin/name``.

        Raises ComponentNotFound (with near misses and the plugins that failed to load) and
        ComponentConflict (two plugins offer the name).
        """
        plugin, _, short = name.rpartition("/")
        found = [
            c for c in self.all(kind) if c.name == short and (not plugin or c.plugin == plugin)
        ]
        if len(found) > 1:
            names = ", ".join(f"'{c.plugin}/{c.name}'" for c in found)
            raise ComponentConflict(
                f"{len(found)} plugins offer the {kind} '{name}'", hint=f"say which: {names}"
            )
        if not found:
            raise ComponentNotFound(f"no {kind} is called '{name}'", hint=self._hint(kind, name))
        return found[0]

    def _hint(self, kind: str, name: str) -> str:
        names = [c.name for c in self.all(kind)]
        close = get_close_matches(name.rpartition("/")[2], names, n=3)
        hint = (
            f"did you mean {' or '.join(repr(c) for c in close)}?"
            if close
            else f"there are: {', '.join(sorted(set(names))) or 'none'}"
        )
        failed = [f"{p.name} ({p.error})" for p in self.plugins if p.error]
        disabled = [p.name for p in self.plugins if p.status == "disabled"]
        if failed:
            hint += f"; plugins that failed to load: {', '.join(failed)}"
        if disabled:
            hint += f"; disabled plugins: {', '.join(disabled)}"
        return hint

    def load(self, component: Component) -> Any:
        """Import the component's class."""
        return self._import(component, component.target)

    def load_config(self, component: Component) -> Any:
        """Import the component's Config; a pooler is its own, and what names none has no options."""
        if component.config:
            return self._import(component, component.config)
        if component.kind == "pooler":
            return self._import(component, component.target)
        from actx_core.contracts import Config

        return Config

    def _import(self, component: Component, target: str) -> Any:
        module, _, name = target.partition(":")
        label = f"{component.kind} '{component.plugin}/{component.name}'"
        try:
            found = import_module(module)
        except ImportError as error:
            plugin = next((p for p in self.plugins if p.name == component.plugin), None)
            package = plugin.distribution if plugin else component.plugin
            hint = f"pip install '{package}[{component.extra}]'" if component.extra else ""
            raise PluginError(f"{label} failed to import: {error}", hint=hint) from error
        except Exception as error:  # whatever a plugin's module does wrong
            raise PluginError(
                f"{label} failed to import: {type(error).__name__}: {error}"
            ) from error
        if not hasattr(found, name):
            raise PluginError(f"{label}: {module} has no '{name}'")
        return getattr(found, name)

    def versions(self) -> Mapping[str, str]:
        """Name and version of each plugin that works."""
        return {p.name: f"{p.distribution} {p.version}" for p in self.plugins if p.status == "ok"}


def _entry_points() -> list[metadata.EntryPoint]:
    """The group's entry points, core's own first; a distribution that is found twice counts once."""
    seen: dict[tuple[str, str], metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group="actx"):
        seen.setdefault((entry.name, entry.dist.name if entry.dist else ""), entry)
    return sorted(seen.values(), key=lambda e: (e.name != "core", e.name))


def _disabled(name: str) -> bool:
    if "ACTX_PLUGINS" in os.environ and name != "core" and name not in _listed("ACTX_PLUGINS"):
        return True
    return name in _listed("ACTX_DISABLE_PLUGINS")


def _listed(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",")]


def _refuse_twice(components: list[Component]) -> None:
    """A plugin may offer a name once per kind."""
    if not components:
        return
    (kind, name), count = Counter((c.kind, c.name) for c in components).most_common(1)[0]
    if count > 1:
        raise ValueError(f"the {kind} '{name}' is declared {count} times")


def _missing_extras(
    dist: metadata.Distribution | None, components: list[Component]
) -> dict[str, list[str]]:
    """Which extras named by components have requirements that are not installed."""
    extras = sorted({c.extra for c in components if c.extra})
    if not extras or dist is None:
        return {}
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}
    for requirement in map(Requirement, dist.requires or ()):
        for extra in extras:
            marker = requirement.marker
            if marker is None or marker.evaluate() or not marker.evaluate({"extra": extra}):
                continue
            try:
                metadata.version(requirement.name)
            except metadata.PackageNotFoundError:
                missing.setdefault(extra, []).append(requirement.name)
    return missing


@cache
def registry() -> Registry:
    """The registry of this process; ``registry.cache_clear()`` looks again."""
    return Registry()
