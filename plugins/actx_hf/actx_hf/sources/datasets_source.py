"""The source ``datasets``: Hugging Face data sets and files of the same formats, as texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from typing import Any

from actx_core import ListedSource, Preview, Sample, Shard, Source, SourceError
from actx_hf.sources.config import DatasetsConfig, address
from actx_hf.sources.locate import Data, load, locate
from actx_hf.sources.parts import TablePart
from actx_hf.sources.records import check_schema, columns, content, place, sample_id
from actx_hf.sources.retry import once
from actx_hf.sources.rows import Extent, Place, Row, Rows, schema


def datasets_source(config: DatasetsConfig) -> Source[DatasetsConfig]:
    """The source that the options ask for: a stream, or a table with a frozen list of samples."""
    return DatasetStream(config) if config.streaming else DatasetTable(config)


class DatasetStream(Source[DatasetsConfig]):
    """Rows by their position: files in the order of the data set, each from its first row to its last.

    A shard knows in which file and row it begins: resuming reads again only the row group that holds it
    (Parquet), or the file's beginning (other formats).
    """

    gives = "text"

    def __init__(self, config: DatasetsConfig) -> None:
        super().__init__(config)
        self._rows: Rows | None = None

    def fingerprint(self) -> str:
        return self._data.identity

    def shards(self, size: int) -> Iterator[Shard]:
        index = start = 0
        while (stop := self._extent.reach(start + size)) > start:
            yield Shard("", index, start, stop, list(astuple(self._extent.place(start))))
            index, start = index + 1, stop
        if not start:
            raise SourceError("expected rows, found none", where=address(self.config.path))

    def read(self, shard: Shard) -> Iterator[Sample]:
        rows = self._at(Place(*shard.cursor))
        seen: dict[str, str] = {}
        for position in range(shard.start, shard.stop or 0):
            sample = self._sample(self._next(rows, position))
            where = sample.data.keywords["where"]
            if seen.setdefault(sample.id, where) != where:
                raise SourceError(
                    f"id '{sample.id}' is that of {seen[sample.id]} too",
                    where=where,
                    hint="name a column of unique ids, or leave id out",
                )
            if position + 1 == shard.stop:
                self._rows = rows
            yield sample

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """The texts, or the messages with their roles, read again in the order of the data set.

        None for one that cannot be read, or only after 10,000 others of its file, and for all where ids
        come from a column: those tell no place.
        """
        if self.config.id:
            return [None] * len(samples)
        with once():
            numbers = {part.name: number for number, part in enumerate(self._data.parts)}
            places = {id: place for id in samples if (place := self._place(numbers, id))}
            ordered = sorted(places, key=places.__getitem__)
            found = {id: self._shown(id, places[id]) for id in ordered}
        return [found.get(id) for id in samples]

    def _place(self, numbers: Mapping[str, int], id: str) -> Place | None:
        """Where the row of an id stands that ``sample_id`` made, if it can be looked up."""
        name, _, row = id.rpartition(":")
        if name not in numbers or not row.isdigit():
            return None
        first = self._data.parts[numbers[name]].first
        return Place(numbers[name], int(row)) if first is None or int(row) < first else None

    def _shown(self, id: str, place: Place) -> Preview | None:
        rows = self._at(place)
        row = next(rows, None)
        self._rows = rows
        sample = self._sample(row) if row else None
        return shown(sample) if sample and sample.id == id else None

    def _at(self, place: Place) -> Rows:
        """The rows from a place on; those read before, where they end near it."""
        rows, self._rows = self._rows, None
        if rows is None or not rows.forward(place):
            rows = Rows(self._data.parts, self.config.wanted, place)
        return rows

    def _next(self, rows: Rows, position: int) -> Row:
        row = next(rows, None)
        if row is None:
            raise SourceError(
                f"the data end after {position} rows; there were more when the run was planned",
                where=address(self.config.path),
                hint="put the old data back, or start a new run.out",
            )
        return row

    def _sample(self, row: Row) -> Sample:
        part, number, record = row
        where = place(self.config, part, number)
        return Sample(
            sample_id(self.config, part, number, record),
            partial(content, self.config, record[self.config.content], where=where),
            columns(self.config, record),
        )

    @cached_property
    def _data(self) -> Data:
        data = locate(self.config)
        check_schema(self.config, schema(data.parts))
        return data

    @cached_property
    def _extent(self) -> Extent:
        return Extent(self._data.parts, self.config.content)


@dataclass(frozen=True)
class _Stored:
    """A value of a table, read when it is needed."""

    config: DatasetsConfig
    table: TablePart
    row: int

    def value(self) -> Any:
        return self.table.value(self.row, self.config.content)

    def __call__(self) -> str | list[dict[str, Any]]:
        return content(self.config, self.value(), place(self.config, "", self.row))


class DatasetTable(ListedSource[DatasetsConfig]):
    """Every row of a split that lies on this machine, in a frozen order."""

    gives = "text"

    def listing(self) -> Sequence[Sample]:
        return list(self._samples.values())

    def digest(self, sample: Sample) -> str:
        return _sha256(sample.data.value())

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """The texts, or the messages with their roles; None for one that cannot be read."""
        with once():
            known = self._samples
        return [shown(known[id]) if id in known else None for id in samples]

    @cached_property
    def _samples(self) -> dict[str, Sample]:
        table = load(self.config)
        check_schema(self.config, schema([table]))
        samples: dict[str, Sample] = {}
        for _, row, record in Rows([table], self.config.wanted, Place(0, 0)):
            id = sample_id(self.config, "", row, record)
            if id in samples:
                raise SourceError(
                    f"id '{id}' is that of row {samples[id].data.row} too",
                    where=place(self.config, "", row),
                    hint="name a column of unique ids, or leave id out",
                )
            stamp = _sha256(record[self.config.content])[:16]
            stored = _Stored(self.config, table, row)
            samples[id] = Sample(id, stored, columns(self.config, record), stamp=stamp)
        if not samples:
            raise SourceError("expected rows, found none", where=address(self.config.path))
        return samples


def shown(sample: Sample) -> Preview | None:
    """The text of a sample, or its messages with their roles; None where it cannot be read."""
    try:
        data = sample.load()
    except SourceError:
        return None
    if not isinstance(data, str):
        data = "\n".join(f"{message['role']}: {message['content']}" for message in data)
    return Preview("text", data, caption=sample.id)


def _sha256(value: Any) -> str:
    """The digest of a text, or of messages."""
    text = json.dumps(value, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
