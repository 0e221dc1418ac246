"""The source ``datasets``: every format against ``datasets`` itself, ids, columns, chats, bad input."""

from __future__ import annotations

import datetime
import gzip
import json
import pickle
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("datasets")

import datasets

from actx_core import Shard, SourceError
from actx_core.config.load import load_dict
from actx_core.testing import SourceTests
from actx_hf.sources.config import DatasetsConfig
from actx_hf.sources.datasets_source import datasets_source

TEXTS = ["one", "", "zwei\nünd \u2028drei", 'a "quoted", text', "x" * 1_000_000, "last"]
ROWS = [{"text": text, "n": i, "score": i / 2, "key": f"k{i}"} for i, text in enumerate(TEXTS)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def source(path, **options):
    return datasets_source(DatasetsConfig(path=path, **options))


def read(found, size=4):
    return [sample for shard in found.shards(size) for sample in found.read(shard)]


def loaded(path, **options):
    return [sample.load() for sample in read(source(path, **options))]


def fails(path, match, **options):
    with pytest.raises(SourceError, match=match) as caught:
        loaded(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def write(folder, kind):
    """The rows in a file of some format."""
    path = folder / f"x.{kind}"
    table = datasets.Dataset.from_list(ROWS)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=2)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    elif kind in ("csv", "tsv"):
        table.to_csv(path, sep="\t" if kind == "tsv" else ",")
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.data.schema) as out:
            out.write_table(table.data.table)
    elif kind == "saved":
        table.save_to_disk(path)
    else:
        lines(path, ROWS)
    return path


class TestStreamSuite(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        (tmp_path / "data").mkdir()
        rows = [{"text": f"text {i}", "n": i} for i in range(30)]
        lines(tmp_path / "data" / "a.jsonl", rows[:17])
        lines(tmp_path / "data" / "b.jsonl", rows[17:])
        return source(tmp_path / "data", columns=["n"])


class TestTableSuite(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        datasets.Dataset.from_list([{"text": f"t{i}", "n": i} for i in range(30)]).save_to_disk(
            tmp_path / "data"
        )
        return source(tmp_path / "data", columns=["n"], streaming=False)


KINDS = ["parquet", "jsonl", "jsonl.gz", "json", "csv", "tsv", "arrow", "saved"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streaming", [True, False])
def test_every_format_gives_the_same(tmp_path, kind, streaming):
    path = write(tmp_path, kind)
    found = read(source(path, columns=["n", "score"], streaming=streaming))
    expected = ["" if kind in ("csv", "tsv") and not t else t for t in TEXTS]
    if kind in ("csv", "tsv"):  # an empty field is no text
        with pytest.raises(SourceError, match="row 1: expected text, found nothing"):
            found[1].load()
        found, expected = found[:1] + found[2:], expected[:1] + expected[2:]
    assert [sample.load() for sample in found] == expected
    assert [dict(sample.columns) for sample in found][-1] == {"n": 5, "score": 2.5}
    number = "00000005"
    named = streaming and kind != "saved"
    assert found[-1].id == (f"x.{kind}:{number}" if named else number)


def test_lines_of_text_are_those_of_datasets(tmp_path):
    (tmp_path / "x.txt").write_text("one\n\nthree")
    expected = datasets.load_dataset("text", data_files=str(tmp_path / "x.txt"))["train"]["text"]
    assert loaded(tmp_path / "x.txt") == list(expected) == ["one", "", "three"]


def test_shards_can_be_read_in_any_order(tmp_path):
    rng = random.Random(1)
    (tmp_path / "data").mkdir()
    texts = [f"t{i}" for i in range(200)]
    for number, part in enumerate((texts[:90], texts[90:95], texts[95:])):
        table = pa.table({"text": part})
        pq.write_table(table, tmp_path / "data" / f"{number}.parquet", row_group_size=13)
    for kind in ("parquet", "json"):
        if kind == "json":
            for path in (tmp_path / "data").iterdir():
                rows = pq.read_table(path).to_pylist()
                lines(path.with_suffix(".jsonl"), rows)
                path.unlink()
        found = source(tmp_path / "data")
        shards = list(found.shards(11))
        expected = [texts[shard.start : shard.stop] for shard in shards]
        for order in (sorted, reversed, lambda x: rng.sample(x, len(x)), lambda x: x[::2]):
            for index in order(range(len(shards))):
                texts_read = [sample.load() for sample in found.read(shards[index])]
                assert texts_read == expected[index]


def test_a_shard_left_in_the_middle(tmp_path):
    pq.write_table(pa.table({"text": [f"t{i}" for i in range(9)]}), tmp_path / "x.parquet")
    found = source(tmp_path / "x.parquet")
    first, second, _ = found.shards(3)
    assert next(iter(found.read(first))).load() == "t0"
    assert [sample.load() for sample in found.read(second)] == ["t3", "t4", "t5"]


def test_parquet_begins_at_the_row_group(tmp_path, monkeypatch):
    """Only the row groups from the place on are read."""
    pq.write_table(pa.table({"text": list("abcdefgh")}), tmp_path / "x.parquet", row_group_size=2)
    groups = []
    whole = pq.ParquetFile.iter_batches

    def iter_batches(self, size, row_groups, columns):
        groups.append((row_groups, columns))
        return whole(self, size, row_groups, columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    found = source(tmp_path / "x.parquet").read(Shard("", 0, 5, 8, [0, 5]))
    assert [sample.load() for sample in found] == ["f", "g", "h"]
    assert groups == [([2], ["text"]), ([3], ["text"])]


class TestRows:
    def test_ids_of_a_column(self, tmp_path):
        path = lines(tmp_path / "x.jsonl", ROWS)
        for streaming in (True, False):
            ids = [sample.id for sample in read(source(path, id="key", streaming=streaming))]
            assert ids == ["k0", "k1", "k2", "k3", "k4", "k5"]
        assert [s.id for s in read(source(path, id="n"))][-1] == "5"

    @pytest.mark.parametrize("streaming", [True, False])
    def test_ids_that_are_not_unique_or_missing(self, tmp_path, streaming):
        path = lines(tmp_path / "x.jsonl", [{"text": "a", "id": i} for i in ("x", "y", "x")])
        fails(
            path, "row 2: id 'x' is that of .*row 0 too|row 2: id 'x'", id="id", streaming=streaming
        )
        path = lines(tmp_path / "y.jsonl", [{"text": "a", "id": "x"}, {"text": "b", "id": None}])
        fails(path, "row 1: expected an id in 'id', found nothing", id="id", streaming=streaming)

    def test_columns_are_scalars(self, tmp_path):
        day = datetime.date(2026, 11, 21)
        row = {"text": "a", "day": day, "at": datetime.datetime(2026, 1, 2, 3), "none": None}
        table = pa.Table.from_pylist([row])
        pq.write_table(table, tmp_path / "x.parquet")
        (sample,) = read(source(tmp_path / "x.parquet", columns=["day", "at", "none"]))
        expected = {"day": "2026-11-21", "at": "2026-01-02 03:00:00", "none": None}
        assert sample.columns == expected

    def test_class_labels_and_dictionaries(self, tmp_path):
        table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}).cast_column(
            "label", datasets.ClassLabel(names=["no", "yes"])
        )
        table.to_parquet(tmp_path / "x.parquet")
        found = read(source(tmp_path / "x.parquet", columns=["label"]))
        assert [sample.columns["label"] for sample in found] == [1, 0]
        coded = pa.table({"text": pa.array(["a", "b", "a"]).dictionary_encode()})
        pq.write_table(coded, tmp_path / "y.parquet")
        assert loaded(tmp_path / "y.parquet") == ["a", "b", "a"]

    def test_a_stamp_for_each_row_of_a_table(self, tmp_path):
        one = read(source(lines(tmp_path / "x.jsonl", ROWS), streaming=False))
        changed = [*ROWS[:2], {**ROWS[2], "text": "new"}, *ROWS[3:], ROWS[0]]
        other = source(lines(tmp_path / "y.jsonl", changed), streaming=False)
        pairs = list(zip(one, read(other), strict=False))
        assert [a.stamp == b.stamp for a, b in pairs] == [True, True, False, True, True, True]
        assert other.preview(["00000002", "none"])[0].data == "new"
        assert other.preview(["none"]) == [None]

    @pytest.mark.parametrize("kind", ["parquet", "jsonl"])
    def test_a_stream_shows_its_texts_again(self, tmp_path, kind):
        for name in ("a", "b"):
            rows = [{"text": f"{name}{n}", "key": f"{name}{n}"} for n in range(30)]
            if kind == "parquet":
                table = pa.Table.from_pylist(rows)
                pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=7)
            else:
                lines(tmp_path / f"{name}.jsonl", rows)
        ids = [f"{name}.{kind}:{n:08d}" for name, n in (("b", 3), ("a", 29), ("b", 2), ("b", 20))]
        shown = source(tmp_path).preview([*ids, ids[0], "c:00000001", "none", f"a.{kind}:00000030"])
        assert [one and one.data for one in shown] == ["b3", "a29", "b2", "b20", "b3"] + [None] * 3
        assert [one.caption for one in shown[:4]] == ids
        assert source(tmp_path, id="key").preview(["a0"]) == [None]

    def test_a_stream_is_not_read_far_for_a_preview(self, tmp_path):
        path = lines(tmp_path / "x.jsonl", [{"text": str(n)} for n in range(10_001)])
        shown = source(path).preview(["x.jsonl:00009999", "x.jsonl:00010000"])
        assert [one and one.data for one in shown] == ["9999", None]

    def test_texts_stay_on_disk(self, tmp_path):
        table = source(lines(tmp_path / "x.jsonl", ROWS), streaming=False)
        samples = table.listing()
        assert len(pickle.dumps([s.stamp for s in samples])) < 1000
        assert not any(isinstance(value, str) for s in samples for value in vars(s.data).values())


CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]


class TestMessages:
    @pytest.mark.parametrize("streaming", [True, False])
    @pytest.mark.parametrize("kind", ["parquet", "jsonl"])
    def test_conversations(self, tmp_path, kind, streaming):
        rows = [{"talk": CHAT}, {"talk": CHAT[:1]}, {"talk": []}]
        path = tmp_path / f"x.{kind}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            lines(path, rows)
        given = loaded(path, messages="talk", streaming=streaming)
        assert given == [CHAT, CHAT[:1], []]

    def test_fields_that_only_some_have(self, tmp_path):
        tool = {"role": "assistant", "content": "ok", "tool": "clock"}
        path = lines(tmp_path / "x.jsonl", [{"m": CHAT}, {"m": [CHAT[0], tool]}])
        assert loaded(path, messages="m") == [CHAT, [CHAT[0], tool]]
        pq.write_table(pa.Table.from_pylist([{"m": [tool]}, {"m": CHAT}]), tmp_path / "x.parquet")
        assert loaded(tmp_path / "x.parquet", messages="m") == [[tool], CHAT]
        for streaming, id in ((False, "00000000"), (True, "x.jsonl:00000000")):
            (shown,) = source(path, messages="m", streaming=streaming).preview([id])
            assert shown.data == "user: hi\nassistant: ho"

    def test_what_is_no_conversation(self, tmp_path):
        path = lines(tmp_path / "x.jsonl", [{"m": [{"from": "human", "value": "hi"}], "t": "x"}])
        fails(
            path, "expected messages with role and content in 'm', found from, value", messages="m"
        )
        fails(path, "expected lists of messages in 't', found string", messages="t")
        words = lines(tmp_path / "w.jsonl", [{"m": ["a", "b"]}])
        fails(words, "expected lists of messages in 'm', found list<.*string>", messages="m")
        fails(path, "expected text in 'm', found list.*named with messages", column="m")
        path = lines(tmp_path / "y.jsonl", [{"m": CHAT}, {"m": [{"role": "user", "text": "hi"}]}])
        fails(path, "row 1: expected a message with role and content, found", messages="m")


class TestPlaces:
    def test_files_of_a_folder(self, tmp_path):
        data = tmp_path / "data"
        (data / "2024").mkdir(parents=True)
        lines(data / "2024" / "a.jsonl", [{"text": "a"}])
        lines(data / "b.jsonl", [{"text": "b"}])
        ids = [sample.id for sample in read(source(data))]
        assert ids == ["2024/a.jsonl:00000000", "b.jsonl:00000000"]
        (only,) = read(source(data, files=["2024/*"]))
        assert (only.id, only.load()) == ("a.jsonl:00000000", "a")
        fails(data, r"data: .*No \(supported\) data files found", files=["2025/*"])

    def test_configs_and_splits_of_a_folder(self, tmp_path):
        folder = tmp_path / "wikitext"
        folder.mkdir()
        for name in ("small", "large", "test"):
            lines(folder / f"{name}.jsonl", [{"text": name}])
        configs = [
            {"config_name": "wikitext-2-v1", "data_files": "small.jsonl"},
            {
                "config_name": "wikitext-103-v1",
                "data_files": [
                    {"split": "train", "path": "large.jsonl"},
                    {"split": "test", "path": "test.jsonl"},
                ],
            },
        ]
        (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
        assert loaded(folder, config="wikitext-2-v1") == ["small"]
        assert loaded(folder / "wikitext-103-v1") == ["large"]
        assert source(folder / "wikitext-103-v1").config.label() == "wikitext-103-v1"
        assert loaded(folder, config="wikitext-103-v1", split="test") == ["test"]
        hint = fails(
            folder / "wikitext-103-v1", "split 'tests', found 'train', 'test'", split="tests"
        )
        assert "did you mean 'test'" in hint
        fails(
            folder, "'wikitext-103' not found. Available:.*'wikitext-2-v1'", config="wikitext-103"
        )

    def test_paths_start_from_the_pipeline(self, tmp_path):
        lines(tmp_path / "x.jsonl", [{"text": "a"}])
        given = {
            "actx": 1,
            "run": {"out": "run"},
            "source": [{"type": "datasets", "path": path, "as": f"s{i}"} for i, path in enumerate(
                ["x.jsonl", "HuggingFaceFW/fineweb", "wikitext/wikitext-103-v1", "gone.jsonl",
                 "https://example.org/x.parquet", "./data"]
            )],
            "model": {"type": "module", "callable": "torch.nn:Identity", "trust": True,
                      "input_shape": [1], "taps": ["*"]},
        }  # fmt: skip
        paths = [str(s.config.path) for s in load_dict(given, base=tmp_path).sources]
        assert paths[0] == str(tmp_path / "x.jsonl")
        assert paths[1:3] == ["HuggingFaceFW/fineweb", "wikitext/wikitext-103-v1"]
        assert paths[3] == str(tmp_path / "gone.jsonl")
        assert paths[4] == "https:/example.org/x.parquet"
        assert paths[5] == str(tmp_path / "data")

    def test_splits_that_were_saved(self, tmp_path):
        one = datasets.Dataset.from_dict({"text": ["a", "b"]})
        datasets.DatasetDict({"train": one, "test": one.select([1])}).save_to_disk(tmp_path / "d")
        assert loaded(tmp_path / "d") == ["a", "b"]
        assert loaded(tmp_path / "d", split="test") == ["b"]
        fails(
            tmp_path / "d", "expected a split 'tets', found 'train', 'test'.*'test'", split="tets"
        )

    def test_labels(self):
        labels = {
            "data/x.v1.jsonl.gz": "x.v1",
            "HuggingFaceFW/fineweb": "fineweb",
            "a/b-v1.5": "b-v1.5",
            "https://h/t/x.parquet": "x",
        }
        assert {path: DatasetsConfig(path=path).label() for path in labels} == labels


class TestFingerprint:
    def test_it_follows_the_content_not_the_time(self, tmp_path):
        path = lines(tmp_path / "x.jsonl", ROWS)
        first = source(path).fingerprint()
        lines(path, ROWS)
        assert source(path).fingerprint() == first
        lines(path, ROWS[:-1])
        assert source(path).fingerprint() != first

    def test_both_ends_of_a_large_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr("actx_hf.sources.locate._ENDS", 20)
        marks = set()
        for change in (0, 10, 30, 50, 99):
            content = bytearray(b"x" * 100)
            content[change] = 65
            (tmp_path / "x.txt").write_bytes(content)
            marks.add(source(tmp_path / "x.txt").fingerprint())
        assert len(marks) == 4  # 30 and 50 lie between the ends


def test_the_config_imports_nothing_heavy():
    code = (
        "import sys, actx_hf.sources.config, actx_hf.plugin;"
        " sys.exit(any(name in sys.modules for name in ('numpy', 'torch', 'datasets', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
