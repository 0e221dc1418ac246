"""The torch half: any ``nn.Module`` as a model, its taps, and the live probe.

Importing this package does not import torch; public names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actx_core.torch.capture import Capture
    from actx_core.torch.checkpoints import load_checkpoint
    from actx_core.torch.config import Checkpoint, ImagePreprocess, ModuleConfig, TorchConfig
    from actx_core.torch.data import ShuffledDataset
    from actx_core.torch.devices import resolve_device
    from actx_core.torch.hooks import Point
    from actx_core.torch.images import prepare_images, preview_images
    from actx_core.torch.listing import Form, list_points
    from actx_core.torch.live import probe
    from actx_core.torch.model import TorchModel, digest, named_tensors
    from actx_core.torch.module import Module
    from actx_core.torch.recording import record
    from actx_core.torch.wrapping import wrap

_HOME = {
    "Capture": "capture",
    "Checkpoint": "config",
    "Form": "listing",
    "ImagePreprocess": "config",
    "Module": "module",
    "ModuleConfig": "config",
    "Point": "hooks",
    "TorchConfig": "config",
    "TorchModel": "model",
    "ShuffledDataset": "data",
    "digest": "model",
    "list_points": "listing",
    "load_checkpoint": "checkpoints",
    "named_tensors": "model",
    "prepare_images": "images",
    "preview_images": "images",
    "probe": "live",
    "record": "recording",
    "resolve_device": "devices",
    "wrap": "wrapping",
}

__all__ = [
    "Capture",
    "Checkpoint",
    "Form",
    "ImagePreprocess",
    "Module",
    "ModuleConfig",
    "Point",
    "ShuffledDataset",
    "TorchConfig",
    "TorchModel",
    "digest",
    "list_points",
    "load_checkpoint",
    "named_tensors",
    "prepare_images",
    "preview_images",
    "probe",
    "record",
    "resolve_device",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'actx_core.torch' has no attribute {name!r}")
    value = getattr(import_module(f"actx_core.torch.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
