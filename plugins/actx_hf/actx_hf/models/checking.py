"""What the self-check of a model finds, hook point by hook point, for ``actx layers MODEL --check``."""

from __future__ import annotations

from actx_core import ModelError
from actx_hf.hooks import Identity, self_check
from actx_hf.models import loading
from actx_hf.models.config import LoadedConfig


def check_hooks(config: LoadedConfig) -> dict[str, str]:
    """By canonical name: where the hook point lies, and the error of the identity that gives it.

    Loads the weights. Raises ModelError where no hook points are known, or an identity does not hold.
    """
    hooks = loading.hooks(config)
    if not hooks.places:
        raise ModelError(hooks.problems["blocks"], where=str(config.name))
    errors = self_check(loading.weights(config), hooks)
    told = {
        identity.result: f"; = {_short(identity)}, off by {error.relative_error:.0e}"
        for identity, error in zip(hooks.identities, errors, strict=True)
    }
    return {name: f"{place}{told.get(name, '')}" for name, place in hooks.places.items()}


def _short(identity: Identity) -> str:
    """The sum, without the name of the block that the result is in."""
    block = identity.result.rpartition(".")[0]
    total = " + ".join(term.removeprefix(f"{block}.") for term in identity.terms)
    for norm in identity.then:
        total = f"{norm.rpartition('.')[2]}({total})"
    return total
