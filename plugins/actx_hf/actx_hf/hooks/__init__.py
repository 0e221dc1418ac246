"""Canonical hook points of transformers models: where they lie in a module, and that they hold."""

from actx_hf.hooks.check import check, read, refuse, self_check
from actx_hf.hooks.places import Hooks, Identity, IdentityError, Place
from actx_hf.hooks.resolve import resolve

__all__ = [
    "Hooks",
    "Identity",
    "IdentityError",
    "Place",
    "check",
    "read",
    "refuse",
    "resolve",
    "self_check",
]
