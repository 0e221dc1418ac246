"""The samples of one source in the order that the first run froze, and the shards cut from it.

A listed source is frozen by id: samples that appear later go to the end, one that vanished or changed is
an error, unless it changed and the run holds nothing of it. A stream is taken by position. ``limit`` and
``fraction`` apply to both; the replicates of a sample count as one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from actx_core.contracts import ListedSource, Source
from actx_core.errors import ConfigError, SourceError
from actx_core.files import atomic
from actx_core.tables import read_table, to_table, write_csv, write_table
from actx_core.types import Sample, Shard

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[str, int]
OWN = ("sample", "replicate", "stamp", "sha256")
"""Columns that core writes into the table of samples."""


@dataclass(frozen=True)
class Order:
    """What a source gives, cut into shards and read back.

    ``frozen`` are the samples of a listed source in order (None for a stream), ``known`` how many of them
    the run already had, ``renewed`` how many of those have other content now.
    """

    source: Source[Any]
    frozen: Sequence[Sample] | None
    known: int = 0
    renewed: int = 0
    limit: int | None = None
    fraction: float = 1.0
    seed: int = 0
    digests: Mapping[Key, str] = field(default_factory=dict)

    @property
    def gives(self) -> str:
        return self.source.gives

    @property
    def samples(self) -> int | None:
        """How many samples there are; None for a stream that does not know, or that draws a share."""
        if self.frozen is not None:
            return len(self.frozen)
        last = None
        for shard in self._stream(4096):
            if shard.stop is None:
                return None
            last = shard.stop
        return last or 0

    def shards(self, cell: str, size: int, known: Sequence[Shard] = ()) -> tuple[Shard, ...]:
        """The shards of a cell: those it has, then what is not covered by them, ``size`` samples each."""
        index = max((s.index + 1 for s in known), default=0)
        if self.frozen is not None:
            new = self._listed(max((s.stop or 0 for s in known if not picked(s)), default=0), size)
        else:
            new = self._stream(size, known)
        return (*known, *(replace(s, cell=cell, index=i) for i, s in enumerate(new, index)))

    def again(self, cell: str, index: int, positions: Sequence[int]) -> Shard:
        """A shard of samples that were left out before; ``stop - start`` is their number."""
        if self.frozen is None:
            raise SourceError(
                "a stream cannot go back to the samples it skipped", hint="run it into a new folder"
            )
        first = min(positions)
        return Shard(cell, index, first, first + len(positions), {"positions": list(positions)})

    def read(self, shard: Shard) -> Iterator[tuple[int, Sample]]:
        """(position, sample) of a shard, in order."""
        if self.frozen is not None:
            positions = picked(shard) or range(shard.start, shard.stop or 0)
            for position in positions:
                yield position, self.frozen[position]
            return
        own = Shard(**shard.cursor)
        for position, sample in enumerate(self.source.read(own), own.start):
            if shard.stop is not None and position >= shard.stop:
                break
            if position >= shard.start and self._drawn(position):
                yield position, sample

    def table(self, more: Mapping[str, Sequence[Any]] = MappingProxyType({})) -> pa.Table:
        """The frozen samples with their columns, and ``more`` columns."""
        samples = self.frozen or ()
        names = dict.fromkeys(name for s in samples for name in s.columns)
        return to_table(
            {
                "sample": [s.id for s in samples],
                "replicate": [s.replicate for s in samples],
                **more,
                **{name: [s.columns.get(name) for s in samples] for name in names},
            }
        )

    def _listed(self, start: int, size: int) -> Iterator[Shard]:
        assert self.frozen is not None
        for first in range(start, len(self.frozen), size):
            yield Shard("", 0, first, min(first + size, len(self.frozen)))

    def _stream(self, size: int, known: Sequence[Shard] = ()) -> Iterator[Shard]:
        """The source's own shards, without what is known already or lies behind the limit."""
        reached: dict[int, int | None] = {s.cursor["index"]: s.stop for s in known}
        for own in self.source.shards(size):
            start = reached.get(own.index, own.start)
            stop = own.stop
            if self.limit is not None:
                stop = self.limit if stop is None else min(stop, self.limit)
            if self.limit is not None and own.start >= self.limit:
                return
            if start is not None and (stop is None or stop > start):
                yield Shard("", 0, start, stop, asdict(own))

    def _drawn(self, position: int) -> bool:
        return self.fraction >= 1 or _draw(self.seed, str(position)) < self.fraction


def picked(shard: Shard) -> list[int]:
    """The positions of a shard that picks samples one by one."""
    picked = shard.cursor.get("positions", []) if isinstance(shard.cursor, dict) else []
    return list(picked)


def _draw(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on the seed and the text alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{text}".encode()).digest()[:7], "big") / 2**56


def order(
    source: Source[Any],
    name: str,
    table: Path,
    limit: int | None = None,
    fraction: float = 1.0,
    seed: int = 0,
    held: Callable[[], Container[int]] | None = None,
) -> Order:
    """The order of a source's samples, given the table that an earlier run may have left.

    ``held`` tells the positions of samples of which the run has activations; without it, of all.
    Raises SourceError for duplicate ids and for samples that vanished or changed, naming them;
    ConfigError where limit or fraction ask for less than the run holds.
    """
    if not isinstance(source, ListedSource):
        return Order(source, None, limit=limit, fraction=fraction, seed=seed)
    samples = source.listing()
    listed = {_key(s): s for s in samples}
    if len(listed) != len(samples):
        twice = Counter(map(_key, samples)).most_common(1)[0][0][0]
        raise SourceError(
            f"two samples are called '{twice}'", where=name, hint="ids must be unique"
        )
    if clash := {column for s in samples for column in s.columns} & set(OWN):
        raise SourceError(
            f"the columns {sorted(clash)} are core's own", where=name, hint="give them other names"
        )
    stored = _stored(table)
    renewed = _renewed(source, name, listed, stored, held)
    _check_columns(name, {k: s for k, s in listed.items() if k not in renewed}, table)
    ids = dict.fromkeys(s.id for s in samples)
    old = {id for id, _ in stored}
    rest = [id for id in ids if id not in old]
    room = _wanted(len(ids), limit, fraction) - len(old)
    if room < 0 and stored:
        raise ConfigError(
            f"limit and fraction ask for {len(old) + room} samples of '{name}', the run holds"
            f" {len(old)}",
            hint="give a larger limit or fraction, or another run.out",
        )
    if fraction < 1:
        pool = rest[: _pool(limit, len(old))]
        drawn = set(sorted(pool, key=lambda id: _draw(seed, id))[: max(room, 0)])
        rest = [id for id in rest if id in drawn]
    chosen = {*old, *rest[: max(room, 0)]}
    new = [s for key, s in listed.items() if s.id in chosen and key not in stored]
    frozen = [listed[key] for key in stored]
    digests = {key: digest for key, (_, digest) in stored.items() if key not in renewed}
    known = len(frozen)
    return Order(source, [*frozen, *new], known, len(renewed), limit, fraction, seed, digests)


def freeze(order: Order, table: Path) -> None:
    """Write samples.parquet and samples.csv: every sample in order, with stamp, sha256 and columns."""
    same = order.known == len(order.frozen or ()) and not order.renewed
    if order.frozen is None or (table.exists() and same):
        return
    source = order.source
    assert isinstance(source, ListedSource)
    # First replicates first: a source may remember the digest of what all of them are made from.
    todo = sorted((s for s in order.frozen if not order.digests.get(_key(s))), key=_replicate)
    with ThreadPoolExecutor() as threads:
        found = dict(zip(map(_key, todo), threads.map(source.digest, todo), strict=True))
    digests = [order.digests.get(_key(s)) or found[_key(s)] for s in order.frozen]
    columns = order.table({"stamp": [s.stamp for s in order.frozen], "sha256": digests})
    table.parent.mkdir(parents=True, exist_ok=True)
    with atomic(table.with_suffix(".csv")) as path:
        write_csv(path, columns)
    with atomic(table) as path:  # last: its presence says that the order is frozen
        write_table(path, columns)


def _replicate(sample: Sample) -> int:
    return sample.replicate


def _key(sample: Sample) -> Key:
    return sample.id, sample.replicate


def _wanted(count: int, limit: int | None, fraction: float) -> int:
    count = count if limit is None else min(count, limit)
    return count if fraction >= 1 or not count else max(1, round(count * fraction))


def _pool(limit: int | None, frozen: int) -> int | None:
    """How many of the samples not yet frozen the share is drawn from."""
    return None if limit is None else max(limit - frozen, 0)


def _stored(table: Path) -> dict[Key, tuple[str, str]]:
    """Stamp and digest of each sample that the run already has, in order."""
    if not table.exists():
        return {}
    columns = read_table(table).select(OWN).to_pydict()
    rows = zip(*columns.values(), strict=True)
    return {(sample, replicate): (stamp, digest) for sample, replicate, stamp, digest in rows}


def _renewed(
    source: ListedSource[Any],
    name: str,
    listed: Mapping[Key, Sample],
    stored: Mapping[Key, tuple[str, str]],
    held: Callable[[], Container[int]] | None,
) -> set[Key]:
    """Samples with other content than before, such as repaired files; one that is held is an error."""
    changed: dict[Key, int] = {}
    for position, (key, (stamp, digest)) in enumerate(stored.items()):
        sample = listed.get(key)
        if sample is None:
            raise SourceError(
                f"sample '{key[0]}' is gone since the run began",
                where=name,
                hint="put it back, or start a new run.out",
            )
        if sample.stamp != stamp and (not digest or source.digest(sample) != digest):
            changed[key] = position
    kept = held() if changed and held else range(len(stored))
    for key, position in changed.items():
        if position in kept:
            raise SourceError(
                f"sample '{key[0]}' has changed since the run began"
                f" ({stored[key][0]} -> {listed[key].stamp})",
                where=name,
                hint="put the old content back, or start a new run.out",
            )
    return set(changed)


def _check_columns(name: str, listed: Mapping[Key, Sample], table: Path) -> None:
    """The columns of these samples, where they are stored, are those that their rows were written with."""
    for line in read_table(table).to_pylist() if table.exists() else ():
        key = line["sample"], line["replicate"]
        for column in line.keys() - set(OWN) if key in listed else ():
            old, new = line[column], listed[key].columns.get(column)
            if old != new and not (old != old and new != new):  # NaN differs from itself
                raise SourceError(
                    f"sample '{line['sample']}' has changed since the run began: its {column} was"
                    f" {old!r}, is {new!r}",
                    where=name,
                    hint="start a new run.out",
                )
