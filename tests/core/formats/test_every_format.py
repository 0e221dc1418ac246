"""What holds for every export format: the same bytes, all or nothing, bounded memory, a full disk."""

from __future__ import annotations

import json
import os
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from actx_core import Pipeline, open_run
from actx_core.errors import StoreError
from actx_core.registry import registry

pytest.importorskip("h5netcdf")

NAMES = ["hdf5", "npz", "npy", "parquet", "text", "matlab", "rsatoolbox", "netcdf"]
FOLDERS = ["npy", "parquet", "text", "rsatoolbox"]


def load(name):
    component = registry().find("format", f"core/{name}")
    return registry().load(component)(registry().load_config(component)())


def content(path):
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def format_(name):
    return load(name)


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    for name in NAMES:
        one = tmp_path / name
        files = load(name).write(run, one)
        assert sorted(files) == sorted(one / file if file != "." else one for file in content(one))
    time.sleep(1.1)  # a time stamp would have changed
    for name in NAMES:
        load(name).write(run, tmp_path / "two" / name)
        assert content(tmp_path / name) == content(tmp_path / "two" / name)
        load(name).write(run, tmp_path / name)  # over what is there
        assert content(tmp_path / name) == content(tmp_path / "two" / name)


def test_a_run_without_arrays(tmp_path, format_, fake_run):
    assert all(path.exists() for path in format_.write(fake_run(), tmp_path / "run"))


def test_an_error_leaves_what_was_there(run, tmp_path, format_, fake_array, values):
    class Torn(fake_array):
        def __getitem__(self, rows):
            raise RuntimeError("torn")

        def blocks(self, size=0):
            yield slice(0, 1), self.array[:1]
            self[1:]

    path = tmp_path / "run"
    format_.write(run, path)
    old = content(path)
    for tap in run.values():
        tap.array = tap.array * 0
    run["photos/vit/part"] = Torn("photos/vit/part", values(3), ["x", "y", "z"])
    with pytest.raises(RuntimeError, match="torn"):
        format_.write(run, path)
    assert content(path) == old
    assert os.listdir(tmp_path) == ["run"]


def test_more_than_the_disk_takes(tmp_path, format_, fake_run, fake_array, values):
    resource = pytest.importorskip("resource")
    run = fake_run(fake_array("a/b/c", values(4000, 300), ["x"] * 4000, step=100))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(StoreError, match="the same command resumes"):
            format_.write(run, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_memory_is_bounded(tmp_path, name, format_, fake_run, fake_array):
    rows = 300 if name == "text" else 3000
    big = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (rows, 10_000), (0, 0))
    array = fake_array("a/b/c", big, ["x"] * rows, step=20)
    tracemalloc.start()
    files = format_.write(fake_run(array), tmp_path / "run")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(file.stat().st_size for file in files) > 2 * 10_000 * rows
    assert peak < 14e6


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_where_a_folder_should_be(run, tmp_path, name):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(StoreError, match="expected a folder, found a file"):
        load(name).write(run, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("name", FOLDERS)
def test_other_files_in_the_folder_stay(run, tmp_path, name):
    (tmp_path / "notes.txt").write_text("mine")
    load(name).write(run, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_real_run(tmp_path, monkeypatch):
    """bfloat16, several shards, a joined table; every format through ``[[export]]``."""
    net = "Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(64, 5))"
    (tmp_path / "small_net.py").write_text(f"import torch\n\ndef net():\n return torch.nn.{net}\n")
    monkeypatch.syspath_prepend(tmp_path)
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((10, 3, 6, 6), np.float32))
    ids = [f"{i:08d}" for i in range(10)]
    (tmp_path / "join.csv").write_text("\n".join(["sample,kind", *(f"{i},k" for i in ids[:9])]))
    model = {"type": "module", "as": "net", "callable": "small_net:net", "trust": True}
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "shard_size": 4, "device": "cpu"},
        "source": {"type": "arrays", "path": str(tmp_path / "x.npy")},
        "model": {
            **model,
            "input_shape": [3, 6, 6],
            "taps": ["0"],
            "tap": [{"match": ["2"], "store_dtype": "bfloat16"}],
        },
        "store": {"join": False},
        "join": [{"path": str(tmp_path / "join.csv")}],
        "export": [{"format": name, "path": str(tmp_path / f"out.{name}")} for name in NAMES],
    }
    list(Pipeline.from_dict(spec).run())
    run = open_run(tmp_path / "run")
    conv, linear = run["x/net/0"].numpy(), run["x/net/2"].numpy()
    assert (conv.shape, linear.shape, linear.dtype) == ((10, 4, 4, 4), (10, 5), np.float32)
    index = json.loads((tmp_path / "out.npy/index.json").read_text())
    assert index["x/net/0"]["axes"] == ["row", "channel", "y", "x"]
    for name, array in (("0", conv), ("2", linear)):
        np.testing.assert_array_equal(np.load(tmp_path / f"out.npy/x/net/{name}.npy"), array)
        text = np.loadtxt(tmp_path / f"out.text/x/net/{name}.txt", np.float32)
        np.testing.assert_array_equal(text, array.reshape(10, -1))
        np.testing.assert_array_equal(np.load(tmp_path / "out.npz")[f"x/net/{name}"], array)
        for file, dataset in (
            ("out.hdf5", f"x/net/{name}"),
            ("out.netcdf", f"x/net/{name}/activations"),
            ("out.matlab", f"x_net_{name}"),
            (f"out.rsatoolbox/x/net/{name}.h5", "measurements"),
        ):
            with h5py.File(tmp_path / file) as opened:
                found = opened[dataset][...]
            found = found.T if file == "out.matlab" else found
            np.testing.assert_array_equal(found.reshape(array.shape), array)
    rows = (tmp_path / "out.npy/x/net/rows.sample.csv").read_text().splitlines()
    assert rows[0] == '"sample","replicate","kind"'
    assert (rows[9], rows[10]) == ('"00000008",0,"k"', '"00000009",0,')


def test_an_array_is_never_left_in_two_files_of_a_folder(run, tmp_path):
    load("npy").write(run, tmp_path)
    before = content(tmp_path)
    with pytest.raises(StoreError, match="is here already  hint: remove the earlier") as caught:
        load("text").write(run, tmp_path)
    assert caught.value.where in {str(tmp_path / name) for name in before if name[-4:] == ".npy"}
    assert content(tmp_path) == before
    for file in before:
        if file.endswith(".npy"):
            (tmp_path / file).unlink()
    load("text").write(run, tmp_path)
    assert len(list(tmp_path.rglob("*.txt"))) == len(run)


@pytest.mark.parametrize("text", ["[1, 2]", '{"photos/resnet50/layer1.0.conv1": 3}', "{"])
def test_an_index_of_somebody_else_stays(run, tmp_path, text):
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(StoreError, match=r"index\.json: expected "):
        load("npy").write(run, tmp_path)
    assert os.listdir(tmp_path) == ["index.json"]
    assert (tmp_path / "index.json").read_text() == text
