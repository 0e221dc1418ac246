"""Weights from a local file: strict, and never by unpickling code."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actx_core.errors import ModelError

_WRAPPINGS = ("state_dict", "model")


def load_checkpoint(module: nn.Module, checkpoint: str | Path) -> dict[str, Any]:
    """Load a state dict into the module, every key and shape matching.

    ``checkpoint`` is a path or ``package:NAME/FILE``. Files are read with ``weights_only=True`` or as
    safetensors. Returns what was done to the file's content, for ``Model.describe``: ``file``, and where
    they happened ``unwrapped`` (the key under which the state dict lay) and ``stripped`` (a prefix).

    Raises ModelError where the file is missing, holds anything but tensors, or does not fit.
    """
    path = find_checkpoint(checkpoint)
    facts: dict[str, Any] = {"file": str(checkpoint)}
    state = _read(path)
    for key in _WRAPPINGS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state, facts["unwrapped"] = state[key], key
            break
    if not isinstance(state, dict) or not any(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(
            f"expected a state dict, found {_kind(state)}",
            where=str(path),
            hint=f"save module.state_dict(), bare or under {' or '.join(map(repr, _WRAPPINGS))}",
        )
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
        facts["stripped"] = "module."
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit {type(module).__name__}: {_mismatch(module, state)}",
            where=str(path),
            hint="is it the checkpoint of this architecture, built with the same options?",
        ) from error
    return facts


def find_checkpoint(checkpoint: str | Path) -> Path:
    """The file that a checkpoint option names; a package is located, not imported."""
    path, name = Path(checkpoint), str(checkpoint)
    if name.startswith("package:"):
        package, _, file = name.removeprefix("package:").partition("/")
        spec = find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"no installed package is called '{package}'",
                where=name,
                hint="a checkpoint inside a package is written package:NAME/FILE",
            )
        path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        raise ModelError("no such checkpoint file", where=str(path))
    return path


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ImportError as error:
            raise ModelError(
                "safetensors is not installed", where=str(path), hint="pip install safetensors"
            ) from error
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ModelError(f"not a safetensors file: {error}", where=str(path)) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have their own
        raise ModelError(
            f"cannot be read with weights_only=True: {str(error).splitlines()[0]}",
            where=str(path),
            hint="a file with anything but tensors may run code when loaded;"
            " save its state dict alone, or as safetensors",
        ) from error


def _mismatch(module: nn.Module, state: dict[str, Any]) -> str:
    own = module.state_dict()
    parts = []
    for what, keys in (
        ("missing", [k for k in own if k not in state]),
        ("unexpected", [k for k in state if k not in own]),
        (
            "of another shape",
            [k for k in own if k in state and own[k].shape != getattr(state[k], "shape", None)],
        ),
    ):
        if keys:
            parts.append(
                f"{len(keys)} {what} ({', '.join(keys[:3])}{' …' if len(keys) > 3 else ''})"
            )
    return ", ".join(parts) or "see the cause"


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return (
            f"a dict with the keys {', '.join(map(repr, list(value)[:5]))}"
            if value
            else "an empty dict"
        )
    return f"a {type(value).__name__}"
