"""Checks the tables of a pipeline against the options of core and of components."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from actx_core.config.locate import Path
from actx_core.config.problems import Problems, dotted
from actx_core.config.tables import POOL, K, Keys, NamedKeys, Section
from actx_core.config.translate import Mistake, mistakes, show
from actx_core.contracts import Config, Pooler
from actx_core.errors import ActxError
from actx_core.hookspecs import Component
from actx_core.registry import registry

T = TypeVar("T", bound=Config)


@dataclass(frozen=True)
class Checked(Generic[K]):
    """One entry without mistakes: the fields that every Entry has, and core's own keys."""

    entry: tuple[str, Component, Config, Mapping[str, Any]]
    keys: K


@dataclass
class Checker:
    """Checks tables one by one and notes every mistake; what has any comes back as None.

    ``base`` is the folder from which relative paths start. ``handed`` are the values of ``[run]`` for
    Configs that have a field of that name and whose table does not set it. ``seen`` lists, per section,
    each entry's path, id (None where a mistake hides it) and table.
    """

    problems: Problems
    base: FilePath
    handed: Mapping[str, Any] = field(default_factory=dict)
    seen: defaultdict[str, list[tuple[Path, str | None, dict[str, Any]]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def table(self, value: Any, path: Path) -> dict[str, Any] | None:
        if isinstance(value, dict):
            return value
        self.problems.add(path, f"'{dotted(path)}' must be a table, found {show(value)}")
        return None

    def tables(self, value: Any, path: Path) -> list[tuple[Path, dict[str, Any]]]:
        """The tables of ``[name]`` or ``[[name]]`` with their paths."""
        if not isinstance(value, list):
            value = [] if value is None else [(path, value)]
        else:
            value = [((*path, n), entry) for n, entry in enumerate(value)]
        return [(p, table) for p, entry in value if (table := self.table(entry, p)) is not None]

    def options(
        self, cls: type[T], table: Mapping[str, Any], path: Path, also: Iterable[str] = ()
    ) -> T | None:
        """Validate one table. ``also`` are keys that are allowed beside the fields, for hints."""
        handed = {
            name: value
            for name, value in self.handed.items()
            if name in cls.model_fields and name not in table
        }
        full = {**handed, **table}
        context = {"base": self.base}
        options, wrong = None, list[Mistake]()
        try:
            options = cls.model_validate(full, context=context)
        except ValidationError as error:
            wrong = list(mistakes(error, full, cls, also))
        except ActxError as error:
            wrong = [Mistake((), error.message, error.hint)]
        wrong += _coerced(cls, full, context, {mistake.path for mistake in wrong})
        for mistake in wrong:
            start = ("run",) if mistake.path[:1] and mistake.path[0] in handed else path
            self.problems.add((*start, *mistake.path), mistake.message, mistake.hint)
        return None if wrong else options

    def component(
        self, section: Section[Any], table: Mapping[str, Any], path: Path
    ) -> tuple[Component, type[Config]] | None:
        """Look up the component that a table names, and its Config."""
        name = table.get(section.key, section.default)
        at = (*path, section.key)
        if not isinstance(name, str):
            self.problems.add(at, f"'{section.key}' must be text in quotes, found {show(name)}")
            return None
        if not name:
            names = sorted({c.name for c in registry().all(section.kind)})
            hint = f"there are: {', '.join(names) or 'none'}"
            self.problems.add(path, f"'{section.name}' has no '{section.key}'", hint)
            return None
        try:
            component = registry().find(section.kind, name)
            cls = registry().load_config(component)
        except ActxError as error:
            self.problems.add(at, error.message, error.hint)
            return None
        except Exception as error:
            # whatever a plugin's module does when it is imported is a mistake of this line alone
            self.problems.add(at, f"{section.kind} '{name}' failed to import: {error!r}")
            return None
        wanted = Pooler if section is POOL else Config
        if not (isinstance(cls, type) and issubclass(cls, wanted)):
            what = f"{section.kind} '{component.plugin}/{component.name}'"
            self.problems.add(at, f"{what}: its options are no {wanted.__name__}: {cls!r}")
            return None
        return component, cls

    def entry(self, section: Section[K], table: dict[str, Any], path: Path) -> Checked[K] | None:
        """Check one table that names a component: core's keys, and the rest by its Config."""
        found = self.component(section, table, path)
        core = self.options(section.keys, {k: table[k] for k in section.named if k in table}, path)
        config = None
        if found:
            own = {k: v for k, v in table.items() if k not in section.own}
            config = self.options(found[1], own, path, section.own)
        name = _id(table, core, found and found[0], config)
        self.seen[section.name].append((path, name, table))
        if found is None or core is None or config is None or name is None:
            return None
        return Checked((name, found[0], config, table), core)

    def poolers(self, value: Any, path: Path) -> tuple[Pooler, ...]:
        """The chain of poolers in one table or a list of tables."""
        chain = []
        for at, table in self.tables(value, path):
            if found := self.component(POOL, table, at):
                own = {k: v for k, v in table.items() if k != POOL.key}
                pooler = self.options(found[1], own, at, POOL.own)
                if isinstance(pooler, Pooler):
                    chain.append(pooler)
        return tuple(chain)


def _coerced(
    cls: type[Config], table: Mapping[str, Any], context: Mapping[str, Any], known: set[Path]
) -> list[Mistake]:
    """Values that pydantic would quietly turn into another type, such as "8" or true for a number.

    By way of JSON, strict validation still takes a list for a tuple and text for a path.
    """
    try:
        cls.model_validate_json(json.dumps(table, default=str), strict=True, context=context)
    except ValidationError as error:
        found = mistakes(error, table, cls, coerced=True)
        return [mistake for mistake in found if mistake.path not in known]
    except ActxError:
        pass  # said by the plain validation
    return []


def _id(
    table: Mapping[str, Any], core: Keys | None, component: Component | None, config: Config | None
) -> str | None:
    given = table.get("as")
    if isinstance(given, str) and (core is None or isinstance(core, NamedKeys)):
        return given
    if component is None or config is None:
        return None
    return config.label() or component.name
