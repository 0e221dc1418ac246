"""Everything that a plugin can add to actx.

The ``actx_<kind>s`` hooks declare components. They run whenever plugins are listed, so they must be cheap:
name heavy code by string, and it is imported on first use. The ``actx_on_*`` hooks observe a run, in the
driver, and return nothing; one that raises ActxError stops the run, any other exception switches it off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from actx_core.plan import Plan
    from actx_core.results import Run
    from actx_core.types import Receipt

hookspec = pluggy.HookspecMarker("actx")
hookimpl = pluggy.HookimplMarker("actx")

API = 1
"""Version of these contracts. A plugin module may say ``ACTX_API = 1``; another number is incompatible."""

KINDS = ("model", "source", "pooler", "store", "analyzer", "executor", "format", "command")


@dataclass(frozen=True, slots=True)
class Component:
    """One thing a plugin offers.

    ``target`` is ``"package.module:Class"``, ``config`` likewise, imported on first use. ``extra`` names
    the extra of the plugin's distribution that it needs. ``plugin`` and ``kind`` are filled in by core.
    """

    name: str
    target: str
    summary: str = ""
    config: str = ""
    extra: str = ""
    plugin: str = ""
    kind: str = ""


@hookspec
def actx_models() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare model loaders: subclasses of ``actx_core.Model``."""


@hookspec
def actx_sources() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare data sources: subclasses of ``actx_core.Source``."""


@hookspec
def actx_poolers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare poolers: subclasses of ``actx_core.Pooler``; ``config`` is left out, a pooler is its own."""


@hookspec
def actx_stores() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare storage backends: subclasses of ``actx_core.Store``."""


@hookspec
def actx_analyzers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare analyzers: subclasses of ``actx_core.Analyzer``."""


@hookspec
def actx_executors() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare executors: subclasses of ``actx_core.Executor``."""


@hookspec
def actx_formats() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare export formats: subclasses of ``actx_core.Format``."""


@hookspec
def actx_commands() -> Iterable[Component]:  # type: ignore[empty-body]
    """Declare subcommands of ``actx``: ``target`` names a click command."""


@hookspec
def actx_on_plan(plan: Plan) -> None:
    """Observe a plan before anything runs."""


@hookspec
def actx_on_shard(receipt: Receipt) -> None:
    """Observe one committed shard."""


@hookspec
def actx_on_finish(run: Run, error: BaseException | None) -> None:
    """Observe the end of a run."""
