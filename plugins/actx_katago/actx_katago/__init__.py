"""actx-katago: KataGo networks and Go positions for actx; public names are loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actx_katago.network.ablation import project_out
    from actx_katago.network.file import NetworkFile, read_network, write_network
    from actx_katago.network.module import Network, load_network, load_weights
    from actx_katago.network.outputs import Prediction, postprocess
    from actx_katago.network.random import random_network, randomised

_HOMES = {
    "network.ablation": "project_out",
    "network.file": "NetworkFile read_network write_network",
    "network.module": "Network load_network load_weights",
    "network.outputs": "Prediction postprocess",
    "network.random": "random_network randomised",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Network",
    "NetworkFile",
    "Prediction",
    "load_network",
    "load_weights",
    "postprocess",
    "project_out",
    "random_network",
    "randomised",
    "read_network",
    "write_network",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'actx_katago' has no attribute {name!r}")
    return getattr(import_module(f"actx_katago.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
