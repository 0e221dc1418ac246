"""Runs a job in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actx_core.contracts import Config, Executor
from actx_core.types import Job, Progress, Receipt, Shard
from actx_core.worker import Worker


class Serial(Executor[Config]):
    """One worker, here."""

    def run(self, job: Job, shards: Sequence[Shard]) -> Iterator[Receipt | Progress]:
        with Worker(job) as worker:
            yield from worker.process(shards)
