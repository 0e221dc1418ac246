"""The self-check: whether the sums that define the hook points are equal in a real forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import torch
from torch import nn

from actx_core import ModelError
from actx_hf.hooks.inputs import attempts
from actx_hf.hooks.places import Hooks, Identity, IdentityError, Place

ROUNDINGS = 8
"""By how many roundings of the largest value the two sides of an identity may differ."""


def check(module: nn.Module, hooks: Hooks, inputs: Mapping[str, Any]) -> list[IdentityError]:
    """The error of each identity of ``hooks`` in ``module(**inputs)``, in the order of the forward pass.

    The module must have weights and be in eval mode; inputs lie on its device.
    """
    wanted = {name for each in hooks.identities for name in (each.result, *each.terms)}
    found = read(module, {name: hooks.places[name] for name in wanted}, inputs)
    with torch.no_grad():
        return [IdentityError(str(each), _error(module, each, found)) for each in hooks.identities]


def self_check(module: nn.Module, hooks: Hooks) -> list[IdentityError]:
    """``check`` with a few made-up tokens, or an image. Raises ModelError where the model takes neither."""
    error: Exception | None = None
    for inputs in attempts(module):
        try:
            return check(module, hooks, inputs)
        except Exception as failed:  # any library's own error
            error = error or failed
    raise ModelError(f"{type(module).__name__} cannot be run: {error}") from error


def refuse(errors: Sequence[IdentityError], dtype: torch.dtype, where: str = "") -> None:
    """Raise ModelError naming the identity that fails worst, if one is off by more than rounding."""
    most = ROUNDINGS * torch.finfo(dtype).eps
    wrong = [
        each for each in errors if not each.relative_error <= most
    ]  # not a number is wrong too
    if wrong:
        worst = max(wrong, key=lambda each: (isnan(each.relative_error), each.relative_error))
        raise ModelError(
            f"{len(wrong)} of {len(errors)} identities of the hook points do not hold; {worst.name} is off"
            f" by {worst.relative_error:.1e} of the largest value, at most {most:.1e} is rounding",
            where=where,
            hint="is the checkpoint sound, and does other code hook the model?",
        )


def read(
    module: nn.Module, places: Mapping[str, Place], inputs: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """The tensors at places in one forward pass, copied as they were then."""
    found: dict[str, torch.Tensor] = {}

    def add(name: str, place: Place) -> Any:
        part = module.get_submodule(place.path)

        def before(_: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
            given = (v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor))
            found.setdefault(name, next(given).clone())

        def after(_: nn.Module, args: Any, result: Any) -> None:
            found.setdefault(name, place.read(result).clone())

        if place.side == "in":
            return part.register_forward_pre_hook(before, with_kwargs=True)
        return part.register_forward_hook(after)

    handles = [add(name, place) for name, place in places.items()]
    try:
        with torch.no_grad():
            module(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _error(module: nn.Module, identity: Identity, found: Mapping[str, torch.Tensor]) -> float:
    result = found[identity.result]
    terms = [found[name].reshape(result.shape).to(result.device) for name in identity.terms]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    for path in identity.then:
        total = module.get_submodule(path)(total)
    difference = (total.double() - result.double()).abs().max()
    return float(difference / result.double().abs().max().clamp_min(1e-30))
