"""Files and folders of the source ``datasets`` as they come: byte order marks, numbers, mixed formats."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("datasets")

from actx_core import SourceError
from actx_hf.sources.config import DatasetsConfig
from actx_hf.sources.datasets_source import datasets_source
from actx_hf.sources.locate import _names


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def read(path, **options):
    source = datasets_source(DatasetsConfig(path=path, **options))
    return [sample for shard in source.shards(4) for sample in source.read(shard)]


def loaded(path, **options):
    return [sample.load() for sample in read(path, **options)]


def lines(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("txt", "one\r\ntwo\r\n"),
        ("csv", "text\r\none\r\ntwo\r\n"),
        ("jsonl", '{"text":"one"}\r\n{"text":"two"}'),
    ],
)
def test_a_byte_order_mark_is_no_text(tmp_path, kind, content, streaming):
    for name in "ab":
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{name}.{kind}").write_bytes(("\ufeff" + content).encode())
    assert loaded(tmp_path / "data", streaming=streaming) == ["one", "two"] * 2


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("folder", [True, False])
def test_texts_and_ids_of_csv_stay_as_they_are_written(tmp_path, streaming, folder):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "x.csv"
    path.write_text("text,key,n\n12,007,1\n1.50,7,2\n")
    where = path.parent if folder else path
    found = read(where, id="key", columns=["n"], streaming=streaming)
    assert [(s.id, s.load(), s.columns["n"]) for s in found] == [("007", "12", 1), ("7", "1.50", 2)]


def test_zstandard(tmp_path):
    """Its package comes with ``actx-hf[datasets]``; where it is missing, that is what is said."""
    body = b'{"text": "a"}\n{"text": "b"}\n'
    block = (len(body) << 3 | 1).to_bytes(3, "little") + body  # stored as it is
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes([0x20, len(body)]) + block)
    if find_spec("zstandard"):
        assert loaded(path) == ["a", "b"]
    else:
        with pytest.raises(SourceError, match="a package is missing: zstandard.*pip install"):
            loaded(path)


def test_string_views_are_text(tmp_path):
    """As polars writes them."""
    table = pa.table({"text": pa.array(["a", "b"], pa.string_view())})
    pq.write_table(table, tmp_path / "x.parquet")
    assert loaded(tmp_path / "x.parquet") == ["a", "b"]


@pytest.mark.parametrize("root", ["/data", "hf://datasets/owner/name@0123", "https://host"])
def test_files_are_called_by_what_differs(root):
    assert _names([f"{root}/a/x.parquet", f"{root}/b/x.parquet"]) == [
        "a/x.parquet",
        "b/x.parquet",
    ]
    assert _names([f"{root}/a/x.parquet", f"{root}/x.parquet"]) == ["a/x.parquet", "x.parquet"]
    assert _names([f"{root}/a/x.parquet"]) == ["x.parquet"]


def test_files_of_another_format_are_not_left_out_in_silence(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    lines(data / "a.jsonl", [{"text": "a"}])
    lines(data / "b.jsonl", [{"text": "b"}])
    (data / "c.txt").write_text("c")
    with pytest.warns(UserWarning, match=r"files that are not json are left out \(1 \.txt\)"):
        assert loaded(data) == ["a", "b"]
    assert loaded(data, files=["*.jsonl"]) == ["a", "b"]
    assert loaded(data, files=["*.txt"]) == ["c"]
