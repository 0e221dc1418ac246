"""Tensors inside arguments and results: tuples, lists, dicts and dataclasses, however nested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import nn


def elements(value: Any) -> dict[str, torch.Tensor]:
    """Dense tensors by dotted name (``logits``, ``1.0``); a bare tensor has the name ``""``."""
    if isinstance(value, torch.Tensor):
        return {"": value} if value.layout == torch.strided and not value.is_nested else {}
    found: dict[str, torch.Tensor] = {}
    for key, child in _children(value):
        for name, tensor in elements(child).items():
            found[f"{key}.{name}" if name else key] = tensor
    return found


def convert(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The same tuples, lists and dicts with every tensor changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: convert(child, change) for key, child in value.items()}
    if isinstance(value, tuple | list):
        return type(value)([convert(child, change) for child in value])
    return value


def call(module: nn.Module, inputs: Any) -> Any:
    """Run the module on a tensor, a tuple of arguments or a dict of keyword arguments."""
    if isinstance(inputs, Mapping):
        return module(**inputs)
    return module(*inputs) if isinstance(inputs, tuple | list) else module(inputs)


def first(args: Iterable[Any], kwargs: Mapping[str, Any]) -> torch.Tensor | None:
    """The first tensor among the arguments of a call."""
    values = (*args, *kwargs.values())
    return next((v for v in values if isinstance(v, torch.Tensor) and elements(v)), None)


def _children(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return ((str(key), child) for key, child in value.items())
    if hasattr(value, "_fields"):
        return zip(value._fields, value, strict=True)
    if isinstance(value, tuple | list):
        return ((str(i), child) for i, child in enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return ((f.name, getattr(value, f.name)) for f in fields(value))
    return ()
