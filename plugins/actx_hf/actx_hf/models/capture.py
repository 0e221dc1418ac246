"""One forward pass that hands over the tensors at some spots, and stops after the last of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from actx_core import TapError
from actx_hf.models.spots import Side, Spot, Watch, elements

if TYPE_CHECKING:
    import torch
    from torch import nn


class _Stop(BaseException):
    """All tensors are there. Not an Exception, so that no module catches it."""


class Capture:
    """Hooks at some spots of a module, in place until ``remove``."""

    def __init__(self, module: nn.Module, spots: Sequence[Spot]) -> None:
        self._spots: dict[tuple[str, Side, int], list[Spot]] = defaultdict(list)
        for spot in spots:
            self._spots[spot.path, spot.side, spot.call].append(spot)
        self._names = {spot.tap.name for spot in spots}
        self._missing: set[str] = set()
        self._take: Callable[[Spot, torch.Tensor], None] | None = None
        self._watch = Watch(module, ((s.path, s.side) for s in spots), self._event)

    def run(self, forward: Callable[[], Any], take: Callable[[Spot, torch.Tensor], None]) -> None:
        """Call ``forward``, which runs the module; ``take`` gets each tensor while it is unchanged.

        Raises TapError where a spot was not reached.
        """
        self._take, self._missing = take, set(self._names)
        self._watch.begin()
        try:
            forward()
        except _Stop:
            pass
        finally:
            self._take = None
        if self._missing:
            raise TapError(
                "it did not fire in this forward pass, although it did in the probe",
                where=", ".join(sorted(self._missing)),
            )

    def remove(self) -> None:
        self._watch.remove()

    def _event(self, path: str, side: Side, call: int, value: Any) -> None:
        if self._take is None:
            return
        tensors = dict(elements(value))
        for spot in self._spots.get((path, side, call), ()):
            if spot.element in tensors:
                self._take(spot, tensors[spot.element])
                self._missing.discard(spot.tap.name)
        if not self._missing:
            raise _Stop
