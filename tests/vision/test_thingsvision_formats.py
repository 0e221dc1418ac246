"""The formats thingsvision and activations on a real run over folders of images, read by numpy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pydantic import ValidationError

from actx_core import Config, Pipeline, StoreError, open_run
from actx_vision import merge_activations, slices2tensor, split_activations
from actx_vision.formats.activations_config import ActivationsConfig
from actx_vision.formats.activations_format import Activations
from actx_vision.formats.thingsvision import ThingsVision

NET = """
import torch

def net():
    torch.manual_seed(0)
    parts = torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 5)
    return torch.nn.Sequential(*parts)
"""
FILES = ["cat/1.png", "cat/2.png", "cat/10.png", "dog/a.png", "ünï/b.png"]
TARGETS = [0, 0, 0, 1, 2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Five images of three classes, two replicates each, two taps; the second is bfloat16."""
    root = tmp_path_factory.mktemp("vision")
    rng = np.random.default_rng(0)
    for name in FILES:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
    (root / "thingsvision_net.py").write_text(NET)
    model = {"type": "module", "as": "my net:1", "callable": "thingsvision_net:net", "trust": True}
    jitter = {"replicates": 2, "jitter": {"translate": 0.2}}
    normal = {"resize": 8, "crop": 8, "mean": [0.5] * 3, "std": [0.2] * 3}
    spec = {
        "actx": 1,
        "run": {"out": str(root / "run"), "shard_size": 4, "batch_size": 2, "device": "cpu"},
        "source": {"type": "image-folder", "path": str(root / "images"), **jitter},
        "model": {
            **model,
            "preprocess": normal,
            "taps": ["0"],
            "tap": [{"match": ["2"], "store_dtype": "bfloat16"}],
        },
        "export": [
            {"format": "thingsvision", "path": str(root / "tv")},
            {"format": "activations", "path": str(root / "acts"), "file_format": ".txt"},
        ],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root)
        list(Pipeline.from_dict(spec).run())
    return open_run(root / "run")


def each(run):
    for tap in ("0", "2"):
        yield tap, run[f"images/my net:1/{tap}"].numpy(), f"images/my net%3A1/{tap}"


def lines(path):
    return path.read_text("utf-8").splitlines()


def test_thingsvision(run):
    root = run.path.parent / "tv"
    for _, array, folder in each(run):
        assert array.shape[0] == 10  # a row per replicate: nothing is averaged
        found = np.load(root / folder / "features.npy")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array)
        assert lines(root / folder / "file_names.txt") == [f for f in FILES for _ in range(2)]
        targets = np.load(root / folder / "targets.npy")
        np.testing.assert_array_equal(targets, np.repeat(TARGETS, 2))
    assert sum(path.is_file() for path in root.rglob("*")) == 6


def test_activations_as_text(run):
    root = run.path.parent / "acts"
    for tap, array, folder in each(run):
        found = slices2tensor(root / folder, "activations.txt")
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
        assert ("# New slice" in lines(root / folder / "activations.txt")) == (tap == "0")
        np.testing.assert_array_equal(
            np.loadtxt(root / folder / "targets.txt"), np.repeat(TARGETS, 2)
        )


@pytest.mark.parametrize("kind", ["npy", "txt"])
@pytest.mark.parametrize("flatten", [True, False])
def test_activations(run, tmp_path, kind, flatten):
    files = Activations(ActivationsConfig(file_format=kind, flatten=flatten)).write(run, tmp_path)
    assert sorted(files) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for _, array, folder in each(run):
        wanted = array.reshape(10, -1) if flatten else array
        if kind == "npy":
            found = np.load(tmp_path / folder / "activations.npy")
        else:
            found = np.loadtxt(tmp_path / folder / "activations.txt").astype(np.float32)
            found = found.reshape(wanted.shape)
            assert lines(tmp_path / folder / "activations.txt")[0].endswith(f"{wanted.shape}")
        np.testing.assert_array_equal(found, wanted)


def test_one_array_lies_in_the_folder_itself_and_can_be_split(run, tmp_path):
    name = "images/my net:1/0"
    only = Only({name: run[name]})
    for kind in ("npy", "txt"):
        folder = tmp_path / kind
        Activations(ActivationsConfig(file_format=kind)).write(only, folder)
        names = {f"activations.{kind}", f"targets.{kind}", "file_names.txt"}
        assert {path.name for path in folder.iterdir()} == names
        split_activations(folder, n_splits=3)
        np.testing.assert_array_equal(merge_activations(folder), run[name].numpy())


class Only(dict):
    """What a format uses of a run."""

    @property
    def arrays(self):
        return list(self)


class Array:
    """What a format uses of an array; 3 rows of 2 numbers."""

    def __init__(self, tap="t", **columns):
        self.name, self.axes, self.array = f"s/m/{tap}", ("row", "channel"), np.eye(3, 2)
        self.shape, self.dtype = self.array.shape, self.array.dtype
        self.spec = type("Spec", (), {"source": "s", "model": "m", "tap": tap})
        self.rows = pa.table({"sample": ["x", "y", "z"], **columns})

    def __len__(self):
        return 3

    def blocks(self, size=0):
        yield slice(0, 2), self.array[:2]
        yield slice(2, 3), self.array[2:]


@pytest.fixture(params=["thingsvision", "activations"])
def format_(request):
    if request.param == "thingsvision":
        return ThingsVision(Config())
    return Activations(ActivationsConfig())


def test_targets_of_the_source_come_before_labels(tmp_path, format_):
    array = Array(target=[7, 1853, 0], label=["b", "c", "a"])
    format_.write(Only(one=array, two=Array("u")), tmp_path)
    folder = tmp_path / "s/m/t"
    assert np.load(folder / "targets.npy").tolist() == [7, 1853, 0]
    assert not (folder / "classes.txt").exists()
    assert lines(folder / "file_names.txt") == ["x", "y", "z"]  # samples that are no files
    assert not (tmp_path / "s/m/u/targets.npy").exists()


def test_labels_are_numbered_in_alphabetical_order(tmp_path, format_):
    format_.write(Only(one=Array(label=["ünï", "cat", "ünï"]), two=Array("u")), tmp_path)
    assert np.load(tmp_path / "s/m/t/targets.npy").tolist() == [1, 0, 1]
    assert lines(tmp_path / "s/m/t/classes.txt") == ["cat", "ünï"]


def test_an_error_leaves_what_was_there(tmp_path, format_):
    format_.write(Only(one=Array(label=["b", "c", "a"]), two=Array("u")), tmp_path)
    old = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for columns, message in (
        ({"label": ["b", None, "a"]}, "expected a label for each row, found 1 rows without"),
        ({"path": ["b", "c\nd", "a"]}, r"expected names of one line, found 'c\\nd'"),
    ):
        with pytest.raises(StoreError, match=message):
            format_.write(Only(two=Array("u", target=[1, 2, 3]), one=Array(**columns)), tmp_path)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == old


def test_a_file_where_the_folder_should_be(tmp_path, format_):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StoreError, match="expected a folder, found a file"):
        format_.write(Only(one=Array()), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_options():
    assert ActivationsConfig(file_format=".txt").file_format == "txt"
    assert ActivationsConfig().model_dump() == {"file_format": "npy", "flatten": False}
    for bad in ("mat", 3, "..npy"):
        with pytest.raises(ValidationError):
            ActivationsConfig(file_format=bad)


def test_files_of_other_options_are_not_left_beside_those_of_an_export(tmp_path):
    labelled, bare = Array(label=["b", "c", "a"]), Array()
    other = "found a file of an earlier export, .*  hint: remove it, or write"

    def refused(run, file, **options):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
        with pytest.raises(StoreError, match=other) as caught:
            Activations(ActivationsConfig(**options)).write(run, tmp_path)
        assert caught.value.where == str(tmp_path / file)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before

    Activations(ActivationsConfig()).write(Only(one=labelled), tmp_path)
    refused(Only(one=labelled), "activations.npy", file_format="txt")
    refused(Only(one=bare), "targets.npy")  # they would be taken for those of the new rows
    refused(Only(one=Array(target=[1, 2, 3])), "classes.txt")
    refused(Only(one=labelled, two=Array("u")), "activations.npy")  # in a folder of its own now
    for path in tmp_path.glob("*.*"):
        path.unlink()
    Activations(ActivationsConfig()).write(Only(one=labelled, two=Array("u")), tmp_path)
    refused(Only(one=labelled), "s/m/t/activations.npy")
    Activations(ActivationsConfig(flatten=True)).write(Only(one=labelled, two=Array("u")), tmp_path)


def test_the_two_formats_share_a_folder(tmp_path):
    run = Only(one=Array(label=["b", "c", "a"]), two=Array("u"))
    for _ in range(2):
        ThingsVision(Config()).write(run, tmp_path)
        Activations(ActivationsConfig()).write(run, tmp_path)
    assert len(list((tmp_path / "s/m/t").iterdir())) == 5
