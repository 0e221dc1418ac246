"""What may differ between a checkpoint and the model it was loaded into: heads that are left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from actx_core import ModelError

_SHOWN = 3
_HEAD = "lm_head"
"""A head by its name; that of LLaVA lies in the part language_model."""


def drop_pooler(module: Any, missing: set[str]) -> None:
    """Take off a pooler that the checkpoint does not have, and its keys from those missing.

    Checkpoints with a head for tokens have none; random weights must not stand in for it.
    """
    own = getattr(module, "pooler", None)
    keys = {f"pooler.{key}" for key in own.state_dict()} if own is not None else set()
    if keys and keys <= missing:
        module.pooler = None
        missing -= keys


def refuse_differences(name: str, module: Any, info: Mapping[str, Collection[str]]) -> None:
    """Raise ModelError where a weight was not found, or a key stands for no part of the base model.

    ``info`` is what ``from_pretrained`` tells of its loading. Keys of other parts are those of heads.
    """
    base = module.base_model
    parts = {module.base_model_prefix, *(part for part, _ in base.named_children())}
    unexpected = [
        key
        for key in info["unexpected_keys"]
        if key.partition(".")[0] in parts and _HEAD not in key.split(".")
    ]
    told = [
        f"{len(keys)} {what} ({', '.join(sorted(keys)[:_SHOWN])}{' …' if len(keys) > _SHOWN else ''})"
        for what, keys in (("missing", info["missing_keys"]), ("unexpected", unexpected))
        if keys
    ]
    if told:
        raise ModelError(
            f"the weights do not fit the architecture: {', '.join(told)}",
            where=name,
            hint="is it the checkpoint that its config.json describes?",
        )
