"""Arrays in files that no run wrote: read as they are, lazily, with labels."""

from __future__ import annotations

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actx_core.errors import StoreError
from actx_core.foreign import open_file

X = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
PICKS = [slice(None), slice(3, 40, 5), [4, 4, 0, 49], np.arange(50) % 7 == 0, 8]


def lists(width=6):
    return pa.FixedSizeListArray.from_arrays(pa.array(X[:, :width].ravel()), width)


def npy(path):
    np.save(path, X)


def npz(path):
    np.savez(path, a=X, words=np.array(["x"] * 50))


def npz_small(path):
    np.savez_compressed(path, a=X)


def hdf5(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("g/a", data=X, chunks=(7, 3), compression="gzip")
        file["words"] = ["x"] * 50


def parquet(path):
    pq.write_table(pa.table({"a": lists(), "word": ["x"] * 50}), path, row_group_size=7)


def parquet_columns(path):
    columns = {f"d{i}": X[:, i] for i in range(6)}
    pq.write_table(pa.table({**columns, "word": ["x"] * 50}), path, row_group_size=7)


def parquet_ragged_type(path):
    pq.write_table(pa.table({"a": pa.array(X.tolist(), pa.list_(pa.float32()))}), path)


WRITERS = {
    "x.npy": (npy, "x"),
    "x.npz": (npz, "a"),
    "y.npz": (npz_small, "a"),
    "x.h5": (hdf5, "g/a"),
    "x.parquet": (parquet, "a"),
    "columns.parquet": (parquet_columns, "columns"),
    "lists.parquet": (parquet_ragged_type, "a"),
}


@pytest.mark.parametrize("file", WRITERS)
def test_a_file_is_read_as_it_is(tmp_path, file):
    write, name = WRITERS[file]
    write(tmp_path / file)
    found = open_file(tmp_path / file)
    assert list(found) == [name]
    one = found[name]
    assert (one.array.shape, one.array.dtype, one.axes) == ((50, 6), X.dtype, ("row", "channel"))
    for rows in PICKS:
        assert np.array_equal(one.array[rows], X[rows])
    assert one.rows["sample"].to_pylist() == [f"{i:08}" for i in range(50)]
    assert one.digest == open_file(tmp_path / file)[name].digest
    assert open_file(tmp_path / file, name)[name].digest == one.digest


def test_what_rows_are_called_is_kept(tmp_path):
    table = pa.table({"sample": [f"s{i}" for i in range(50)], "word": ["x"] * 50, "a": lists()})
    pq.write_table(table, tmp_path / "x.parquet")
    one = open_file(tmp_path / "x.parquet")["a"]
    assert one.rows.column_names == ["sample", "word"]
    [shown] = one.preview([3])
    assert (shown.kind, shown.data, shown.caption) == ("text", "x", "s3")


def test_one_array_or_a_group(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/one"] = file["a/two"] = file["ab"] = X
    assert list(open_file(tmp_path / "x.h5")) == ["a/one", "a/two", "ab"]
    assert list(open_file(tmp_path / "x.h5", "a")) == ["a/one", "a/two"]
    with pytest.raises(StoreError, match="there is no array 'b'") as caught:
        open_file(tmp_path / "x.h5", "b")
    assert "a/one, a/two, ab" in caught.value.hint


def test_axes_that_a_file_names(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a"] = np.zeros((2, 3, 4))
        file["b"] = np.zeros((2, 3, 4))
        file["b"].attrs["axes"] = ["row", "token", "channel"]
    found = open_file(tmp_path / "x.h5")
    assert found["a"].axes == ("row", "axis1", "axis2")
    assert found["b"].axes == ("row", "token", "channel")


@pytest.fixture
def labelled(tmp_path):
    np.save(tmp_path / "x.npy", X[:3])

    def labelled(text):
        (tmp_path / "l.csv").write_text(text)
        return open_file(tmp_path / "x.npy", labels=tmp_path / "l.csv")["x"].rows.to_pydict()

    return labelled


def test_labels_line_by_line_or_by_sample(labelled):
    assert labelled("word,n\na,1\nb,2\nc,3\n") == {
        "sample": ["00000000", "00000001", "00000002"],
        "word": ["a", "b", "c"],
        "n": [1, 2, 3],
    }
    found = labelled("sample,word\n00000002,c\n00000000,a\n")
    assert found["word"] == ["a", None, "c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word\na\nb\n", "or a line for each of the 3 rows of x; found 2 lines"),
        ("sample,word\n7,a\n", "no line fits any row"),
        ("sample,word\n00000000,a\n00000000,b\n", "two lines have sample"),
    ],
)
def test_labels_that_do_not_fit(labelled, text, message):
    with pytest.raises(StoreError, match=message):
        labelled(text)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("x.npy", b"\x93NUMPY\x01\x00v", "expected an array of numbers"),
        ("x.npz", b"PK nothing", "expected arrays in a zip archive"),
        ("x.parquet", b"PAR1 nothing", "expected Parquet"),
        ("x.toml", b"a = 1", "neither a run nor a file that can be read"),
    ],
)
def test_damaged_and_unknown_files(tmp_path, file, content, message):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(StoreError, match=message) as caught:
        open_file(tmp_path / file)
    assert file in caught.value.where
    with pytest.raises(StoreError, match="there is no such file"):
        open_file(tmp_path / "nothing.npy")


def test_code_in_a_file_is_not_run(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(StoreError, match="expected an array of numbers"):
        open_file(tmp_path / "x.npy")


def test_lists_of_different_lengths(tmp_path):
    table = pa.table({"a": pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(StoreError, match="column a: expected lists of one length"):
        open_file(tmp_path / "x.parquet")
