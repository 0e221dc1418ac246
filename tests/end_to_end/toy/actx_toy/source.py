"""Sequences whose content follows from their number."""

from pathlib import Path

import numpy as np

from actx_core import Config, InputPath, ListedSource, Sample, Shard, Source, SourceError


def sequence(i):
    rng = np.random.default_rng(i)
    return rng.standard_normal(1 + i % 9)


class NumbersConfig(Config):
    n: int = 20
    first: int = 0
    bad: tuple[int, ...] = ()
    folder: InputPath | None = None
    """Where a file ``good`` mends the bad samples."""
    flat: bool = True
    replicates: int = 1
    bad_replicate: tuple[tuple[int, int], ...] = ()


def load(config, i, replicate=0):
    def content():
        if i in config.bad and not (config.folder and (Path(config.folder) / "good").exists()):
            raise SourceError(f"sample {i} is broken")
        if (i, replicate) in config.bad_replicate:
            raise SourceError(f"replicate {replicate} of sample {i} is broken")
        return sequence(i) + replicate if config.flat else sequence(i)[None]

    return content


class Numbers(ListedSource[NumbersConfig]):
    def listing(self):
        c = self.config
        return [
            Sample(f"n{i:03}", load(c, i, r), {"parity": ("even", "odd")[i % 2], "number": i}, r)
            for i in range(c.first, c.first + c.n)
            for r in range(c.replicates)
        ]


class Stream(Source[NumbersConfig]):
    def shards(self, size):
        for index, start in enumerate(range(0, self.config.n, size)):
            yield Shard(
                "",
                index,
                start,
                None if self.config.first else min(start + size, self.config.n),
                {"at": start, "size": size},
            )

    def read(self, shard):
        at, size = shard.cursor["at"], shard.cursor["size"]
        for i in range(at, min(at + size, self.config.n)):
            yield Sample(f"n{i:03}", load(self.config, i), {"number": i})
