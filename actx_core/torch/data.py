"""Stored activations as a torch data set in a seeded random order, for training sparse autoencoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from actx_core.shuffle import Shuffle


_WORKERS = 1024
"""Workers of a loader at most."""


class ShuffledDataset(IterableDataset[torch.Tensor]):
    """Batches of ``array.shuffled(batch_size)``, each (rows, …) in the stored precision or float32.

    Use it with ``DataLoader(dataset, batch_size=None)``. Workers share the blocks, so that all together see
    every row once. Each complete pass is another epoch, that is, another order; ``set_epoch`` chooses one.
    """

    def __init__(self, shuffle: Shuffle) -> None:
        self.shuffle = shuffle
        # Of each worker, in memory that all share: workers may live for one pass, or for all. The least
        # is the pass that all are in, since a worker raises its own at its end only.
        self._epochs = torch.full((_WORKERS,), shuffle.epoch)
        self._epochs.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """The order of the next pass."""
        self._epochs.fill_(epoch)

    def __iter__(self) -> Iterator[torch.Tensor]:
        worker = get_worker_info()
        number, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        epoch = int(self._epochs[:workers].min())
        first, of = self.shuffle.part
        part = (first + of * number, of * workers)
        for _, values in replace(self.shuffle, epoch=epoch, part=part):
            yield torch.from_numpy(values)
        self._epochs[number::workers] = epoch + 1

    def __len__(self) -> int:
        return len(self.shuffle)
