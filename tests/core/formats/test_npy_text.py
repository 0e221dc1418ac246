"""The formats npy and text, read by numpy, csv and pyarrow."""

from __future__ import annotations

import csv
import io
import json
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from actx_core.contracts import Config
from actx_core.formats.config import TextConfig
from actx_core.formats.npy import NpyFolder
from actx_core.formats.text import Text, lines


def test_npy(run, tmp_path):
    files = NpyFolder(Config()).write(run, tmp_path / "new")
    assert sorted(files) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    index = json.loads((tmp_path / "new/index.json").read_text())
    assert list(index) == sorted(run)
    for name, tap in run.items():
        about = index[name]
        array = np.load(tmp_path / "new" / about["file"], mmap_mode="r" if tap.array.size else None)
        assert array.dtype == tap.dtype == about["dtype"]
        assert array.shape == tap.shape == tuple(about["shape"])
        assert about["axes"] == list(tap.axes)
        np.testing.assert_array_equal(array, tap.array)
        rows = tmp_path / "new" / about["rows"]
        assert pq.read_table(rows.with_suffix(".parquet")).equals(tap.rows)
        with rows.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert [line["sample"] for line in lines] == tap.rows["sample"].to_pylist()
    assert index["photos/resnet50/V4.output:3"]["file"] == "photos/resnet50/V4.output%3a3~1.npy"
    assert index["photos/vit/part"]["rows"] != index["photos/vit/whole"]["rows"]


@pytest.mark.parametrize(
    ("delimiter", "suffix"), [(" ", ".txt"), (",", ".csv"), (";", ".csv"), ("\t", ".tsv")]
)
def test_text(run, tmp_path, delimiter, suffix):
    Text(TextConfig(delimiter=delimiter)).write(run, tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    for name, tap in run.items():
        path = tmp_path / index[name]["file"]
        assert path.suffix == suffix
        lines = path.read_text().splitlines()
        if tap.array.size:
            split = None if delimiter == " " else delimiter
            array = np.loadtxt(path, tap.dtype, delimiter=split, ndmin=2)
            np.testing.assert_array_equal(array, tap.array.reshape(len(tap), -1))
        if tap.array.ndim > 2:
            assert lines.pop(0) == f"# Array shape: {tap.shape}"
        assert len(lines) == 1 + len(tap)
        names = lines[0].removeprefix("# ").split(delimiter)
        assert len(names) == np.prod(tap.shape[1:])
        assert len(set(names)) == len(names)
    first = (tmp_path / index["photos/resnet50/layer1.0.conv1"]["file"]).read_text().splitlines()
    assert first[1].split(delimiter)[-1] == "a1_b2_c4"


def test_text_is_exact_for_any_number(tmp_path, fake_run, fake_array):
    bits = np.random.default_rng(0).integers(0, 2**32, (500, 40), np.uint32)
    special = [np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, 3.4e38, 1 / 3, 2**24 + 2, 1e10]
    numbers = np.vstack([bits.view(np.float32), np.tile(np.float32(special), 4)])
    with np.errstate(over="ignore"):
        halves = numbers.astype(np.float16)
    for array in (numbers, halves, bits.view(np.float64), bits.view(np.int64)):
        run = fake_run(fake_array("s/m/t", array, ["x"] * len(array), step=7))
        Text(TextConfig()).write(run, tmp_path)
        found = np.loadtxt(tmp_path / "s/m/t.txt", array.dtype)
        np.testing.assert_array_equal(found, array)
        numbers_ = ~np.isnan(array)
        assert (np.signbit(found) == np.signbit(array))[numbers_].all()
    assert len((tmp_path / "s/m/t.txt").read_text().split("\n")[1].split(" ")) == 20


def test_text_is_written_faster_than_by_numpy():
    matrix = np.random.default_rng(0).standard_normal((400, 500)).astype(np.float32)
    lines(matrix, " ")  # imports

    def best(write) -> float:
        times = []
        for _ in range(3):
            began = time.process_time()
            write()
            times.append(time.process_time() - began)
        return min(times)

    numpy = best(lambda: np.savetxt(io.BytesIO(), matrix, fmt="%.9g"))
    assert best(lambda: lines(matrix, " ")) < numpy
