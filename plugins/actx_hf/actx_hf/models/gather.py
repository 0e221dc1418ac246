"""Runs the passes of a batch and puts what the taps give back in the order of the texts, without padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actx_core import TapError
from actx_core.torch import Capture, Point
from actx_hf.models.architecture import arguments
from actx_hf.text.passes import Pass

if TYPE_CHECKING:
    from torch import nn


class Gather:
    """A module hooked at some points, until ``remove``. Tensors end on ``device``."""

    def __init__(self, module: nn.Module, points: Sequence[Point], device: torch.device) -> None:
        self._module, self._points, self._device = module, points, device
        self._capture = Capture(module, points)

    def __call__(self, passes: Sequence[Pass], offsets: np.ndarray) -> dict[str, torch.Tensor]:
        """For each point its rows, one document after another; for pairs (documents, query, key, *row).

        ``offsets`` tell where each document's rows begin. What no piece reads together is 0 in pairs.
        """
        found = {point.tap.name: self._room(point, offsets) for point in self._points}
        for each in passes:
            inputs, source, target = self._moved(each)

            def take(
                point: Point,
                tensor: torch.Tensor,
                each: Pass = each,
                source: torch.Tensor = source,
                target: torch.Tensor = target,
            ) -> None:
                room = found[point.tap.name]
                values = tensor.to(room.device, room.dtype)
                if _is_of_pairs(point):
                    _fill_pairs(room, values, each)
                else:
                    values = values.flatten(0, len(point.front) - 1)
                    _expect_rows(point, values, (each.inputs["input_ids"].numel(), *room.shape[1:]))
                    if len(source) < len(values):  # else each token is a row
                        values = values.index_select(0, source)
                    room.index_copy_(0, target, values)

            self._capture.run(partial(self._module, **inputs), take)
        return found

    def by_document(
        self, passes: Sequence[Pass], offsets: np.ndarray
    ) -> Mapping[str, list[torch.Tensor]]:
        """The same, document by document."""
        counts = np.diff(offsets).tolist()
        found = self(passes, offsets)
        return {
            point.tap.name: [values[:n, :n] for values, n in zip(rows, counts, strict=True)]
            if _is_of_pairs(point)
            else [rows[a:b] for a, b in pairwise(offsets.tolist())]
            for point, rows in ((point, found[point.tap.name]) for point in self._points)
        }

    def remove(self) -> None:
        self._capture.remove()

    def _room(self, point: Point, offsets: np.ndarray) -> torch.Tensor:
        dtype = getattr(torch, point.tap.dtype)
        if not _is_of_pairs(point):
            shape = (int(offsets[-1]), *point.tap.row_shape)
            return torch.empty(shape, dtype=dtype, device=self._device)
        longest = int(np.diff(offsets).max(initial=0))
        shape = (len(offsets) - 1, longest, longest, *point.tap.row_shape)
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


def _expect_rows(point: Point, values: torch.Tensor, shape: tuple[int, ...]) -> None:
    """One row per token of the pass. An expert gets some tokens, and a mask may be the first argument."""
    if tuple(values.shape) != shape:
        raise TapError(
            f"expected a row for each token, {list(shape)}, found {list(values.shape)}",
            where=point.tap.name,
            hint="its module gets other tensors or fewer tokens in this pass; tap the module around it,"
            " or one in it",
        )


def _is_of_pairs(point: Point) -> bool:
    """Whether there is one value per pair of tokens."""
    return len(point.front) == 3


def _fill_pairs(room: torch.Tensor, values: torch.Tensor, each: Pass) -> None:
    for block in each.blocks:
        stop = block.start + len(block.piece.ids)
        square = values[block.row, block.start : stop, block.start : stop]
        rows = torch.from_numpy(block.piece.rows).to(room.device)
        taken = torch.from_numpy(block.piece.taken).to(room.device)
        room[block.document, rows[taken][:, None], rows[None]] = square[taken]
