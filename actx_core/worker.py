"""Does shards: read, prepare, forward, pool, write, receipt. The same code in every executor.

Four things overlap, joined by bounded queues, so that memory does not grow with the number of samples: one
thread reads and forms batches, several threads decode and prepare them, the calling thread runs the model,
one thread waits for the copies to the host and writes.
"""

from __future__ import annotations

import os
import platform
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from actx_core.buffer import Buffer
from actx_core.commit import Committer
from actx_core.config.keep import parse_keep
from actx_core.config.load import load_dict
from actx_core.config.pipeline import Entry, PipelineConfig
from actx_core.contracts import Store
from actx_core.errors import ActxError, ExecutionError, ModelError, SourceError
from actx_core.extract import Extraction, Want
from actx_core.files import read_json, write_json
from actx_core.layout import HINT, ROWS, Layout, load_receipts
from actx_core.memory import keep_freed_memory
from actx_core.order import Order, order
from actx_core.plan import CellPlan, build_model, build_source
from actx_core.registry import registry
from actx_core.types import Job, Progress, Receipt, Sample, Shard, Skipped

THREADS = max(2, min(8, os.cpu_count() or 2))
"""Threads that decode and prepare."""

AHEAD = 2
"""Batches that wait, prepared, for the model; and batches that wait to be written."""


@dataclass
class _Batch:
    """One batch on its way: prepared, or the samples that could not be read."""

    shard: Shard
    prepared: Any = None
    count: int = 0
    skipped: list[Skipped] = field(default_factory=list)


@dataclass(frozen=True)
class _End:
    """The last batch of a shard has gone by."""

    shard: Shard


class Worker:
    """One cell's model, opened once, and what is needed to turn shards into files."""

    def __init__(self, job: Job) -> None:
        _require(job)
        self.job = job
        self.layout = Layout(Path(job.root))
        config = load_dict(dict(job.pipeline), base=Path(job.base))
        self.cell = CellPlan.from_json(job.cell)
        self.order = _order(config, self.cell, self.layout)
        model = next(m for m in config.models if m.id == self.cell.model)
        self.specs = {t.name: t.spec(self.cell) for t in self.cell.taps if t.name in job.taps}
        more = len(self.specs) < len(self.cell.taps)  # the others may have been extracted before
        receipts = load_receipts(self.layout) if more else ()
        earlier = [r for r in receipts if r.cell == self.cell.id]
        self.left = {(r.shard, s.position) for r in earlier for s in r.skipped}
        rows = {
            (r.shard, name): digest
            for r in earlier
            for name, digest in r.digests.items()
            if name.startswith(ROWS)
        }
        store = build_store(config.store)
        self.commit = Committer(self.layout, self.cell.id, store, self.specs, rows)
        self.extraction = Extraction(
            build_model(model),
            {
                t.name: Want(t.tap, t.poolers(), t.stored, t.dtype, t.renamed)
                for t in self.cell.taps
                if t.name in job.taps
            },
            parse_keep(config.rows.keep) if config.rows.keep else None,
            config.rows.sample,
            config.run.seed,
        )

    def __enter__(self) -> Worker:
        keep_freed_memory()
        self.extraction.open()
        self._remember_model()
        return self

    def __exit__(self, *_: object) -> None:
        self.extraction.model.close()

    def process(self, shards: Iterable[Shard]) -> Iterator[Receipt | Progress]:
        """Do the shards in order. Closing the iterator stops after the batch at hand."""
        stop = threading.Event()
        ready: queue.Queue[Any] = queue.Queue(AHEAD)
        done: queue.Queue[Any] = queue.Queue(AHEAD)
        out: queue.SimpleQueue[Any] = queue.SimpleQueue()
        reader = threading.Thread(target=self._reader, args=(shards, ready, stop), daemon=True)
        writer = threading.Thread(target=self._writer, args=(done, out, stop), daemon=True)
        reader.start()
        writer.start()
        try:
            for item in iter(lambda: _get(ready, stop), None):
                yield from _drain(out)
                self._step(item, done, stop)
            _put(done, None, stop)
            writer.join()
            yield from _drain(out)
        finally:
            stop.set()
            reader.join()
            writer.join()

    def _step(self, item: Any, done: queue.Queue[Any], stop: threading.Event) -> None:
        """Run the model on what the reader gave."""
        if isinstance(item, BaseException):
            raise item
        if isinstance(item, Future):
            item = item.result()
            waits = [] if item.prepared is None else self.extraction.forward_halving(item.prepared)
            item.prepared = None
            _put(done, (item, waits), stop)
        else:
            _put(done, item, stop)

    def _reader(
        self, shards: Iterable[Shard], ready: queue.Queue[Any], stop: threading.Event
    ) -> None:
        """Read samples, form batches, hand them to the threads that prepare them."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="actx-prepare") as threads:
            try:
                for shard in shards:
                    for batch in self._batches(shard):
                        if stop.is_set():
                            return
                        _put(ready, threads.submit(self._prepare, shard, batch), stop)
                    _put(ready, _End(shard), stop)
                _put(ready, None, stop)
            except Exception as error:
                _put(ready, error, stop)
            finally:
                if stop.is_set():
                    threads.shutdown(wait=True, cancel_futures=True)

    def _batches(self, shard: Shard) -> Iterator[list[tuple[int, Sample]]]:
        """Batches of (position, sample), of samples of which any row is kept.

        What other taps have skipped stays skipped, so that all have the same rows.
        """
        positions: dict[tuple[str, int], int] = {}

        def wanted() -> Iterator[Sample]:
            for position, sample in self.order.read(shard):
                left = (shard.index, position) in self.left
                if not left and self.extraction.wanted(sample):
                    if positions.setdefault((sample.id, sample.replicate), position) != position:
                        raise SourceError(
                            f"two samples of shard {shard.index} are called '{sample.id}'",
                            where=self.cell.source,
                            hint="ids must be unique",
                        )
                    yield sample

        count = 0
        for batch in self.extraction.model.batches(wanted()):
            count += len(batch)
            if count > len(positions):
                break
            yield [(positions[s.id, s.replicate], s) for s in batch]
        if count != len(positions):
            raise ModelError(
                f"batches gave {count} samples for {len(positions)} in shard {shard.index}",
                where=self.cell.model,
                hint="Model.batches must give each sample once",
            )

    def _prepare(self, shard: Shard, batch: Sequence[tuple[int, Sample]]) -> _Batch:
        """Load and prepare; find the samples that cannot be, and leave them out if that is allowed."""
        result = _Batch(shard)
        loaded: list[Sample] = []
        for position, sample in batch:
            try:
                loaded.append(replace(sample, data=_content(sample)))
            except Exception as error:
                self._refuse(result, position, sample, error)
        if not loaded:
            return result
        try:
            result.prepared = self.extraction.prepare(loaded)
        except Exception as error:
            loaded = self._separate(result, batch, loaded, error)
            result.prepared = self.extraction.prepare(loaded) if loaded else None
        result.count = len(loaded)
        return result

    def _separate(
        self,
        result: _Batch,
        batch: Sequence[tuple[int, Sample]],
        loaded: Sequence[Sample],
        failure: Exception,
    ) -> list[Sample]:
        """Those samples of a failed batch that can be prepared alone."""
        positions = {(s.id, s.replicate): position for position, s in batch}
        good = []
        for sample in loaded:
            try:
                self.extraction.prepare([sample])
                good.append(sample)
            except Exception as error:
                self._refuse(result, positions[sample.id, sample.replicate], sample, error)
        if len(good) == len(loaded):  # each goes alone, together they do not
            raise failure
        return good

    def _refuse(self, batch: _Batch, position: int, sample: Sample, error: Exception) -> None:
        why = str(error) if isinstance(error, ActxError) else f"{type(error).__name__}: {error}"
        if self.job.on_error == "raise":
            if isinstance(error, ActxError):
                error.where = error.where or f"sample '{sample.id}'"
                raise error
            raise SourceError(
                f"sample '{sample.id}' cannot be prepared: {why}",
                hint="repair it, or leave such samples out: --set run.on_error=skip",
            ) from error
        batch.skipped.append(Skipped(sample.id, why, position))

    def _writer(
        self, done: queue.Queue[Any], out: queue.SimpleQueue[Any], stop: threading.Event
    ) -> None:
        """Collect rows and write a shard when it is complete."""
        buffer: Buffer | None = None
        try:
            for item in iter(lambda: _get(done, stop), None):
                if isinstance(item, _End):
                    out.put(self.commit(item.shard, buffer or Buffer.of(item.shard, self.specs)))
                    buffer = None
                    continue
                batch, waits = item
                buffer = buffer or Buffer.of(batch.shard, self.specs)
                size = sum(buffer.add(wait()) for wait in waits)
                buffer.skipped += batch.skipped
                buffer.samples += batch.count
                buffer.halved += len(waits) > 1
                out.put(Progress(self.cell.id, batch.shard.index, batch.count, size))
        except Exception as error:
            stop.set()
            out.put(error)

    def _remember_model(self) -> None:
        """Record the model's fingerprint and facts.

        The next worker of this cell must find the same fingerprint; facts that are not the same, such as
        another device, are recorded beside the first.
        """
        model = self.extraction.model
        path = self.layout.model(self.cell.id)
        fingerprint, facts = model.fingerprint(), dict(model.describe())
        about = {"fingerprint": fingerprint, "facts": facts}
        if path.exists():
            about = read_json(path, hint=HINT)
            known = about["fingerprint"]
            if known != fingerprint:
                raise ExecutionError(
                    f"the weights have changed since the run began ({known[:12]} -> {fingerprint[:12]})",
                    where=self.cell.id,
                    hint="use the same weights, or another run.out",
                )
            later = about.setdefault("later", [])
            if facts in [about["facts"], *later]:
                return
            later.append(facts)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, about)


def build_store(entry: Entry) -> Store[Any]:
    store: Store[Any] = registry().load(entry.component)(entry.config)
    return store


def _require(job: Job) -> None:
    """Refuse to work unless the driver's plugins are here, in the same versions."""
    have = registry().versions()
    for name, version in job.plugins.items():
        if have.get(name) != version:
            raise ExecutionError(
                f"plugin '{name}' is {have.get(name, 'missing')} here, the run needs {version}",
                where=platform.node(),
                hint="install the same versions everywhere",
            )


def _order(config: PipelineConfig, cell: CellPlan, layout: Layout) -> Order:
    entry = next(s for s in config.sources if s.id == cell.source)
    table = layout.samples(entry.id)
    return order(build_source(entry), entry.id, table, entry.limit, entry.fraction, config.run.seed)


def _content(sample: Sample) -> Any:
    """What a sample holds.

    Python 3.11 before 3.11.8 by chance raises SystemError where two threads parse, as NumPy does with the
    header of each array (python/cpython#106905): that says nothing of the sample.
    """
    try:
        return sample.load()
    except SystemError:
        return sample.load()


def _get(source: queue.Queue[Any], stop: threading.Event) -> Any:
    """The next item; None once everything stops."""
    while True:
        try:
            return source.get(timeout=0.1)
        except queue.Empty:
            if stop.is_set():
                return None


def _put(target: queue.Queue[Any], item: Any, stop: threading.Event) -> None:
    """Wait for room, unless everything stops."""
    while not stop.is_set():
        try:
            target.put(item, timeout=0.1)
            return
        except queue.Full:
            continue


def _drain(out: queue.SimpleQueue[Any]) -> Iterator[Receipt | Progress]:
    """What the writer has said so far."""
    while not out.empty():
        item = out.get()
        if isinstance(item, BaseException):
            raise item
        yield item
