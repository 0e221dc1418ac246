"""Stored activations as a torch data set in a seeded random order, for training sparse autoencoders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.utils.data import IterableDataset, get_worker_info

if TYPE_CHECKING:
    from actx_core.shuffle import Shuffle


class ShuffledDataset(IterableDataset[torch.Tensor]):
    """Batches of ``array.shuffled(batch_size)``, each (rows, …) in the stored precision or float32.

    Use it with ``DataLoader(dataset, batch_size=None)``. Workers share the blocks, so that all together see
    every row once. Each pass is another epoch, that is, another order; ``set_epoch`` chooses one.
    """

    def __init__(self, shuffle: Shuffle) -> None:
        self.shuffle = shuffle

    def set_epoch(self, epoch: int) -> None:
        """The order of the next pass."""
        self.shuffle = replace(self.shuffle, epoch=epoch)

    def __iter__(self) -> Iterator[torch.Tensor]:
        shuffle, worker = self.shuffle, get_worker_info()
        if worker is not None:
            first, of = shuffle.part
            part = (first + of * worker.id, of * worker.num_workers)
            shuffle = replace(shuffle, part=part)
        for _, values in shuffle:
            yield torch.from_numpy(values)
        self.set_epoch(self.shuffle.epoch + 1)

    def __len__(self) -> int:
        return len(self.shuffle)
