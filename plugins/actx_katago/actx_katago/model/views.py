"""How the tensors of a KataGo network become activations with the axes of a board, masked off the board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from actx_core import Activation, Tap

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
PLANE = ("y", "x")
KEYS = ("key_y", "key_x")
BOARD_AXES = (*PLANE, *KEYS)
MOST_POINTS = 19 * 19
VARIES = "its moves are numbered by the size of the board"


@dataclass(frozen=True)
class View:
    """A tap as it is offered, and how to get it from the tensor that the network gives.

    ``shape(tensor, (y, x))`` separates what the network has flattened. ``raw`` is the tap of the module.
    """

    tap: Tap
    raw: str
    shaped: Callable[[Tensor, Size], Tensor]

    def activation(self, tensor: Tensor, board: np.ndarray) -> Activation:
        """From the network's tensor and the batch's ``board`` (samples, y, x), True on the board."""
        _, y, x = board.shape
        return on_board(self.shaped(tensor, (y, x)), self.tap.axes, board)


def on_board(array: Tensor, axes: tuple[str, ...], board: np.ndarray) -> Activation:
    """An activation masked where any of its points is off the board (samples, y, x)."""
    if board.all() or not set(axes) & set(BOARD_AXES):
        return Activation(array, axes)
    mask = np.ones((1,) * len(axes), bool)
    for names in (PLANE, KEYS):
        if names[0] in axes:
            shape = dict(zip(("sample", *names), board.shape, strict=True))
            mask = mask & board.reshape([shape.get(axis, 1) for axis in axes])
    return Activation(array, axes, mask)


def view(raw: Tap, size: Size, fixed: bool) -> View:
    """The view of a module's tap, probed with boards of ``size``; unless ``fixed``, boards vary."""
    points = size[0] * size[1]
    if raw.problem:
        return View(raw, raw.name, _as_it_is)
    if raw.name.endswith("attn_weights") or raw.name.endswith("attn_weights@in"):
        axes: tuple[str, ...] = ("sample", "head", *PLANE, *KEYS)
        tap = replace(raw, axes=axes, shape=(raw.shape[0], *size, *size))
        return View(_varying(tap, fixed), raw.name, _split_attention)
    if "token" in raw.axes:
        at = raw.axes.index("token")
        if raw.shape[at - 1] == points:
            axes = (*raw.axes[:at], *PLANE, *raw.axes[at + 1 :])
            shape = (*raw.shape[: at - 1], *size, *raw.shape[at:])
            tap = _varying(replace(raw, axes=axes, shape=shape), fixed)
            return View(tap, raw.name, lambda tensor, board: torch.unflatten(tensor, at, board))
        axes = tuple("move" if axis == "token" else axis for axis in raw.axes)
        return View(moves(replace(raw, axes=axes), fixed), raw.name, _as_it_is)
    return View(_varying(raw, fixed), raw.name, _as_it_is)


def moves(tap: Tap, fixed: bool) -> Tap:
    """A tap with an axis of all moves, which is told apart only where boards have one size."""
    if fixed:
        return tap
    told = f"{VARIES}: take policy.board and policy.pass, or set board_size"
    return Tap(tap.name, (), (), module=tap.module, problem=told)


def _varying(tap: Tap, fixed: bool) -> Tap:
    """The tap of boards of any size."""
    if fixed or not set(tap.axes) & set(BOARD_AXES):
        return tap
    sizes = zip(tap.axes[1:], tap.shape, strict=True)
    shape = tuple(None if axis in BOARD_AXES else n for axis, n in sizes)
    pairs = "key_y" in tap.axes
    most = MOST_POINTS ** (2 if pairs else 1)
    return replace(tap, shape=shape, kind="pair" if pairs else "point", rows_at_most=most)


def _as_it_is(tensor: Any, _: Size) -> Any:
    return tensor


def _split_attention(tensor: Tensor, size: Size) -> Tensor:
    """(N, heads, L, L) → (N, heads, y, x, key_y, key_x): where from, and where to."""
    return torch.unflatten(torch.unflatten(tensor, 3, size), 2, size)
