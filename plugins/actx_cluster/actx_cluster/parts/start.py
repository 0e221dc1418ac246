"""Where NMF starts: from the singular vectors of the data (Boutsidis and Gallopoulos 2008), or at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from actx_cluster.parts.config import NmfConfig
from actx_cluster.parts.data import Data
from actx_cluster.spectrum import Spectrum, randomized, scatter
from actx_core import AnalysisError

TINY = 1e-6
LARGE = 10.0
SCATTER = 2048
"""Dimensions up to which the scatter matrix is made: 32 MB."""


class Start(Protocol):
    """The first parts (k, dimensions); the first weights follow from the rows, block after block."""

    parts: np.ndarray

    def weights(self, block: np.ndarray) -> np.ndarray:
        """First weights (rows, k) of the next block of rows."""


def make(data: Data, k: int, options: NmfConfig, spectrum: Spectrum | None) -> Start:
    """The start that the options ask for."""
    if spectrum is None:
        return RandomStart(data, k, options.seed)
    return SingularStart(data, spectrum, k, fill=options.init == "nndsvda")


def singular(data: Data, options: NmfConfig) -> Spectrum | None:
    """Singular vectors enough for the largest number of parts; None where the start is random."""
    most = max(options.components)
    if options.init == "random":
        return None
    if most > min(data.count, data.size):
        raise AnalysisError(
            f'init = "{options.init}" makes at most as many parts as there are rows and dimensions:'
            f" expected at most {min(data.count, data.size)}, found components = {most}",
            where=data.rows.data.name,
            hint='ask for fewer parts, or say init = "random"',
        )

    def blocks() -> Iterator[np.ndarray]:
        return (block for _, block in data.blocks())

    if data.size <= SCATTER:
        return scatter(blocks, data.size, most, centre=False)
    return randomized(blocks, data.size, most, options.seed)


class RandomStart:
    """Seeded normal numbers without their sign, of the data's size; parts may be negative in semi-NMF."""

    def __init__(self, data: Data, k: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.k, self.free = k, data.free
        self.size = np.sqrt(data.sums.size / k)
        parts = self.size * self.random.standard_normal((k, data.size))
        self.parts = (parts if data.free else np.abs(parts)).astype(data.dtype)

    def weights(self, block: np.ndarray) -> np.ndarray:
        drawn = self.random.standard_normal((len(block), self.k))
        first: np.ndarray = (self.size * np.abs(drawn)).astype(block.dtype)
        return first


class SingularStart:
    """Of each pair of singular vectors, the side (positive or negative) that holds more.

    Zeros are kept, or set to the data's mean where ``fill``; beyond a mean of ``LARGE``, as if the data were
    scaled to that: else the first gradient is so large that the fit soon seems to rest. In semi-NMF a part is
    the whole right vector.
    """

    def __init__(self, data: Data, spectrum: Spectrum, k: int, *, fill: bool) -> None:
        mean = data.sums.size
        self.tiny = TINY * min(1.0, float(np.sqrt(mean)))
        self.fill = min(mean, float(np.sqrt(LARGE * mean))) if fill else 0.0
        lengths = np.sqrt(spectrum.energies[:k])
        right = spectrum.directions[:k]
        turn = (right / np.where(lengths > 0, lengths, np.inf)[:, None]).astype(data.dtype)
        sides = np.zeros((2, k))
        for _, block in data.blocks():
            left = block @ turn.T
            for side, way in enumerate((1, -1)):
                sides[side] += (np.maximum(way * left, 0).astype(np.float64) ** 2).sum(axis=0)
        sides = np.sqrt(sides)
        rights = np.array([np.linalg.norm(np.maximum(s * right, 0), axis=1) for s in (1, -1)])
        # in semi-NMF only the weights lose a side
        held = sides if data.free else sides * rights
        best = held.argmax(axis=0)
        sign = np.where(best == 0, 1, -1)
        own = np.arange(k)
        held, left_size = held[best, own], sides[best, own]
        right_size = np.ones(k) if data.free else rights[best, own]
        size = np.sqrt(lengths * held)
        self.turn = turn * sign[:, None].astype(data.dtype)
        self.factor = _over(size, left_size).astype(data.dtype)
        parts = sign[:, None] * right * _over(size, right_size)[:, None]
        self.parts = (parts if data.free else self._filled(parts)).astype(data.dtype)

    def weights(self, block: np.ndarray) -> np.ndarray:
        return self._filled(block @ self.turn.T * self.factor)

    def _filled(self, values: np.ndarray) -> np.ndarray:
        return np.where(values < self.tiny, values.dtype.type(self.fill), values)


def _over(size: np.ndarray, length: np.ndarray) -> np.ndarray:
    """``size / length``, and 0 for what has no length."""
    ratio: np.ndarray = np.divide(size, length, out=np.zeros_like(size), where=length > 0)
    return ratio
