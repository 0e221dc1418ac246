"""The suite for sources: always the same samples, wherever and however they are read."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from actx_core.contracts import Config, ListedSource, Source
from actx_core.testing.suite import Suite, again, check_config, in_another_process
from actx_core.types import Preview, Sample


class SourceTests(Suite):
    """Define the fixture ``source``: one of an importable class, with a few dozen samples at most."""

    @pytest.fixture
    def source(self) -> Source[Any]:
        raise NotImplementedError("define a fixture `source` that returns the source to test")

    def test_shards_cover_everything_once(self, source: Source[Any]) -> None:
        whole = [(s.id, s.replicate) for s in _read(source)]
        for size in (1, 3, 1000):
            place = 0
            for index, shard in enumerate(source.shards(size)):
                assert (shard.index, shard.start) == (index, place), "shards leave a gap or overlap"
                found = list(source.read(shard))
                assert len(found) <= size
                place += len(found)
                assert shard.stop in (None, place), f"{shard} holds {len(found)} samples"
                assert [(s.id, s.replicate) for s in found] == whole[shard.start : place]
            assert place == len(whole), f"{place} of {len(whole)} samples in shards of {size}"

    def test_samples_are_named_apart(self, source: Source[Any]) -> None:
        names = [(s.id, s.replicate) for s in _read(source)]
        assert names, "the source is empty"
        assert {type(id) for id, _ in names} == {str}, "an id is not a string"
        assert all(id for id, _ in names), "an id is empty"
        assert len(set(names)) == len(names), "ids are not unique"

    def test_columns_are_scalars(self, source: Source[Any]) -> None:
        for sample in _read(source):
            bad = {
                name: value
                for name, value in sample.columns.items()
                if not isinstance(value, str | int | float | bool | np.generic | None)
            }
            assert not bad, f"sample '{sample.id}': {bad}"

    def test_data_is_what_the_source_gives(self, source: Source[Any]) -> None:
        kind: type = {"text": str, "array": np.ndarray}.get(source.gives, object)
        if source.gives == "image":
            from PIL.Image import Image

            kind = Image
        for sample in _read(source):
            data = sample.load()
            assert isinstance(data, kind), f"sample '{sample.id}' is {type(data)}"

    def test_reading_again_is_equal(self, source: Source[Any]) -> None:
        first = contents(type(source), source.config)
        assert [_content(s) for s in _read(source)] == first
        assert [_content(s) for s in _read(source)] == first

    def test_another_process_reads_the_same(self, source: Source[Any]) -> None:
        there = in_another_process(contents, type(source), source.config)
        assert there == [_content(s) for s in _read(source)]

    def test_the_listing_is_what_is_read(self, source: Source[Any]) -> None:
        if not isinstance(source, ListedSource):
            pytest.skip("a stream")
        listed = list(source.listing())
        assert [_content(s) for s in listed] == [_content(s) for s in _read(source)]
        other = again(source)
        digests = [source.digest(s) for s in listed]
        assert digests == [other.digest(s) for s in other.listing()], "digests change"
        assert [s.stamp for s in listed] == [s.stamp for s in other.listing()], "stamps change"

    def test_previews(self, source: Source[Any]) -> None:
        ids = [s.id for s in _read(source)]
        previews = source.preview([*ids, "there is no such sample"])
        assert len(previews) == len(ids) + 1
        assert all(isinstance(p, Preview | None) for p in previews)

    def test_fingerprint_and_config(self, source: Source[Any]) -> None:
        assert again(source).fingerprint() == source.fingerprint(), "a new instance has another one"
        check_config(source.config)


def _read(source: Source[Any]) -> Sequence[Sample]:
    return [sample for shard in source.shards(7) for sample in source.read(shard)]


def contents(kind: type[Source[Any]], config: Config) -> list[Mapping[str, Any]]:
    """All that a new source gives, comparable between processes."""
    return [_content(sample) for sample in _read(kind(config))]


def _content(sample: Sample) -> Mapping[str, Any]:
    data = hashlib.sha256(pickle.dumps(sample.load())).hexdigest()
    return {
        "id": sample.id,
        "replicate": sample.replicate,
        "columns": dict(sample.columns),
        "stamp": sample.stamp,
        "data": data,
    }
