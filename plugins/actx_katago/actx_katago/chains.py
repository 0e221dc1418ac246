"""Chains of stones on a batch of boards: labels, sizes, liberties; numpy only, all boards at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EMPTY, OWN, OPPONENT = "empty", "own", "opponent"
"""What is on a point of the board; off the board it is the empty text."""

_HALVES = (np.s_[:, :-1, :], np.s_[:, 1:, :]), (np.s_[:, :, :-1], np.s_[:, :, 1:])
"""Every point and its neighbour below, then every point and its neighbour to the right."""


@dataclass(frozen=True)
class ChainsOf:
    """The chains of a batch, position by position, in reading order of their first stones.

    ``label`` (positions, y, x) is the number of a stone's chain in the batch, -1 elsewhere. ``offsets``
    tell where each position's chains begin. The rest has one entry per chain.
    """

    label: np.ndarray
    offsets: np.ndarray
    colour: np.ndarray
    size: np.ndarray
    liberties: np.ndarray
    y: np.ndarray
    x: np.ndarray


def find_chains(stones: np.ndarray) -> ChainsOf:
    """The chains of boards (positions, y, x) whose points hold the words of this module."""
    occupied = (stones == OWN) | (stones == OPPONENT)
    first = _first_stones(stones, occupied)
    roots, label = np.unique(first[occupied], return_inverse=True)
    labels = np.full(stones.shape, -1)
    labels[occupied] = label
    position, y, x = np.unravel_index(roots, stones.shape)
    return ChainsOf(
        labels,
        np.searchsorted(position, np.arange(len(stones) + 1)),
        stones.reshape(-1)[roots],
        np.bincount(label, minlength=len(roots)),
        _liberties(labels, stones == EMPTY, len(roots)),
        y,
        x,
    )


def _first_stones(stones: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    """For each stone, the flat index of the first stone of its chain: the least, handed on to neighbours."""
    least = np.arange(stones.size).reshape(stones.shape)
    joined = [occupied[a] & (stones[a] == stones[b]) for a, b in _HALVES]
    while True:
        before = least.copy()
        for (a, b), same in zip(_HALVES, joined, strict=True):
            lower = np.minimum(least[a], least[b])
            least[a] = np.where(same, np.minimum(lower, least[a]), least[a])
            least[b] = np.where(same, np.minimum(lower, least[b]), least[b])
        least = least.reshape(-1)[least]  # the first stone of my first stone: halves the way
        if (least == before).all():
            return least


def _liberties(labels: np.ndarray, empty: np.ndarray, chains: int) -> np.ndarray:
    """How many empty points each chain touches."""
    points = np.arange(labels.size).reshape(labels.shape)
    touches = [
        labels[chain][at] * labels.size + points[free][at]
        for a, b in _HALVES
        for chain, free in ((a, b), (b, a))
        for at in [(labels[chain] >= 0) & empty[free]]
    ]
    owner = np.unique(np.concatenate(touches)) // max(labels.size, 1)
    return np.bincount(owner, minlength=chains)
