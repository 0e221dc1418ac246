"""The format ``neurox``, read by plain h5py and json in NeuroX' way."""

from __future__ import annotations

import json
from itertools import pairwise

import h5py
import numpy as np
import pytest

from actx_core import Config, StoreError
from actx_hf.formats.neurox import NeuroX

NAMES = [f"blocks.{i}.resid_post" for i in range(3)]


@pytest.fixture
def format_():
    return NeuroX(Config())


@pytest.fixture
def run(fake_run, fake_array, values):
    return fake_run(*(fake_array(f"c/m/{n}", values(seed=i)) for i, n in enumerate(NAMES)))


def _sentences(run, counts):
    """(words, layers x words x channels) of each document."""
    bounds = np.cumsum([0, *counts.values()])
    words = run["c/m/" + NAMES[0]].rows["token_text"].to_pylist()
    stacked = np.stack([run[name].array for name in run.arrays])
    return [(words[a:b], stacked[:, a:b]) for a, b in pairwise(bounds)]


def test_hdf5_holds_a_dataset_per_sentence(format_, run, counts, tmp_path):
    assert format_.write(run, tmp_path / "acts.hdf5") == [tmp_path / "acts.hdf5"]
    with h5py.File(tmp_path / "acts.hdf5") as file:
        index = json.loads(file["sentence_to_index"][0])
        assert sorted(file) == ["0", "1", "2", "3", "4", "sentence_to_index"]
        assert list(index.values()) == ["0", "1", "2", "3", "4"]
        for (text, number), (words, expected) in zip(
            index.items(), _sentences(run, counts), strict=True
        ):
            assert text == " ".join(words)
            assert file[number].dtype == np.float32
            assert np.array_equal(file[number][:], expected)


def test_sentences_that_are_alike_are_numbered(format_, fake_run, fake_array, values, tmp_path):
    array = fake_array("c/m/blocks.0.resid_post", values())
    rows = array.rows
    place = rows.column_names.index("token_text")
    array.rows = rows.set_column(place, "token_text", [["same"] * len(rows)])
    format_.write(fake_run(array), tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5") as file:
        texts = list(json.loads(file["sentence_to_index"][0]))
    assert len(texts) == 5
    format_.write(fake_run(_of_equal_sentences(array)), tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5") as file:
        texts = list(json.loads(file["sentence_to_index"][0]))
    assert texts[:3] == ["same", "", "same (Occurrence 2)"]


def _of_equal_sentences(array):
    """One word in each sentence that has any."""
    first = np.flatnonzero(array.rows["token"].to_numpy() == 0)
    array.rows, array.array = array.rows.take(first), array.array[first]
    array.shape = array.array.shape
    return array


def test_rows_of_words_are_words(format_, fake_run, fake_array, values, tmp_path):
    rows = fake_array("c/m/t", values()).rows.rename_columns(
        {"token": "word", "token_text": "word_text"}
    )
    array = fake_array("c/m/blocks.0.resid_post", values(), rows, kind="word")
    format_.write(fake_run(array), tmp_path / "words.hdf5")
    with h5py.File(tmp_path / "words.hdf5") as file:
        texts = list(json.loads(file["sentence_to_index"][0]))
        assert np.array_equal(file["0"][0], array.array[:3])
    assert texts[0] == "w0 w1 w2"


def test_json_lines_hold_the_same_numbers(format_, run, counts, tmp_path):
    format_.write(run, tmp_path / "acts.json")
    lines = [json.loads(line) for line in (tmp_path / "acts.json").read_text().splitlines()]
    assert [line["linex_index"] for line in lines] == [0, 1, 2, 3, 4]
    for line, (words, expected) in zip(lines, _sentences(run, counts), strict=True):
        assert [f["token"] for f in line["features"]] == words
        for place, feature in enumerate(line["features"]):
            assert [layer["index"] for layer in feature["layers"]] == [0, 1, 2]
            found = np.array([layer["values"] for layer in feature["layers"]], np.float32)
            assert np.array_equal(found, expected[:, place])


def test_what_it_writes_it_reads_back_by_word(format_, run, tmp_path):
    file = tmp_path / "acts.hdf5"
    format_.write(run, file)
    assert format_.knows(file)
    found = format_.read(file)
    assert [one.name for one in found] == ["layer_0", "layer_1", "layer_2"]
    for one, name in zip(found, run.arrays, strict=True):
        x = run[name].array
        for rows in (slice(None), slice(2, 9), [12, 0, 7, 7], 5, slice(0, 0)):
            assert np.array_equal(one.array[rows], x[rows])
        assert one.rows["word_text"].to_pylist() == run[name].rows["token_text"].to_pylist()
    assert len({one.digest for one in found}) == 3
    assert format_.check(file) == []


def test_the_same_run_gives_the_same_bytes(format_, run, tmp_path):
    one, two = (format_.write(run, tmp_path / name)[0] for name in ("a.hdf5", "b.hdf5"))
    assert one.read_bytes() == two.read_bytes()


def test_layers_must_be_alike(format_, fake_run, fake_array, values, tmp_path):
    one = fake_array("c/m/blocks.0.resid_post", values())
    wide = fake_array("c/m/blocks.0.mlp.post", values(channels=9))
    other = fake_array("c/n/blocks.0.resid_post", values())
    flat = fake_array("c/m/blocks.1.resid_post", values(5), kind="sample")
    for arrays, words in (
        ((one, wide), "layers must be alike.*mlp.post: 9 channels"),
        ((one, other), "the run has c/m, c/n"),
        ((one, flat), "per sample"),
    ):
        with pytest.raises(StoreError, match=words):
            format_.write(fake_run(*arrays), tmp_path / "x.hdf5")
    with pytest.raises(StoreError, match="ends in .hdf5 or .json, found 'x.h5'"):
        format_.write(fake_run(one), tmp_path / "x.h5")
    one.rows = one.rows.drop_columns(["token_text"])
    with pytest.raises(StoreError, match="expected rows of tokens or words"):
        format_.write(fake_run(one), tmp_path / "x.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_named(format_, tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["0"] = np.zeros((1, 2, 3), np.float32)
        file["sentence_to_index"] = np.array([b'{"a b": "0", "c": "1"}'], h5py.string_dtype())
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["0"] = np.full((1, 2, 3), np.nan, np.float32)
        file["1"] = np.zeros((2, 2, 3), np.float32)
        file["sentence_to_index"] = np.array([b'{"a b": "0", "c": "1"}'], h5py.string_dtype())
    with pytest.raises(StoreError, match="expected a file of NeuroX"):
        format_.read(tmp_path / "a.hdf5")
    with pytest.raises(StoreError, match="expected sentences of"):
        format_.read(tmp_path / "b.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "a") as file:
        del file["1"]
        file["1"] = np.zeros((1, 0, 3), np.float32)
    (line,) = format_.check(tmp_path / "b.hdf5")
    assert line == "layer_0: 2 rows hold NaN or infinity, the first is row 0"
    (tmp_path / "c.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert not format_.knows(tmp_path / "c.hdf5")
