"""Rows in a seeded random order at the speed of the disk: whole blocks at random, mixed in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from actx_core.tap_array import TapArray

BLOCK = 1 << 24
"""Bytes read at a time: as fast as reading in order."""

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Shuffle:
    """One epoch over an array: every row once, in batches of (row numbers, values).

    Blocks of consecutive rows come in random order; ``mixing`` rows at a time, of many blocks, are shuffled
    together, which takes twice ``memory`` bytes. The same seed and epoch give the same order. ``part`` =
    (i, n) is every n-th block, from the i-th: n readers together see every row once. The last batch may be
    smaller.
    """

    array: TapArray
    batch_size: int
    seed: int = 0
    epoch: int = 0
    memory: int = 1 << 28
    part: tuple[int, int] = (0, 1)

    @property
    def block(self) -> int:
        """Rows read at a time."""
        room = min(BLOCK, max(1, self.memory // 16))
        return max(1, room // max(1, self.array.spec.row_bytes))

    @property
    def mixing(self) -> int:
        """Rows that are shuffled together: how far apart rows that lie together can come to be, at least."""
        return min(len(self.array), self._together * self.block)

    def __len__(self) -> int:
        """The number of batches."""
        rows = sum(min(self.block, len(self.array) - start) for start in self._starts())
        return math.ceil(int(rows) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rest: Batch | None = None
        for rows, values, order in self._groups():
            at = 0
            if rest is not None:  # a batch begins in one group and ends in the next
                at = self.batch_size - len(rest[0])
                rest = _join(rest, (rows[order[:at]], values[order[:at]]))
                if len(rest[0]) < self.batch_size:
                    continue
                yield rest
                rest = None
            for start in range(at, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                batch = rows[chosen], values[chosen]
                if len(chosen) < self.batch_size:
                    rest = batch
                else:
                    yield batch
        if rest is not None:
            yield rest

    def _groups(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Row numbers and values of blocks that are mixed, and their order; the next group is being read.

        Two buffers take turns: what is yielded is good until the next.
        """
        starts, together = self._starts(), self._together
        groups = [starts[at : at + together] for at in range(0, len(starts), together)]
        room = min(self.mixing, len(starts) * self.block)
        buffers = [np.empty((room, *self.array.shape[1:]), self.array.dtype) for _ in groups[:2]]
        rng = np.random.default_rng([self.seed, self.epoch, 1, self.part[0]])
        with ThreadPoolExecutor(1, thread_name_prefix="actx-shuffle") as reader:
            ahead: Future[Batch] | None = None
            for number, group in enumerate(groups):
                read = ahead or reader.submit(self._read, group, buffers[0])
                rows, values = read.result()
                if number + 1 < len(groups):
                    buffer = buffers[(number + 1) % 2]
                    ahead = reader.submit(self._read, groups[number + 1], buffer)
                yield rows, values, rng.permutation(len(rows))

    @property
    def _together(self) -> int:
        """Blocks that are shuffled together."""
        return max(1, self.memory // (self.block * max(1, self.array.spec.row_bytes)))

    def _starts(self) -> np.ndarray:
        """The first row of each block of this part, in the order of this epoch."""
        starts = np.arange(0, len(self.array), self.block)
        order = np.random.default_rng([self.seed, self.epoch, 0]).permutation(starts)
        return np.asarray(order[self.part[0] :: self.part[1]])

    def _read(self, starts: np.ndarray, buffer: np.ndarray) -> Batch:
        """Row numbers and values of some blocks, read in the order in which they lie."""
        spans = [(s, min(s + self.block, len(self.array))) for s in sorted(starts.tolist())]
        at = 0
        for start, stop in spans:
            self.array.read(start, buffer[at : at + stop - start])
            at += stop - start
        return np.concatenate([np.arange(*span) for span in spans]), buffer[:at]


def _join(one: Batch, two: Batch) -> Batch:
    return np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]])
