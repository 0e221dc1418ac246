"""Runs the passes of a batch and puts what the taps give back in the order of the texts, without padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actx_hf.models.architecture import arguments
from actx_hf.models.capture import Capture
from actx_hf.models.spots import Spot
from actx_hf.text.passes import Pass

if TYPE_CHECKING:
    from torch import nn


class Gather:
    """A module hooked at some spots, until ``remove``. Tensors end on ``device``."""

    def __init__(self, module: nn.Module, spots: Sequence[Spot], device: torch.device) -> None:
        self._module, self._spots, self._device = module, spots, device
        self._capture = Capture(module, spots)

    def __call__(self, passes: Sequence[Pass], offsets: np.ndarray) -> dict[str, torch.Tensor]:
        """For each spot its rows, one document after another; for pairs (documents, query, key, *row).

        ``offsets`` tell where each document's rows begin. What no piece reads together is 0 in pairs.
        """
        found = {spot.tap.name: self._room(spot, offsets) for spot in self._spots}
        for each in passes:
            inputs, source, target = self._moved(each)

            def take(
                spot: Spot,
                tensor: torch.Tensor,
                each: Pass = each,
                source: torch.Tensor = source,
                target: torch.Tensor = target,
            ) -> None:
                room = found[spot.tap.name]
                values = spot.by_token(tensor).to(room.device, room.dtype)
                if spot.pairs:
                    _fill_pairs(room, values, each)
                else:
                    room.index_copy_(0, target, values.index_select(0, source))

            self._capture.run(partial(self._module, **inputs), take)
        return found

    def by_document(
        self, passes: Sequence[Pass], offsets: np.ndarray
    ) -> Mapping[str, list[torch.Tensor]]:
        """The same, document by document."""
        counts = np.diff(offsets).tolist()
        found = self(passes, offsets)
        return {
            spot.tap.name: [values[:n, :n] for values, n in zip(rows, counts, strict=True)]
            if spot.pairs
            else [rows[a:b] for a, b in pairwise(offsets.tolist())]
            for spot, rows in ((spot, found[spot.tap.name]) for spot in self._spots)
        }

    def remove(self) -> None:
        self._capture.remove()

    def _room(self, spot: Spot, offsets: np.ndarray) -> torch.Tensor:
        dtype = getattr(torch, spot.tap.dtype)
        if not spot.pairs:
            shape = (int(offsets[-1]), *spot.tap.row_shape)
            return torch.empty(shape, dtype=dtype, device=self._device)
        longest = int(np.diff(offsets).max(initial=0))
        shape = (len(offsets) - 1, longest, longest, *spot.tap.row_shape)
        return torch.zeros(shape, dtype=dtype, device=self._device)

    def _moved(self, each: Pass) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
        def move(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(self._device, non_blocking=True)

        inputs = {name: move(tensor) for name, tensor in each.inputs.items()}
        return arguments(self._module, inputs), move(each.source), move(each.target)


def pair_mask(passes: Sequence[Pass], offsets: np.ndarray) -> np.ndarray:
    """(documents, query, key): which tokens some piece reads together, and the query's row is its own."""
    longest = int(np.diff(offsets).max(initial=0))
    mask = np.zeros((len(offsets) - 1, longest, longest), bool)
    for block in (block for each in passes for block in each.blocks):
        rows = block.piece.rows
        mask[block.document][np.ix_(rows[block.piece.taken], rows)] = True
    return mask


def _fill_pairs(room: torch.Tensor, values: torch.Tensor, each: Pass) -> None:
    for block in each.blocks:
        stop = block.start + len(block.piece.ids)
        square = values[block.row, block.start : stop, block.start : stop]
        rows = torch.from_numpy(block.piece.rows).to(room.device)
        taken = torch.from_numpy(block.piece.taken).to(room.device)
        room[block.document, rows[taken][:, None], rows[None]] = square[taken]
