"""The frozen order of samples: growth, loss, change, limit, fraction, streams."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from actx_core import Config, ConfigError, ListedSource, Sample, Shard, Source, SourceError
from actx_core.order import Order, freeze, order


class Names(ListedSource[Config]):
    """Samples with the names and contents given."""

    def __init__(self, content: dict[str, str], stamps: dict[str, str] | None = None) -> None:
        super().__init__(Config())
        self.content = content
        self.stamps = stamps or content

    def listing(self) -> Sequence[Sample]:
        return [
            Sample(n, lambda c=c: c, {"size": len(c)}, stamp=self.stamps[n])
            for n, c in self.content.items()
        ]

    def digest(self, sample: Sample) -> str:
        return hashlib.sha256(self.content[sample.id].encode()).hexdigest()


class Numbers(Source[Config]):
    """A stream of n numbers."""

    def __init__(self, n: int, known: bool = True) -> None:
        super().__init__(Config())
        self.n, self.known = n, known

    def shards(self, size: int) -> Iterator[Shard]:
        for i, start in enumerate(range(0, self.n, size)):
            stop = min(start + size, self.n) if self.known else None
            yield Shard("", i, start, stop, {"start": start, "size": size})

    def read(self, shard: Shard) -> Iterator[Sample]:
        start = shard.cursor["start"]
        for i in range(start, min(start + shard.cursor["size"], self.n)):
            yield Sample(str(i), i)


def ids(found: Order, shards: Sequence[Shard]) -> list[str]:
    return [s.id for shard in shards for _, s in found.read(shard)]


def frozen(source: Names, table: Path, **options: object) -> Order:
    found = order(source, "s", table, **options)  # type: ignore[arg-type]
    freeze(found, table)
    return found


def test_new_samples_go_to_the_end_in_shards_of_their_own(tmp_path: Path) -> None:
    table = tmp_path / "s" / "samples.parquet"
    first = frozen(Names({"b": "1", "c": "2", "d": "3"}), table)
    shards = first.shards("s/m", 2)
    grown = frozen(Names({"a": "0", "b": "1", "c": "2", "d": "3"}), table)
    more = grown.shards("s/m", 2, shards)
    assert more[:2] == shards
    assert ids(grown, more) == ["b", "c", "d", "a"]
    assert [s.index for s in more] == [0, 1, 2]
    assert table.with_suffix(".csv").read_text().splitlines()[0].startswith('"sample","replicate"')


def test_a_vanished_sample_is_named(tmp_path: Path) -> None:
    table = tmp_path / "samples.parquet"
    frozen(Names({"a": "1", "b": "2"}), table)
    with pytest.raises(SourceError, match="'a' is gone"):
        order(Names({"b": "2"}), "s", table)


def test_a_changed_sample_is_named_and_a_touched_one_is_not(tmp_path: Path) -> None:
    table = tmp_path / "samples.parquet"
    frozen(Names({"a": "1", "b": "2"}), table)
    order(Names({"a": "1", "b": "2"}, {"a": "touched", "b": "2"}), "s", table)
    with pytest.raises(SourceError, match="'b' has changed"):
        order(Names({"a": "1", "b": "X"}), "s", table)


def test_a_sample_of_which_nothing_is_held_may_change(tmp_path: Path) -> None:
    table = tmp_path / "samples.parquet"
    frozen(Names({"a": "1", "b": "2", "c": "3"}), table)
    repaired = Names({"a": "1", "b": "X", "c": "3"})
    with pytest.raises(SourceError, match="'b' has changed"):
        order(repaired, "s", table, held=lambda: {1, 2})
    assert frozen(repaired, table, held=lambda: {0, 2}).renewed == 1
    again = order(repaired, "s", table)
    assert (again.renewed, again.digests["b", 0]) == (0, hashlib.sha256(b"X").hexdigest())


def test_duplicate_ids_are_refused(tmp_path: Path) -> None:
    class Twice(Names):
        def listing(self) -> Sequence[Sample]:
            return [*super().listing(), *super().listing()]

    with pytest.raises(SourceError, match="two samples are called 'a'"):
        order(Twice({"a": "1"}), "s", tmp_path / "samples.parquet")


def test_a_column_that_changed_is_an_error(tmp_path: Path) -> None:
    class Classes(Names):
        """The number of a sample's class depends on which classes there are."""

        def listing(self) -> Sequence[Sample]:
            names = sorted(self.content)
            return [Sample(n, n, {"target": names.index(n), "odd": float("nan")}) for n in names]

    table = tmp_path / "samples.parquet"
    frozen(Classes({"b": "1", "c": "2"}), table)
    assert frozen(Classes({"b": "1", "c": "2", "d": "3"}), table).samples == 3
    with pytest.raises(SourceError, match="'b' has changed .* its target was 0, is 1"):
        order(Classes({"a": "0", "b": "1", "c": "2", "d": "3"}), "s", table)


def test_limit_takes_the_first_and_may_grow(tmp_path: Path) -> None:
    table = tmp_path / "samples.parquet"
    content = {f"{i:02}": str(i) for i in range(10)}
    first = frozen(Names(content), table, limit=4)
    assert first.samples == 4
    grown = frozen(Names(content), table, limit=6)
    assert [s.id for s in grown.frozen or ()] == [f"{i:02}" for i in range(6)]
    with pytest.raises(ConfigError, match="ask for 3 samples of 's', the run holds 6"):
        order(Names(content), "s", table, limit=3)


def test_fraction_is_seeded_exact_in_number_and_nested(tmp_path: Path) -> None:
    content = {f"{i:03}": str(i) for i in range(200)}
    draws = {}
    for seed in (0, 1):
        for share in (0.1, 0.25):
            found = order(Names(content), "s", tmp_path / "none", None, share, seed)
            draws[seed, share] = [s.id for s in found.frozen or ()]
            assert len(draws[seed, share]) == round(200 * share)
            assert draws[seed, share] == sorted(draws[seed, share])
    assert set(draws[0, 0.1]) < set(draws[0, 0.25])
    assert draws[0, 0.1] != draws[1, 0.1]
    limited = order(Names(content), "s", tmp_path / "none", 100, 0.25, 0)
    assert limited.samples == 25
    assert all(s.id < "100" for s in limited.frozen or ())


@pytest.mark.parametrize("known", [True, False])
def test_a_stream_is_cut_by_position(tmp_path: Path, known: bool) -> None:
    found = order(Numbers(25, known), "s", tmp_path / "none", 18)
    shards = found.shards("s/m", 7)
    assert ids(found, shards) == [str(i) for i in range(18)]
    assert found.samples == 18
    more = order(Numbers(25, known), "s", tmp_path / "none", 24)
    grown = more.shards("s/m", 7, shards)
    assert grown[: len(shards)] == shards
    assert ids(more, grown) == [str(i) for i in range(24)]
    open_ended = order(Numbers(25, known), "s", tmp_path / "none")
    assert open_ended.samples == (25 if known else None)
    assert ids(open_ended, open_ended.shards("s/m", 7)) == [str(i) for i in range(25)]


def test_a_share_of_a_stream_does_not_depend_on_shards(tmp_path: Path) -> None:
    draws = []
    for size in (7, 50):
        found = order(Numbers(400), "s", tmp_path / "none", None, 0.3, 5)
        draws.append(ids(found, found.shards("s/m", size)))
    assert draws[0] == draws[1]
    assert 80 < len(draws[0]) < 160


def test_skipped_samples_can_be_picked_again(tmp_path: Path) -> None:
    found = order(Names({c: c for c in "abcdef"}), "s", tmp_path / "none")
    again = found.again("s/m", 3, [1, 4])
    assert ids(found, [again]) == ["b", "e"]
    more = found.shards("s/m", 4, (*found.shards("s/m", 4), again))
    assert [s.index for s in more] == [0, 1, 3]
