"""actx-vision: images, their models and their activations for actx; public names are loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actx_vision.formats.lazy_activations import (
        LazyActivations,
        get_activation_shape,
        get_available_images,
        get_available_layers,
        get_available_models,
        load_lazy_activations,
        load_model_activations_lazy,
    )
    from actx_vision.formats.loaders import get_image_set
    from actx_vision.formats.slices import (
        merge_activations,
        slices2tensor,
        split_activations,
        tensor2slices,
    )

_HOMES = {
    "formats.lazy_activations": "LazyActivations get_activation_shape get_available_images"
    " get_available_layers get_available_models load_lazy_activations load_model_activations_lazy",
    "formats.loaders": "get_image_set",
    "formats.slices": "merge_activations slices2tensor split_activations tensor2slices",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "LazyActivations",
    "get_activation_shape",
    "get_available_images",
    "get_available_layers",
    "get_available_models",
    "get_image_set",
    "load_lazy_activations",
    "load_model_activations_lazy",
    "merge_activations",
    "slices2tensor",
    "split_activations",
    "tensor2slices",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'actx_vision' has no attribute {name!r}")
    return getattr(import_module(f"actx_vision.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
