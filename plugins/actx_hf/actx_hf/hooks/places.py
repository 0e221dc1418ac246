"""Where the canonical hook points of a transformer lie, and which sums of them must agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from actx_core import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor at a module: its first tensor argument (``in``), or its result (``out``).

    ``path`` is relative to the module that was resolved, ``""`` itself. ``index`` is the element of a
    result that is a tuple (a number) or a ModelOutput (a name); None where the result is the tensor. A
    ``flat`` tensor has the shape (batch * token, channel).
    """

    path: str
    side: Literal["in", "out"]
    index: int | str | None = None
    flat: bool = False

    def __str__(self) -> str:
        element = "" if self.index is None else f"[{self.index!r}]"
        return f"{self.side}{element} {self.path}".rstrip()

    def read(self, value: Any) -> torch.Tensor:
        """The tensor in what the module got or gave. Raises ModelError where there is none."""
        if self.index is not None and not hasattr(value, "shape"):
            value = value[self.index]
        if not hasattr(value, "shape"):
            raise ModelError(f"expected a tensor, found a {type(value).__name__}", where=str(self))
        tensor: torch.Tensor = value
        return tensor


@dataclass(frozen=True, slots=True)
class Identity:
    """``result`` equals the sum of ``terms``, after the modules ``then`` (norms, by path) if there are any.

    All are canonical names. Without ``then`` and with one term, the two are the same tensor.
    """

    result: str
    terms: tuple[str, ...]
    then: tuple[str, ...] = ()

    def __str__(self) -> str:
        total = " + ".join(self.terms)
        for norm in self.then:
            total = f"{norm}({total})"
        return f"{self.result} = {total}"


@dataclass(frozen=True, slots=True)
class Hooks:
    """The canonical hook points of one module.

    ``places`` are in the order of the forward pass. ``problems`` tells why a name is not there.
    ``blocks`` counts the blocks of each stack by the prefix of its names (``blocks``, or
    ``encoder.blocks`` and ``decoder.blocks``), ``paths`` are their module paths. ``identities`` is what
    ``check`` tests.
    """

    places: Mapping[str, Place] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    blocks: Mapping[str, int] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    identities: tuple[Identity, ...] = ()


@dataclass(frozen=True, slots=True)
class IdentityError:
    """How far an identity is from holding: the largest difference over the largest value."""

    name: str
    relative_error: float
