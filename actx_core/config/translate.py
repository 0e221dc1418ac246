"""Turns pydantic's errors about one table into short sentences that point at a key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from actx_core.config.locate import Path
from actx_core.config.problems import did_you_mean, dotted

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text in quotes",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a table",
    "mapping": "a table",
    "model": "a table",
    "model_attributes": "a table",
    "dataclass": "a table",
    "path": "a path in quotes",
    "date": "a date",
    "datetime": "a date and time",
    "time": "a time",
}
"""What the error types int_type, int_parsing, int_from_float … ask for."""

_SCALARS = ("int_type", "float_type", "bool_type", "string_type")

_LIMITS = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "finite",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "none_required": "left out",
}


class Mistake(NamedTuple):
    """One error: the path within the table, a sentence, a hint."""

    path: Path
    message: str
    hint: str = ""


def mistakes(
    error: ValidationError,
    table: Mapping[str, Any],
    cls: type[BaseModel],
    also: Iterable[str] = (),
    coerced: bool = False,
) -> Iterator[Mistake]:
    """Every error of one table. ``also`` are keys that are allowed beside the fields of ``cls``.

    With ``coerced``, the error is one of strict validation, and only single values of the wrong type
    count.
    """
    placed = [(*_place(table, e), e) for e in error.errors(include_url=False) if not _echo(e)]
    if coerced:
        placed = [item for item in placed if _is_coerced(table, item[0], item[2])]
    for union, group in groupby(placed, key=lambda item: item[1]):
        found = [(path, e) for path, _, e in group]
        if union is None:
            for path, e in found:
                yield _mistake(path, e, cls, also)
            continue
        path, e = max(found, key=lambda item: len(item[0]) + (item[1]["type"] == "missing"))
        if len(path) > len(union) or e["type"] == "missing":
            yield _mistake(path, e, cls, also)  # one member of the union fits but for this
        else:
            yield _no_member(union, [e for _, e in found], cls, also)


def _place(table: Mapping[str, Any], error: ErrorDetails) -> tuple[Path, Path | None]:
    """The path within the table, and the path of the union in which it lies.

    pydantic puts the name of the union's member into ``loc``, which no key of the table is.
    """
    node: Any = table
    path: Path = ()
    union: Path | None = None
    for at, step in enumerate(error["loc"]):
        inside = step in node if isinstance(node, Mapping) else False
        if isinstance(node, list) and isinstance(step, int):
            inside = step < len(node)
        if inside:
            path += (step,)
            node = node[step]
        elif union is None and not (error["type"] == "missing" and at == len(error["loc"]) - 1):
            union = path
    return path, union


def _echo(error: ErrorDetails) -> bool:
    """A list that is only short because of wrong elements, which have errors of their own."""
    return error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]


def _is_coerced(table: Mapping[str, Any], path: Path, error: ErrorDetails) -> bool:
    value: Any = table
    for step in path:
        value = value[step]
    scalar = isinstance(value, (str, bool, int, float))
    return scalar and error["type"] in _SCALARS and value == error["input"]


def _mistake(path: Path, error: ErrorDetails, cls: type[BaseModel], also: Iterable[str]) -> Mistake:
    kind, loc = error["type"], error["loc"]
    if kind == "extra_forbidden":
        models = _models(cls, path[:-1])
        allowed = {a for m in models for a in _keys(m)} | (set(also) if len(path) == 1 else set())
        return Mistake(path, f"unknown key '{path[-1]}'", did_you_mean(str(path[-1]), allowed))
    if kind == "missing":
        field = next(
            (f for m in _models(cls, path) if (f := m.model_fields.get(str(loc[-1])))), None
        )
        about = (field.description or "").partition("\n")[0] if field else ""
        return Mistake(path, f"'{dotted((*path, str(loc[-1])))}' is missing", about)
    name = f"'{dotted(path)}'" if path else "the table"
    expected = _expected(error)
    if not expected:
        text = str(error.get("ctx", {}).get("error", "")) or error["msg"]
        text = text.removeprefix("Value error, ").removeprefix("Assertion failed, ")
        return Mistake(path, f"{name}: {text[:1].lower()}{text[1:]}" if path else text)
    return Mistake(path, f"{name} must be {expected}, found {show(error['input'])}", _hint(error))


def _no_member(
    path: Path, errors: Sequence[ErrorDetails], cls: type[BaseModel], also: Iterable[str]
) -> Mistake:
    """Nothing in a union fits: say what all of its members ask for."""
    expected = dict.fromkeys(text for e in errors if (text := _expected(e)))
    if not expected:
        return _mistake(path, errors[0], cls, also)
    found = show(errors[0]["input"])
    return Mistake(path, f"'{dotted(path)}' must be {' or '.join(expected)}, found {found}")


def _expected(error: ErrorDetails) -> str:
    """What would have been right, to follow "must be"; empty where only the message tells."""
    kind = error["type"]
    if kind in _LIMITS:
        limits = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
        return _LIMITS[kind].format_map(limits)
    return _TYPES.get(re.sub(r"_(type|parsing|from_float|instance_of|from_date\w*)$", "", kind), "")


def _plain(limit: Any) -> Any:
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _hint(error: ErrorDetails) -> str:
    if error["type"] not in ("literal_error", "enum") or not isinstance(error["input"], str):
        return ""
    hint = did_you_mean(error["input"], re.findall(r"'([^']*)'", error.get("ctx", {})["expected"]))
    return hint if hint.startswith("did") else ""


def show(value: Any) -> str:
    """A value as it stands in a pipeline, shortened."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "nothing"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list" if value else "an empty list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name


def _models(cls: type[BaseModel], path: Path) -> list[type[BaseModel]]:
    """The models that describe what stands at a path within a table of ``cls``."""
    models = [cls]
    for step in path:
        if isinstance(step, str):
            fields = [f for m in models for n, f in m.model_fields.items() if step in (n, f.alias)]
            models = [inner for f in fields for inner in _inner(f.annotation)]
    return models


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _inner(argument)
