"""The source ``datasets`` and bad input: one line that says what, where, and what to do."""

from __future__ import annotations

import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("datasets")

from pydantic import ValidationError

from actx_core import SourceError
from actx_hf.sources.config import DatasetsConfig
from actx_hf.sources.datasets_source import datasets_source


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def fails(path, match, **options):
    source = datasets_source(DatasetsConfig(path=path, **options))
    with pytest.raises(SourceError, match=match) as caught:
        [sample.load() for shard in source.shards(4) for sample in source.read(shard)]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_missing_column(tmp_path):
    path = lines(tmp_path / "x.jsonl", [{"content": "a", "n": 1}])
    said = fails(
        path, "x.jsonl: expected a column 'contents', found 'content', 'n'", column="contents"
    )
    assert said.endswith("hint: did you mean 'content'?")
    assert "say which with column" in fails(path, "expected a column 'text', found 'content'")
    fails(path, "expected a column 'url'", column="content", columns=["url"])
    fails(path, "expected text in 'n', found int64", column="n")


def test_a_column_that_a_later_file_lacks(tmp_path):
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "d" / "a.parquet")
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "d" / "b.parquet")
    fails(tmp_path / "d", "b.parquet: expected a column 'text', as the first file has it")


@pytest.mark.parametrize("streaming", [True, False])
def test_a_later_file_with_other_columns(tmp_path, streaming):
    data = tmp_path / "data"
    data.mkdir()
    lines(data / "a.jsonl", [{"text": "a"}])
    lines(data / "b.jsonl", [{"text": "b", "url": "c"}])
    match = "expected the columns of the first file, found others, such as 'url'.*with files"
    fails(data, match, streaming=streaming)


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.csv"])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_file_without_rows(tmp_path, name, streaming):
    (tmp_path / name).write_text("text\n" if name == "x.csv" else "")
    fails(tmp_path / name, "expected rows, found none", streaming=streaming)


def test_a_later_file_that_is_damaged(tmp_path):
    (tmp_path / "d").mkdir()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "d" / "a.parquet")
    (tmp_path / "d" / "b.parquet").write_bytes(b"PAR1 and no more")
    fails(tmp_path / "d", "d/b.parquet: cannot be read after row 0: ArrowInvalid: ")


def test_nested_columns(tmp_path):
    path = lines(tmp_path / "x.jsonl", [{"text": "a", "tags": ["x"]}])
    fails(path, "expected numbers or text in 'tags', found list", columns=["tags"])


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "line", "byte"),
    [
        ("x.jsonl", b'{"text": "a"}\n{"text": "\xe4"}\n', 2, 10),
        ("x.txt", b"a\nb\nc\xff\n", 3, 1),
        ("x.csv", b"text\nb\xff\n", 2, 1),
    ],
)
def test_invalid_utf8(tmp_path, name, content, line, byte, streaming):
    (tmp_path / name).write_bytes(content)
    said = fails(
        tmp_path / name, rf"{name}:{line}: expected UTF-8, found 0x\w\w", streaming=streaming
    )
    assert f"at byte {byte} of the line" in said


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("x.jsonl", b"", "expected rows, found none"),
        ("x.txt", b"", "expected rows, found none"),
        ("x.jsonl", b'{"text": "a"}\n{"text"\n', "x.jsonl: .*JSON parse error"),
        ("x.parquet", b"PAR1 no", "x.parquet: .*Arrow"),
        (
            "x.pkl",
            pickle.dumps({"text": ["a"]}),
            "expected a file ending in .parquet .*'x.pkl'",
        ),
        ("x.py", b"raise SystemExit", "expected a file ending in .parquet .*, found 'x.py'"),
        ("x.tar", b"", "expected a file ending in"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    fails(tmp_path / name, match)


def test_nothing_there(tmp_path):
    fails(tmp_path / "gone.parquet", "gone.parquet: there is no such file or folder")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "empty: ")
    fails("owner/name", "owner/name: the hub is switched off by HF_HUB_OFFLINE")


def test_scripts_and_pickles_are_not_run(tmp_path):
    for name in ("d", "pickled", "shards"):
        (tmp_path / name).mkdir()
    lines(tmp_path / "d" / "x.jsonl", [{"text": "a"}])
    (tmp_path / "d" / "d.py").write_text("raise SystemExit('it ran')")
    fails(tmp_path / "d", "d: the data set is a script, and scripts are code that would run here")
    (tmp_path / "pickled" / "x.pkl").write_bytes(pickle.dumps(1))
    fails(tmp_path / "pickled", "pickled: ")
    (tmp_path / "shards" / "x.tar").write_bytes(b"")
    fails(
        tmp_path / "shards",
        "expected Parquet, JSON lines, CSV, text or Arrow, found webdataset",
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"column": "a", "messages": "m"}, "column or messages, not both"),
        ({"id": "text"}, "'text' is the sample itself"),
        ({"columns": ["text"]}, "'text' is the sample itself"),
        ({"columns": ["sample"]}, r"the columns \['sample'\] would hide"),
        ({"split": "train[:10%]"}, "take a part of it with limit"),
        ({"split": "train[:9]", "streaming": False}, "expected the name of a split"),
        ({"shuffle": 1}, "shuffle"),
        ({"path": ""}, "expected a data set of the hub, a file, a folder or a URL, found nothing"),
    ],
)
def test_options_that_do_not_fit(options, match):
    with pytest.raises(ValidationError, match=match):
        DatasetsConfig(**{"path": "x.jsonl", **options})
