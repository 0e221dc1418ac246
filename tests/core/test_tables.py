"""Row tables: Parquet, joins, CSV and digests."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actx_core.errors import StoreError
from actx_core.tables import join_tables, read_table, table_digest, to_table, write_csv, write_table

COLUMNS = {
    "sample": ["a", "b", None, 'tricky "é",\n', ""],
    "position": np.arange(5, dtype=np.int32),
    "score": [1.5, None, float("nan"), float("-inf"), -0.0],
    "half": np.linspace(0, 1, 5).astype(np.float16),
    "special": [True, None, False, True, True],
    "flag": np.array([True, False, True, False, True]),
    "label": np.array(["x", "yy", "", "é", "x"]),
    "nothing": [None] * 5,
}


def write(path, columns):
    write_table(path, columns)
    return path


def test_what_is_written_is_read(tmp_path):
    table = read_table(write(tmp_path / "t.parquet", COLUMNS))
    assert table.column_names == list(COLUMNS)
    for name, values in COLUMNS.items():
        expected = values.tolist() if isinstance(values, np.ndarray) else values
        assert repr(table[name].to_pylist()) == repr(expected)
    assert table["position"].type == pa.int32()
    assert table["half"].type == pa.float16()
    assert table["flag"].type == pa.bool_()


def test_plain_pyarrow_reads_it(tmp_path):
    file = pq.ParquetFile(write(tmp_path / "t.parquet", COLUMNS))
    assert file.num_row_groups == 1
    assert repr(file.read().to_pydict()) == repr(to_table(COLUMNS).to_pydict())


def test_the_same_columns_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    columns = COLUMNS | {"label": [f"class {i}" for i in rng.integers(0, 9, 5)]}
    one = write(tmp_path / "1", columns).read_bytes()
    assert one == write(tmp_path / "2", dict(columns)).read_bytes()


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": np.empty(0, np.int64), "b": []}])
def test_no_rows(tmp_path, columns):
    path = write(tmp_path / "t.parquet", columns)
    assert read_table(path).num_rows == 0
    assert read_table(path).column_names == list(columns)
    join_tables([path, path], tmp_path / "j.parquet")
    assert read_table(tmp_path / "j.parquet").equals(read_table(path))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"fine": [1], "bad": [[1, 2]]}, r"'bad'.*found list"),
        ({"bad": [1, "a"]}, "'bad'"),
        ({"bad": [2**70]}, "'bad'"),
        ({"bad": [object()]}, "'bad'"),
        ({"bad": [b"bytes"]}, r"'bad'.*found binary"),
        ({"bad": np.zeros((2, 2))}, "'bad'"),
        ({"a": [1, 2], "b": [1]}, r"equal length.*'a': 2, 'b': 1"),
    ],
)
def test_a_bad_column_is_named(tmp_path, columns, why):
    with pytest.raises(StoreError, match=why):
        write_table(tmp_path / "t.parquet", columns)


@pytest.mark.parametrize("cut", [0, 3, 100, -9, -1])
def test_damaged_files_are_named(tmp_path, cut):
    path = write(tmp_path / "t.parquet", COLUMNS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(StoreError, match="damaged file of") as caught:
        read_table(path)
    assert caught.value.where == str(path)
    with pytest.raises(StoreError, match="damaged file of"):
        join_tables([path], tmp_path / "j.parquet")


def test_a_flipped_page_is_an_error(tmp_path):
    path = write(tmp_path / "t.parquet", {"a": np.random.default_rng(0).standard_normal(5000)})
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        read_table(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"gone\.parquet: the file is missing"):
        read_table(tmp_path / "gone.parquet")


@pytest.fixture
def parts(tmp_path):
    tables = [
        {"sample": ["a", "b"], "x": [1, 2], "y": [None, None]},
        {"sample": [], "x": [], "z": []},
        {"sample": ["c"], "x": [2.5], "y": ["text"], "z": [True]},
        {"x": [7, None], "sample": ["d", "e"], "z": [None, False]},
    ]
    return [write(tmp_path / f"{i}.parquet", columns) for i, columns in enumerate(tables)]


def test_join_unifies_columns(tmp_path, parts):
    path = tmp_path / "joined.parquet"
    join_tables(parts, path)
    assert read_table(path).to_pydict() == {
        "sample": ["a", "b", "c", "d", "e"],
        "x": [1.0, 2.0, 2.5, 7.0, None],
        "y": [None, None, "text", None, None],
        "z": [None, None, True, None, False],
    }
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 1, 2]


@pytest.mark.parametrize("first", [1, 2, 3])
def test_join_in_steps_gives_the_same_bytes(tmp_path, parts, first):
    once, some, steps = (tmp_path / name for name in ("once", "some", "steps"))
    join_tables(parts, once)
    join_tables(parts[:first], some)
    join_tables([some, *parts[first:]], steps)
    assert steps.read_bytes() == once.read_bytes()


def test_join_does_not_change_numbers_in_silence(tmp_path):
    big = write(tmp_path / "big", {"x": [2**53 + 1]})
    real = write(tmp_path / "real", {"x": [0.5]})
    with pytest.raises(StoreError, match="column 'x'.*") as caught:
        join_tables([real, big], tmp_path / "j")
    assert caught.value.where == str(big)


def test_join_refuses_types_that_do_not_go_together(tmp_path):
    number, text = write(tmp_path / "n", {"x": [1]}), write(tmp_path / "t", {"x": ["1"]})
    with pytest.raises(StoreError, match="x has incompatible types") as caught:
        join_tables([number, text], tmp_path / "j")
    assert caught.value.where == str(text)


def test_joining_nothing(tmp_path):
    join_tables([], tmp_path / "j")
    assert read_table(tmp_path / "j").shape == (0, 0)


def test_csv_is_read_by_pythons_reader(tmp_path):
    write_csv(tmp_path / "t.csv", to_table(COLUMNS))
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    assert header == list(COLUMNS)
    assert [line[0] for line in lines] == ["a", "b", "", 'tricky "é",\n', ""]
    assert [line[1] for line in lines] == ["0", "1", "2", "3", "4"]
    assert [line[4] for line in lines] == ["true", "", "false", "true", "true"]
    assert float(lines[0][2]) == 1.5


def test_the_digest_does_not_depend_on_encoding_or_chunks(tmp_path):
    digest = table_digest(COLUMNS)
    table = read_table(write(tmp_path / "t.parquet", COLUMNS))
    assert table_digest(table) == digest
    assert table_digest(pa.concat_tables([table[:2], table[2:4], table[4:]])) == digest
    labels = table["label"].dictionary_encode()
    other = table.set_column(6, "label", labels).set_column(
        0, "sample", table["sample"].cast(pa.large_string())
    )
    assert table_digest(other) == digest
    pq.write_table(table, tmp_path / "other.parquet", compression="none", use_dictionary=False)
    assert table_digest(read_table(tmp_path / "other.parquet")) == digest
    assert table_digest(table[1:3]) == table_digest({n: v[1:3] for n, v in COLUMNS.items()})


def test_the_digest_sees_every_change():
    base = {"a": ["x", "yz"], "b": [1, 2], "c": [0.0, None]}
    changed = [
        {"a": ["xy", "z"]},
        {"a": ["x", None]},
        {"a": ["x", ""]},
        {"b": [1, 3]},
        {"b": [1.0, 2.0]},
        {"b": np.array([1, 2], np.int32)},
        {"b": [True, False]},
        {"c": [0.0, 0.0]},
        {"c": [-0.0, None]},
        {"c": [None, None]},
    ]
    digests = [table_digest(base | change) for change in [{}, *changed]]
    digests.append(table_digest({"A": base["a"], "b": base["b"], "c": base["c"]}))
    digests.append(table_digest({"b": base["b"], "a": base["a"], "c": base["c"]}))
    digests.append(table_digest({n: v[:1] for n, v in base.items()}))
    assert len(set(digests)) == len(changed) + 4
