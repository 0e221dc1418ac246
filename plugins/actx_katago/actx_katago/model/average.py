"""The mean of activations over the 8 symmetries, each turned back first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from actx_core import Activation
from actx_katago.model.views import KEYS, PLANE, on_board
from actx_katago.positions.symmetry import COUNT, turn_back

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Average:
    """Sums of a batch whose boards (samples, y, x) are True on the board, as they stand unturned."""

    def __init__(self, board: np.ndarray) -> None:
        self._board = board
        self._sizes = list(
            zip(board[:, :, 0].sum(1).tolist(), board[:, 0, :].sum(1).tolist(), strict=True)
        )
        self._sums: dict[str, Tensor] = {}
        self._like: dict[str, Activation] = {}

    def adding(self, symmetry: int) -> Callable[[str, Activation], Activation]:
        """What to hand to a forward pass in this symmetry instead of a pooler."""

        def add(name: str, activation: Activation) -> Activation:
            array = activation.array if activation.array.itemsize > 2 else activation.array.float()
            back = self._back(array, activation.axes, symmetry)
            self._sums[name] = back if name not in self._sums else self._sums[name] + back
            self._like[name] = replace(activation, array=activation.array[:0], mask=None)
            return self._like[name]

        return add

    def means(self) -> Iterator[tuple[str, Activation]]:
        """(name, activation) of everything that was added, in the type that it had."""
        for name, total in self._sums.items():
            like = self._like[name]
            mean = (total / COUNT).to(like.array.dtype)
            yield name, on_board(mean, like.axes, self._board)

    def _back(self, array: Tensor, axes: tuple[str, ...], symmetry: int) -> Tensor:
        """Turned back, and as large as the unturned batch."""
        if "move" in axes:
            at = axes.index("move")
            y, x = self._board.shape[1:]
            split = torch.unflatten(
                array.narrow(at, 0, y * x), at, (x, y) if symmetry & 4 else (y, x)
            )
            turned = turn_back(split, at, at + 1, symmetry).flatten(at, at + 1)
            return torch.cat([turned, array.narrow(at, y * x, 1)], at)
        pairs = [(axes.index(y), axes.index(x)) for y, x in (PLANE, KEYS) if y in axes]
        if not pairs:
            return array
        if len(set(self._sizes)) == 1:
            return self._turned(array, pairs, symmetry)
        shape = list(array.shape)
        for y, x in pairs:
            shape[y], shape[x] = self._board.shape[1:]
        whole = array.new_zeros(shape)
        for n, (high, wide) in enumerate(self._sizes):
            one, place = array[n : n + 1], whole[n : n + 1]
            for y, x in pairs:
                seen = (wide, high) if symmetry & 4 else (high, wide)
                one = one.narrow(y, 0, seen[0]).narrow(x, 0, seen[1])
                place = place.narrow(y, 0, high).narrow(x, 0, wide)
            place.copy_(self._turned(one, pairs, symmetry))
        return whole

    def _turned(self, array: Tensor, pairs: list[tuple[int, int]], symmetry: int) -> Tensor:
        for y, x in pairs:
            array = turn_back(array, y, x, symmetry)
        return array
