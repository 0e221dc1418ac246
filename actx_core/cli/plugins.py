"""``actx plugins``: what is installed, what it provides, what it lacks."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict

from actx_core.cli.command import Output, command
from actx_core.hookspecs import KINDS
from actx_core.registry import Plugin, registry


@command(
    json="""
{"interpreter", "python", "plugins": [
  {"name", "distribution", "version", "status", "error", "traceback",
    "components": [{"kind", "name", "summary", "target", "config", "extra",
      "plugin"}],
    "missing": {extra: [distribution]}, "install": [command]}]}
"""
)
def plugins(out: Output) -> None:
    """List plugins and what they provide.

    ACTX_PLUGINS=a,b loads only these, ACTX_DISABLE_PLUGINS=a,b leaves these out.
    """
    found = registry().plugins
    python = f"Python {platform.python_version()}"
    rows = [{**asdict(plugin), "install": _install(plugin)} for plugin in found]
    out.object({"interpreter": sys.executable, "python": python, "plugins": rows})
    out.table(
        ("name", "version", "status", "provides"),
        [(p.name, f"{p.distribution} {p.version}", p.status, _provides(p)) for p in found],
    )
    for plugin in found:
        if plugin.error:
            out.line(f"{plugin.name} is {plugin.status}: {plugin.error}")
        for line in _install(plugin):
            out.line(f"{plugin.name} lacks an extra: {line}")
    out.line(f"{python} at {sys.executable}")


def _provides(plugin: Plugin) -> str:
    names = {kind: [c.name for c in plugin.components if c.kind == kind] for kind in KINDS}
    return "; ".join(f"{kind}: {', '.join(of)}" for kind, of in names.items() if of)


def _install(plugin: Plugin) -> list[str]:
    """The command that installs each missing extra."""
    return [f"pip install '{plugin.distribution}[{extra}]'" for extra in plugin.missing]
