"""The models that a word on the command line means: a name that some type knows, or a pipeline file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actx_core.cli.options import check
from actx_core.errors import ActxError, ConfigError, ModelError
from actx_core.registry import registry

if TYPE_CHECKING:
    from actx_core.contracts import Config, Model
    from actx_core.hookspecs import Component
    from actx_core.types import Tap


@dataclass(frozen=True)
class Named:
    """A model with its taps.

    ``id`` is what it is called, ``type`` its component, ``name`` the option of that name in a pipeline.
    """

    id: str
    type: str
    model: Model[Any]
    taps: Sequence[Tap]
    name: str = ""


def find_models(name: str, kind: str | None, sets: Sequence[str]) -> Iterator[Named]:
    """Each model that is meant: one, those of a pipeline, or those that a name stands for.

    ``kind`` is the type that knows the name; without it all are tried in turn. ``sets`` are the values of
    ``--set``. Raises ModelError where no type knows the name.
    """
    if is_pipeline(name, kind):
        yield from _of_pipeline(name, sets)
        return
    tried = []
    for component, rest in _candidates(name, kind):
        try:
            entries = _entries(component, rest, sets)
            first = _built(*entries[0])
        except ActxError as error:
            if kind is not None:
                raise
            hint = f" ({error.hint})" if error.hint else ""
            tried.append(f"{_label(component)}: {error.message}{hint}")
            continue
        yield first
        for entry in entries[1:]:
            yield _built(*entry)
        return
    raise ModelError(
        f"no type of model knows '{name}'; tried {'; '.join(tried) or 'none, there is none'}",
        hint="say which: --type NAME; `actx models` lists names, `actx plugins` types",
    )


def is_pipeline(name: str, kind: str | None) -> bool:
    """Whether the word means a pipeline file; other files may be models."""
    return kind is None and name.endswith(".toml")


def _of_pipeline(file: str, sets: Sequence[str]) -> Iterator[Named]:
    from actx_core.plan import build_model
    from actx_core.run import Pipeline

    for entry in Pipeline.from_file(file, sets).config.models:
        model = build_model(entry)
        name = str(entry.given.get("name", ""))
        yield Named(entry.id, _label(entry.component), model, model.taps(), name)


def _candidates(name: str, kind: str | None) -> list[tuple[Component, str]]:
    """Types of models with the name that each would be asked for; ``timm/x`` asks timm for x first."""
    if kind is not None:
        return [(registry().find("model", kind), name)]
    types = registry().all("model")
    prefixed = [
        (component, name.removeprefix(prefix))
        for component in types
        for prefix in (f"{_label(component)}/", f"{component.name}/")
        if name.startswith(prefix)
    ]
    return prefixed + [(component, name) for component in types]


def _entries(
    component: Component, name: str, sets: Sequence[str]
) -> list[tuple[str, Component, Config]]:
    """What a model of this name is, or stands for: (id, component, options); random weights if it can."""
    from actx_core.config.tables import MODEL

    config = registry().load_config(component)
    if config.name_field not in config.model_fields:
        raise ConfigError("it takes no name", hint="describe it in a pipeline file")
    given = {config.name_field: name}
    if "weights" in config.model_fields:
        given["weights"] = "random"
    checked: Config = check(config, given, sets)
    stands_for = checked.expand({"type": _label(component), **_overridden(given, sets)})
    if not stands_for:
        return [(name, component, checked)]
    entries = []
    for table in stands_for:
        each = registry().find("model", table["type"])
        options = {key: value for key, value in table.items() if key not in MODEL.own}
        found: Config = check(registry().load_config(each), options)
        entries.append((table.get("as") or found.label() or name, each, found))
    return entries


def _overridden(given: Mapping[str, Any], sets: Sequence[str]) -> dict[str, Any]:
    """The table as ``--set`` leaves it."""
    from actx_core.config.overrides import apply
    from actx_core.config.problems import Places, Problems

    table = dict(given)
    problems = Problems(Places.of_dict(table))
    apply(table, sets, problems.places, problems)
    return table


def _built(id: str, component: Component, config: Config) -> Named:
    model: Model[Any] = registry().load(component)(config)
    return Named(id, _label(component), model, model.taps())


def _label(component: Component) -> str:
    return f"{component.plugin}/{component.name}"
