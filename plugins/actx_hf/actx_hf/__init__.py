"""actx-hf: transformers models, datasets and text for actx; public names are loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actx_hf.deeplens import ExtractSingleSample, FromHuggingFace

_HOME = {"ExtractSingleSample": "deeplens", "FromHuggingFace": "deeplens"}

__all__ = ["ExtractSingleSample", "FromHuggingFace"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'actx_hf' has no attribute {name!r}")
    return getattr(import_module(f"actx_hf.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
