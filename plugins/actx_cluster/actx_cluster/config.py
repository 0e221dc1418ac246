"""Kinds of options that several analyzers share; imports neither numpy nor scikit-learn."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

PREPROCESS = re.compile(r"none|center|zscore|l2|(pca|whiten):[1-9]\d*")


def _preprocess(value: str) -> str:
    if not PREPROCESS.fullmatch(value):
        raise ValueError('expected "none", "center", "zscore", "l2", "pca:N" or "whiten:N"')
    return value


Preprocess = Annotated[
    str,
    AfterValidator(_preprocess),
    WithJsonSchema({"type": "string", "pattern": f"^({PREPROCESS.pattern})$"}),
]
"""What is done to the rows first: ``pca:N`` keeps N principal components, ``whiten:N`` scales them too."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _listed(k: Any) -> Any:
    return k if isinstance(k, list | tuple) else [k]


def _different(k: tuple[int, ...]) -> tuple[int, ...]:
    if not k or len(set(k)) < len(k):
        raise ValueError("expected one number of clusters or several different ones")
    return k


_ONE = {"type": "integer", "minimum": 1}

Counts = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    BeforeValidator(_listed),
    AfterValidator(_different),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}),
]
"""One number, or several different ones."""

UNITS = {"B": 0, "KB": 1, "MB": 2, "GB": 3, "TB": 4}


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(I?)B", value.strip().upper())
    if not found:
        raise ValueError('expected bytes, such as "2GB" or "500MB"')
    return int(float(found[1]) * (1024 if found[3] else 1000) ** UNITS[f"{found[2]}B"])


Bytes = Annotated[
    int,
    Field(ge=1),
    BeforeValidator(_bytes),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 1}]}),
]
"""An amount of memory: ``"2GB"`` or a number of bytes."""
