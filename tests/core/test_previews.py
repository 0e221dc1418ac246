"""Previews of rows of a run: read once, tokens in their text, an even share; and the maps of a result."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from actx_core import SourceError, previews
from actx_core.analyze import Analysis
from actx_core.maps import maps_of
from actx_core.previews import RunPreviews, few, in_words, share
from actx_core.tables import write_table
from actx_core.types import Preview

TEXTS = {"one": "the cat sat", "two": "a dog"}


@pytest.fixture
def shown(monkeypatch):
    """Previews of a run of tokens, and the list of samples that were read."""
    read = []

    def preview(samples):
        read.extend(samples)
        return [Preview("text", TEXTS[s], s) if s in TEXTS else None for s in samples]

    monkeypatch.setattr(previews, "build_source", lambda _: SimpleNamespace(preview=preview))
    rows = pa.table(
        {
            "sample": ["one", "one", "two", "gone"],
            "char_start": [4, None, 2, 0],
            "char_end": [7, None, 5, 1],
        }
    )
    array = SimpleNamespace(spec=SimpleNamespace(source="texts"), rows=rows)
    run = {"texts/net/tap": array}
    entries = [SimpleNamespace(id="texts")]
    made = RunPreviews(Arrays(run), entries)
    return SimpleNamespace(rows=made.rows, samples=made.samples, read=read, table=rows)


class Arrays(dict):
    @property
    def arrays(self):
        return list(self)


def test_data_that_are_gone_leave_no_pictures_and_are_asked_for_once(monkeypatch):
    asked = []

    def preview(samples):
        asked.append(samples)
        raise SourceError("the disk is elsewhere")

    monkeypatch.setattr(previews, "build_source", lambda _: SimpleNamespace(preview=preview))
    made = RunPreviews(Arrays({}), [SimpleNamespace(id="texts")])
    assert made.samples("texts", ["one", "two"]) == [None, None]
    assert made.samples("texts", ["three"]) == [None]
    assert asked == [["one", "two"]]


def test_rows_are_about_a_part_of_their_text(shown):
    found = shown.rows("pca/texts/net/tap/scores", [2, 0, 1, 3, 0])
    assert [p and (p.data, p.span) for p in found] == [
        ("a dog", (2, 5)), ("the cat sat", (4, 7)), ("the cat sat", None), None, ("the cat sat", (4, 7)),
    ]  # fmt: skip
    shown.samples("texts", ["two", "one"])
    assert shown.read == ["two", "one", "gone"]  # each once
    assert shown.rows("another/net/tap", [0, 1]) == [None, None]
    assert shown.samples("no source", ["one"]) == [None]


def test_rows_in_words(shown):
    assert in_words(shown.table, shown.rows("texts/net/tap", [0, 1, 2, 3])) == [
        "the [cat] sat", "one", "a [dog]", "gone",
    ]  # fmt: skip


def test_groups_keep_an_even_share():
    groups = {"a": range(8), "b": range(4), "c": range(1)}
    assert few(groups, share(groups.values())) == groups
    many = [range(12)] * 1000
    assert few(groups, share(many)) == {"a": range(4), "b": range(2), "c": range(1)}


def test_maps_are_coloured_by_columns_that_differ(tmp_path):
    count = 5000
    label = np.arange(count) % 3
    rows = {
        "sample": [f"s{n}" for n in range(count)],
        "target": label, "label": [f"kind {n}" for n in label], "words": np.arange(count) % 90,
        "rating": np.random.default_rng(0).random(count), "side": np.arange(count) % 2,
    }  # fmt: skip
    write_table(tmp_path / "rows.parquet", rows)
    told = {"row": range(count), "sample": rows["sample"], "cluster": np.arange(count) % 600}
    write_table(tmp_path / "assignments.parquet", told)
    np.save(tmp_path / "map.npy", np.random.default_rng(0).random((count, 2)))
    arrays = {
        "map": {"file": "map.npy", "axes": ["row", "map"]},
        "scores": {"file": "scores.npy", "axes": ["row", "component"]},
    }
    about = {"arrays": arrays, "tables": {"assignments": "assignments.parquet"}}
    maps = maps_of(Analysis(tmp_path, about), lambda rows: [None] * len(rows))
    # `target` sorts rows as `label` does, `words` has too many values, `rating` is no group
    assert [m.column for m in maps] == ["cluster", "label", "side"]
    assert [(m.shown, m.total) for m in maps] == [(2000, count)] * 3
    words = [w for group in maps[1].groups for *_, w in group.points]
    assert all(int(w[1 : w.index(":")]) % 3 == int(w[-1]) for w in words)
