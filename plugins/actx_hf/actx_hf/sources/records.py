"""Turns rows of a data set into samples: text or messages, an id, and columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import pyarrow as pa
from pyarrow import types

from actx_core import SourceError
from actx_hf.sources.config import DatasetsConfig, address


def check_schema(config: DatasetsConfig, schema: pa.Schema) -> None:
    """Raise SourceError where a column is missing or of a kind that does not fit."""
    where = address(config.path)
    for name in config.wanted:
        if name not in schema.names:
            found = ", ".join(f"'{each}'" for each in schema.names)
            close = get_close_matches(name, schema.names, n=3)
            option = "messages" if config.messages else "column"
            hint = f"say which with {option}" if name == config.content else ""
            raise SourceError(
                f"expected a column '{name}', found {found}",
                where=where,
                hint=f"did you mean {' or '.join(map(repr, close))}?" if close else hint,
            )
    content = schema.field(config.content).type
    if config.messages:
        _check_messages(config.messages, content, where)
    elif not (types.is_null(content) or _is_text(content)):
        raise SourceError(
            f"expected text in '{config.column}', found {content}",
            where=where,
            hint="conversations are named with messages",
        )
    for name in config.wanted[1:]:
        kind = schema.field(name).type
        if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
            raise SourceError(f"expected numbers or text in '{name}', found {kind}", where=where)


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if types.is_dictionary(kind) else kind
    return any(
        is_kind(value) for is_kind in (types.is_string, types.is_large_string, types.is_string_view)
    )


def _check_messages(name: str, kind: pa.DataType, where: str) -> None:
    """A list of structs with role and content; what comes as JSON is checked when it is read."""
    each = kind.value_type if types.is_list(kind) or types.is_large_list(kind) else kind
    if each != kind and (types.is_null(each) or isinstance(each, pa.BaseExtensionType)):
        return
    if each == kind or not types.is_struct(each):
        raise SourceError(f"expected lists of messages in '{name}', found {kind}", where=where)
    fields = [each.field(i).name for i in range(each.num_fields)]
    if not {"role", "content"} <= set(fields):
        raise SourceError(
            f"expected messages with role and content in '{name}', found {', '.join(fields)}",
            where=where,
        )


def content(config: DatasetsConfig, value: Any, where: str) -> str | list[dict[str, Any]]:
    """What a row holds as the sample's data: its text, or its messages. Raises SourceError."""
    if not config.messages:
        if not isinstance(value, str):
            raise SourceError(f"expected text, found {_told(value)}", where=where)
        return value
    if not isinstance(value, list):
        raise SourceError(f"expected messages, found {_told(value)}", where=where)
    return [_message(each, where) for each in value]


def _message(given: Any, where: str) -> dict[str, Any]:
    """One message without the fields that Arrow added, empty, since others have them."""
    if isinstance(given, str):  # messages of differing fields come as JSON
        given = json.loads(given)
    if not isinstance(given, Mapping) or not {"role", "content"} <= given.keys():
        raise SourceError(
            f"expected a message with role and content, found {_told(given)}", where=where
        )
    return {name: value for name, value in given.items() if value is not None}


def place(config: DatasetsConfig, part: str, row: int) -> str:
    """A row as errors name it."""
    return f"{part or address(config.path)}, row {row}"


def sample_id(config: DatasetsConfig, part: str, row: int, record: Mapping[str, Any]) -> str:
    """The id of a row: what the column of ids holds, or the part and the row's number in it."""
    if not config.id:
        return f"{part}:{row:08d}" if part else f"{row:08d}"
    given = record[config.id]
    if given is None or given == "":
        where = place(config, part, row)
        raise SourceError(f"expected an id in '{config.id}', found nothing", where=where)
    return str(given)


def columns(config: DatasetsConfig, record: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and text as they are; dates and the like as text."""
    return {name: _scalar(record[name]) for name in config.columns}


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else str(value)


def _told(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
