"""Runs a job in several processes of this machine: one for each GPU, or some on the CPU.

The driver owns the queue. A shard goes only to a process that has said it is ready; when a process dies,
its shard goes to another, and a shard that has failed ``attempts`` times stops the run by name.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import pickle
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from pydantic import Field

from actx_core.contracts import Config, Executor
from actx_core.errors import ExecutionError
from actx_core.types import Job, Progress, Receipt, Shard


class LocalConfig(Config):
    """Options of the local executor."""

    workers: int = Field(default=2, ge=1)
    """Processes. With CUDA, the n-th sees the n-th GPU; on the CPU they share the cores evenly."""
    attempts: int = Field(default=3, ge=1)
    """How often a shard is tried before the run stops."""


@dataclass
class _Process:
    """A worker process and what it is doing."""

    process: SpawnProcess
    pipe: Connection
    number: int
    shard: Shard | None = None


class Local(Executor[LocalConfig]):
    """Worker processes that are fed one shard at a time."""

    def run(self, job: Job, shards: Sequence[Shard]) -> Iterator[Receipt | Progress]:
        todo = deque(shards)
        tried: dict[int, int] = {}
        crew = [self._spawn(job, n) for n in range(min(self.config.workers, len(todo)))]
        left = len(todo)
        try:
            while left:
                for pipe in wait([member.pipe for member in crew]):
                    member = next(m for m in crew if m.pipe is pipe)
                    try:
                        message = member.pipe.recv()
                    except (EOFError, OSError):
                        crew[crew.index(member)] = self._replace(job, member, todo, tried)
                        continue
                    if isinstance(message, BaseException):
                        raise message
                    if isinstance(message, Receipt):
                        member.shard = None
                        left -= 1
                    if message is None or isinstance(message, Receipt):
                        self._feed(member, todo)
                    if message is not None:
                        yield message
        finally:
            self._dismiss(crew)

    def _spawn(self, job: Job, number: int) -> _Process:
        ours, theirs = mp.Pipe()
        context = mp.get_context("spawn")
        process = context.Process(
            target=_serve, args=(theirs, job, number, self.config.workers), daemon=True
        )
        with _interrupts_held():
            process.start()
        theirs.close()
        return _Process(process, ours, number)

    def _feed(self, member: _Process, todo: deque[Shard]) -> None:
        if todo:
            member.shard = todo.popleft()
            member.pipe.send(member.shard)

    def _replace(
        self, job: Job, dead: _Process, todo: deque[Shard], tried: dict[int, int]
    ) -> _Process:
        """A process died: its shard goes back to the front of the queue."""
        dead.process.join()
        code = dead.process.exitcode
        if dead.shard is None:
            raise ExecutionError(
                f"a worker process ended with code {code} before it was ready",
                where=str(job.cell["source"]),
                hint="run with the executor 'serial' to see why",
            )
        tried[dead.shard.index] = tried.get(dead.shard.index, 0) + 1
        if tried[dead.shard.index] >= self.config.attempts:
            raise ExecutionError(
                f"shard {dead.shard.index} ended its process {self.config.attempts} times"
                f" (exit code {code})",
                where=dead.shard.cell,
                hint="the other shards are safe; look at its samples with the executor 'serial'",
            )
        todo.appendleft(dead.shard)
        return self._spawn(job, dead.number)

    def _dismiss(self, crew: Sequence[_Process]) -> None:
        for member in crew:
            with suppress(OSError):
                member.pipe.send(None)
            member.pipe.close()
        for member in crew:
            member.process.join(timeout=30)
            if member.process.is_alive():
                member.process.kill()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started in here takes no Ctrl-C before it has said how it wants it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, job: Job, number: int, workers: int) -> None:
    """The life of a worker process: ready, then shard by shard until told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    if gpus := _gpus():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    from actx_core.worker import Worker

    try:
        with Worker(job) as worker:
            pipe.send(None)
            while (shard := pipe.recv()) is not None:
                for message in worker.process([shard]):
                    pipe.send(message)
                    if isinstance(message, Progress) and _told_to_stop(pipe):
                        return
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        pipe.send(_portable(error))


def _gpus() -> list[str]:
    """The NVIDIA GPUs that may be used, without importing a framework."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    found = Path("/proc/driver/nvidia/gpus")
    return [str(n) for n, _ in enumerate(found.iterdir())] if found.is_dir() else []


def _told_to_stop(pipe: Connection) -> bool:
    try:
        return pipe.poll() and pipe.recv() is None
    except (EOFError, OSError):
        return True


def _portable(error: Exception) -> Any:
    """The error itself where it can be pickled, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return ExecutionError(f"{type(error).__name__}: {error}")
    return error
