"""Shuffled reading: every row once, repeatable, well mixed, shared among readers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from actx_core.shuffle import Shuffle
from actx_core.torch import ShuffledDataset


class Counted:
    """An array of which every row holds its number; counts the reads."""

    def __init__(self, rows, width=8):
        self.values = np.repeat(np.arange(rows, dtype=np.float32)[:, None], width, axis=1)
        self.shape, self.dtype = self.values.shape, self.values.dtype
        self.spec = SimpleNamespace(row_bytes=4 * width)
        self.reads = []

    def __len__(self):
        return len(self.values)

    def read(self, start, out):
        self.reads.append((start, start + len(out)))
        out[...] = self.values[start : start + len(out)]


def order(shuffle):
    """Row numbers in the order in which they come; values must be theirs."""
    found = []
    for rows, values in shuffle:
        assert (values[:, 0] == rows).all()
        found.append(rows)
    return found


@pytest.mark.parametrize("rows", [0, 1, 7, 999, 4096, 10_007])
@pytest.mark.parametrize("batch", [1, 64, 1000, 20_000])
def test_every_row_comes_once(rows, batch):
    shuffle = Shuffle(Counted(rows), batch, memory=1 << 15)
    found = order(shuffle)
    assert sorted(np.concatenate([[], *found]).tolist()) == list(range(rows))
    assert [len(b) for b in found[:-1]] == [batch] * (len(found) - 1)
    assert len(found) == len(shuffle)


def test_seed_and_epoch_decide():
    def flat(**options):
        return np.concatenate(
            order(Shuffle(Counted(5000), 100, memory=1 << 15, **options))
        ).tolist()

    assert flat() == flat()
    assert flat(seed=1) == flat(seed=1) != flat()
    assert flat(epoch=1) != flat()


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_readers_share_the_rows(of):
    found = [
        row
        for i in range(of)
        for batch in order(Shuffle(Counted(5000), 64, memory=1 << 14, part=(i, of)))
        for row in batch.tolist()
    ]
    assert sorted(found) == list(range(5000))


def test_rows_are_mixed_as_far_as_it_says():
    array = Counted(100_000)
    shuffle = Shuffle(array, 100, memory=1 << 19)
    assert shuffle.mixing == (1 << 19) // 32
    place = np.empty(100_000)
    place[np.concatenate(order(shuffle))] = np.arange(100_000)
    neighbours = np.abs(np.diff(place))
    within = neighbours[neighbours < shuffle.mixing]
    assert np.median(within) > 0.2 * shuffle.mixing  # a third on average, were it uniform
    assert abs(np.corrcoef(place, np.arange(100_000))[0, 1]) < 0.3


def test_whole_blocks_are_read_and_each_once():
    array = Counted(10_000)
    shuffle = Shuffle(array, 100, memory=1 << 16)
    order(shuffle)
    assert {stop - start for start, stop in array.reads[:-1]} >= {shuffle.block}
    assert sum(stop - start for start, stop in array.reads) == 10_000
    assert len(array.reads) == -(-10_000 // shuffle.block)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_torch_data_set(workers):
    data = ShuffledDataset(Shuffle(Counted(1000), 64, memory=1 << 13))
    loader = DataLoader(data, batch_size=None, num_workers=workers)
    first = torch.cat(list(loader))[:, 0]
    assert sorted(first.tolist()) == list(range(1000))
    data.set_epoch(1)
    second = torch.cat(list(loader))[:, 0]
    assert sorted(second.tolist()) == list(range(1000))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("workers", "live"), [(0, False), (2, False), (2, True)])
def test_each_pass_is_another_epoch(workers, live):
    """Whether workers end with a pass or live on; and a pass that is left is begun again."""
    data = ShuffledDataset(Shuffle(Counted(1000), 64, memory=1 << 13))
    loader = DataLoader(data, batch_size=None, num_workers=workers, persistent_workers=live)

    def flat():
        return torch.cat(list(loader))[:, 0].tolist()

    first = flat()
    next(iter(loader))
    second, third = flat(), flat()
    assert sorted(first) == sorted(second) == sorted(third) == list(range(1000))
    assert first != second != third
    data.set_epoch(0)
    assert flat() == first
    assert flat() == second
