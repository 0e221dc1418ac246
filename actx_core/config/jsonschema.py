"""The JSON schema of pipeline files, made from the plugins that are installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from actx_core.config import tables
from actx_core.config.pipeline import JoinOptions, RowOptions, RunOptions
from actx_core.contracts import Config
from actx_core.hookspecs import Component
from actx_core.registry import registry

Schema = dict[str, Any]

_NULL = {"type": "null"}
_HANDED = {"seed", "device", "batch_size"}
"""What [run] supplies, so that no table has to."""


def json_schema() -> Schema:
    """The schema of a pipeline, draft 7, which the editors' TOML checkers know.

    ``type`` is an enum, and ``if``/``then`` adds the options of each component: where ``oneOf`` would
    only say that no alternative fits, this points at the wrong value.
    """
    defs: Schema = {}
    pool = _many(_entry(tables.POOL, defs), "pool", defs)
    model = _entry(tables.MODEL, defs, {"tap": _many(_tap(pool, defs), "tap", defs)})
    model["allOf"].append({"if": {"not": {"required": ["tap"]}}, "then": {"required": ["taps"]}})
    properties = {
        "actx": {"const": tables.VERSION, "description": "Format of this file."},
        "run": _options(RunOptions, "run", defs),
        "source": _many(_entry(tables.SOURCE, defs), "source", defs),
        "model": _many(model, "model", defs),
        "pool": pool,
        "rows": _options(RowOptions, "rows", defs),
        "store": _entry(tables.STORE, defs),
        "executor": _entry(tables.EXECUTOR, defs),
        "join": _many(_options(JoinOptions, "join", defs), "join", defs),
        "analyze": _many(_entry(tables.ANALYZE, defs), "analyze", defs),
        "export": _many(_entry(tables.EXPORT, defs), "export", defs),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "actx pipeline",
        "type": "object",
        "properties": properties,
        "required": ["actx", "run", "source", "model"],
        "additionalProperties": False,
        "definitions": defs,
    }


def _many(table: Schema, name: str, defs: Schema) -> Schema:
    """One table, or a list of them."""
    defs[name] = table
    one = {"$ref": f"#/definitions/{name}"}
    return {
        "description": table.get("description", ""),
        "type": ["object", "array"],
        "if": {"type": "array"},
        "then": {"items": one},
        "else": one,
    }


def _options(model: type[Config], name: str, defs: Schema) -> Schema:
    """The schema of one table of options; what it refers to goes to the definitions of the whole."""
    name = re.sub(r"[^\w.-]", "_", name)
    template = f"#/definitions/{name}.{{model}}"
    schema = model.model_json_schema(ref_template=template)
    for inner, definition in schema.pop("$defs", {}).items():
        defs[f"{name}.{inner}"] = _without_null(definition)
    return _without_null(schema)


def _without_null(schema: Schema) -> Schema:
    """TOML has no null: a key is left out. One alternative less makes plainer errors."""
    properties = schema.get("properties", {})
    for name, field in properties.items():
        if _NULL in field.get("anyOf", ()):
            members = [member for member in field["anyOf"] if member != _NULL]
            rest = {k: v for k, v in field.items() if k != "anyOf" and v is not None}
            one = members[0] if len(members) == 1 else {"anyOf": members}
            properties[name] = {**rest, **one}
    return schema


def _tap(pool: Schema, defs: Schema) -> Schema:
    schema = _options(tables.TapKeys, "tap", defs)
    schema["properties"]["pool"] = {**pool, "description": "Poolers instead of the default ones."}
    return schema


def _entry(section: tables.Section[Any], defs: Schema, apart: Schema | None = None) -> Schema:
    """A table that names a component: core's keys, and the component's own.

    ``apart`` holds the schemas of the tables that are read apart.
    """
    core = _options(section.keys, section.name, defs)
    components = registry().all(section.kind)
    names = {section.key: _names(section, components)}
    properties = {**names, **core.get("properties", {}), **(apart or {})}
    branches = [
        _branch(section, component, properties, components, defs) for component in components
    ]
    return {
        "type": "object",
        "description": core.get("description", ""),
        "properties": properties,
        "required": [*([] if section.default else [section.key]), *core.get("required", ())],
        "allOf": branches or [{}],  # draft 7 allows no empty list
    }


def _names(section: tables.Section[Any], components: list[Component]) -> Schema:
    names = dict.fromkeys(n for c in components for n in _called(c, components))
    lines = [f"{c.plugin}/{c.name}: {c.summary}" for c in components]
    default = {"default": section.default} if section.default else {}
    return {"enum": list(names), "description": "\n".join(lines), **default}


def _called(component: Component, components: list[Component]) -> Iterator[str]:
    """``name`` where it is unambiguous, and ``plugin/name``."""
    if sum(c.name == component.name for c in components) == 1:
        yield component.name
    yield f"{component.plugin}/{component.name}"


def _branch(
    section: tables.Section[Any],
    component: Component,
    shared: Schema,
    components: list[Component],
    defs: Schema,
) -> Schema:
    """If the table names this component, then these are its options."""
    names = list(_called(component, components))
    condition: Schema = {"properties": {section.key: {"enum": names}}}
    if section.default not in names:
        condition["required"] = [section.key]
    label = f"{section.name}.{component.plugin}.{component.name}"
    then: Schema
    try:
        cls = registry().load_config(component)
        own = _options(cls, label, defs)
    except Exception as error:  # a component that cannot be imported says so, and allows anything
        then = {"description": f"{component.summary} ({error})", "properties": {}}
        return {"if": condition, "then": then}
    about = [component.summary, "" if cls is Config else own.get("description", "")]
    then = {
        "description": "\n\n".join(text for text in about if text),
        "properties": {**own.get("properties", {}), **dict.fromkeys(shared, True)},
        "required": [name for name in own.get("required", ()) if name not in _HANDED],
        "additionalProperties": False,
    }
    return {"if": condition, "then": then}
