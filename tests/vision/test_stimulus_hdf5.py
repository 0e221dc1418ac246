"""The format stimulus-hdf5: against its run by plain h5py; on its own files and those of a plain script."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from actx_core import Pipeline, StoreError, open_run
from actx_core.registry import registry
from actx_vision import load_lazy_activations
from actx_vision.formats.stimulus_config import StimulusHdf5Config
from actx_vision.formats.stimulus_content import Content, Layer
from actx_vision.formats.stimulus_file import encode
from actx_vision.formats.stimulus_hdf5 import StimulusHdf5
from actx_vision.formats.stimulus_writer import add_models

TOY = Path(__file__).parents[1] / "end_to_end" / "toy"
IDS = ["cat/img1", "cat/img2", "cat/img10", "dög/50%", "dög/50%25", "dög/" + "ä" * 100]
LAYERS = {"features.0": "float32", "features.3.squeeze": "float16", "features.3": "bfloat16"}


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def model(name: str, taps: list[str] | None = None, **more: object) -> dict:
    """A small network with random weights, unpooled."""
    return {
        "type": "module",
        "as": name,
        "callable": "torchvision.models:squeezenet1_1",
        "trust": True,
        "preprocess": {"resize": 20, "crop": 20},
        **({"taps": taps} if taps else {}),
        **more,
    }


def extract(folder: Path, models: list[dict], sources: list[dict], **more: object) -> Path:
    spec = {
        "actx": 1,
        "run": {
            "out": str(folder / "run"),
            "device": "cpu",
            "batch_size": 5,
            **more.pop("run", {}),
        },
        "source": sources,
        "model": models,
        **more,
    }
    for _ in Pipeline.from_dict(spec).run():
        pass
    return folder / "run"


def images(path: Path, **more: object) -> dict:
    return {"type": "image-folder", "path": str(path), **more}


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """Pictures, and a finished run: two sources, two models, four replicates, three stored types."""
    desk = tmp_path_factory.mktemp("desk")
    for number, id in enumerate(IDS):
        picture(desk / "classes" / f"{id}.png", number)
    for number in range(3):
        picture(desk / "flat" / f"object_{number}.png", 50 + number)
    long = [{"match": [tap], "store_dtype": dtype} for tap, dtype in LAYERS.items()]
    jitter = {"replicates": 4, "jitter": {"saturation": 0.2}}
    extract(
        desk,
        [model("ResNet50", tap=long), model("V1 net", ["features.0"], seed=1)],
        [images(desk / "classes", **jitter), images(desk / "flat", **jitter)],
    )
    return desk


@pytest.fixture
def run(desk):
    return open_run(desk / "run")


def export(run, path, **options) -> list[Path]:
    return list(StimulusHdf5(StimulusHdf5Config(**options)).write(run, path))


def expected(run, source: str, model: str) -> dict[str, dict[str, np.ndarray]]:
    """{id: {layer: (replicates, features)}} by loops over the rows."""
    found: dict[str, dict[str, dict[int, np.ndarray]]] = {}
    for name in run.arrays:
        if name.startswith(f"{source}/{model}/"):
            array = run[name]
            rows = array.rows.to_pydict()
            for row, sample, replicate in zip(array.numpy(), rows["sample"], rows["replicate"]):
                layers = found.setdefault(sample, {}).setdefault(name.split("/", 2)[2], {})
                layers[replicate] = row.reshape(-1)
    return {
        sample: {name: np.stack([rows[r] for r in range(4)]) for name, rows in layers.items()}
        for sample, layers in found.items()
    }


def stored(group: h5py.Group) -> dict[str, dict[str, np.ndarray]]:
    return {unquote(s): {unquote(n): d[:] for n, d in group[s].items()} for s in group}


def same(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(
        one[s].keys() == two[s].keys()
        and all(one[s][n].dtype == two[s][n].dtype for n in one[s])
        and all(np.array_equal(one[s][n], two[s][n]) for n in one[s])
        for s in one
    )


def ann_pipe(
    path: Path, models: dict[str, list[str]], layers=("layer1", "layer2"), **options
) -> None:
    """A file as any script writes it."""
    rng = np.random.default_rng(3)
    with h5py.File(path, "w", **options) as file:
        for model, stimuli in models.items():
            for stimulus in stimuli:
                for layer in layers:
                    values = rng.standard_normal((4, 6)).astype(np.float32)
                    file.create_dataset(f"{model}/{stimulus}/{layer}", data=values)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class TestLayout:
    def test_a_file_per_source_holds_what_the_run_holds(self, run, tmp_path):
        files = export(run, tmp_path / "new" / "out")
        names = ["model_activations_classes.h5", "model_activations_flat.h5"]
        assert files == [tmp_path / "new" / "out" / name for name in names]
        assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == names
        for path, source in zip(files, ("classes", "flat")):
            with h5py.File(path) as file:
                assert sorted(file) == ["ResNet50", "V1 net"]
                for name in file:
                    assert same(stored(file[name]), expected(run, source, name))

    def test_types_are_as_stored_and_rows_are_flattened(self, run, tmp_path):
        path = export(run, tmp_path)[1]
        with h5py.File(path) as file:
            stimulus = file["ResNet50"]["object_1"]
            kinds = {name: stimulus[name].dtype.name for name in stimulus}
            assert kinds == {**LAYERS, "features.3": "float32"}
            assert stimulus["features.0"].shape == (4, 64 * 9 * 9)
            row = run["flat/ResNet50/features.0"].rows.to_pydict()
            at = [(s, r) for s, r in zip(row["sample"], row["replicate"])].index(("object_1", 2))
            whole = run["flat/ResNet50/features.0"][at]
            np.testing.assert_array_equal(stimulus["features.0"][2].reshape(whole.shape), whole)
            assert np.ptp(stimulus["features.0"][:], axis=0).max() > 0  # replicates differ

    def test_names_survive(self, run, tmp_path):
        path = export(run, tmp_path)[0]
        with h5py.File(path) as file:
            plain = list(file["ResNet50"])
        assert "cat%2Fimg1" in plain
        assert "dög%2F50%25" in plain
        assert "dög%2F50%2525" in plain
        with load_lazy_activations(path) as acts:
            assert set(acts["ResNet50"]) == set(IDS)
            for id, layers in expected(run, "classes", "ResNet50").items():
                for name, values in layers.items():
                    np.testing.assert_array_equal(acts["ResNet50"][id][name], values)

    def test_every_hdf5_opens_it(self, run, tmp_path):
        path = export(run, tmp_path)[1]
        assert path.read_bytes()[8] == 0  # superblock of the first version
        with h5py.File(path, libver=("earliest", "v110")) as file:
            dataset = file["ResNet50/object_0/features.0"]
            assert dataset.chunks is None
            assert dataset.compression is None

    def test_the_same_run_gives_the_same_bytes(self, run, desk, tmp_path):
        one, two = (export(run, tmp_path / name) for name in "ab")
        assert [digest(p) for p in one] == [digest(p) for p in two]

    def test_provenance(self, run, tmp_path):
        path = export(run, tmp_path)[1]
        with h5py.File(path) as file:
            assert file.attrs["actx"] == "0.1.0"
            about = dict(file["ResNet50"].attrs)
        cell = run.manifest["cells"]["flat/ResNet50"]
        assert about["actx"] == "0.1.0"
        assert len(about["run"]) == 64
        assert json.loads(about["source"]) == cell["request"]["source"]
        found = json.loads(about["model"])
        assert found["callable"] == "torchvision.models:squeezenet1_1"
        assert found["fingerprint"] == cell["model"]["fingerprint"]
        assert found["facts"]["parameters"] == 1235496
        assert found["preprocess"]["resize"] == 20
        assert json.loads(about["layers"])["features.0"] == {
            "axes": ["channel", "y", "x"],
            "shape": [64, 9, 9],
            "pool": [],
        }
        assert json.loads(about["left_out"]) == []
        assert about["replicates"].tolist() == [0, 1, 2, 3]

    def test_the_prefix(self, run, tmp_path):
        files = export(run, tmp_path, prefix="concrete_models")
        assert [p.name for p in files] == ["concrete_models_classes.h5", "concrete_models_flat.h5"]
        for wrong in ("", "a/b", "a\\b"):
            with pytest.raises(ValidationError, match="expected the beginning of a file name"):
                StimulusHdf5Config(prefix=wrong)

    def test_a_file_where_the_folder_should_be(self, run, tmp_path):
        (tmp_path / "out.h5").write_text("mine")
        with pytest.raises(StoreError, match="expected a folder, found a file"):
            export(run, tmp_path / "out.h5")
        assert (tmp_path / "out.h5").read_text() == "mine"

    def test_it_is_declared(self):
        component = registry().find("format", "stimulus-hdf5")
        assert registry().load(component) is StimulusHdf5
        assert registry().load_config(component) is StimulusHdf5Config


@given(
    st.lists(st.text(min_size=1, alphabet=st.characters(codec="utf-8")), min_size=2, unique=True)
)
def test_encoded_names_are_different_and_come_back(names):
    encoded = [encode(name) for name in names]
    assert len(set(encoded)) == len(names)
    assert not any("/" in e or "\0" in e or e == "." for e in encoded)
    assert [unquote(e) for e in encoded] == names


class TestHoles:
    @pytest.fixture
    def broken(self, tmp_path) -> Path:
        for number in range(5):
            picture(tmp_path / "st" / f"object_{number}.png", number)
        (tmp_path / "st" / "object_2.png").write_bytes(b"no picture")
        (tmp_path / "st" / "object_4.png").write_bytes(b"")
        return tmp_path

    def run(self, folder, **more):
        source = images(folder / "st", replicates=2, jitter={"saturation": 0.2})
        return open_run(extract(folder, [model("m", ["features.0"])], [source], **more))

    def test_skipped_stimuli_are_refused_by_name(self, broken, tmp_path):
        run = self.run(broken, run={"on_error": "skip"})
        with pytest.raises(StoreError) as caught:
            export(run, tmp_path / "out")
        assert str(caught.value) == (
            "st/m: 2 stimuli would be holes: 'object_2 (skipped)', 'object_4 (skipped)'"
            "  hint: repair them and `actx run --retry-skipped`, or leave out what is missing with"
            ' missing = "skip"'
        )
        assert not (tmp_path / "out").exists()

    def test_skipped_stimuli_can_be_left_out_and_are_named_in_the_file(self, broken, tmp_path):
        run = self.run(broken, run={"on_error": "skip"})
        path = export(run, tmp_path / "out", missing="skip")[0]
        with h5py.File(path) as file:
            assert list(file["m"]) == ["object_0", "object_1", "object_3"]
            assert json.loads(file["m"].attrs["left_out"]) == ["object_2", "object_4"]
        assert StimulusHdf5(StimulusHdf5Config()).check(path) == []

    def test_stimuli_that_lack_a_replicate(self, tmp_path):
        for number in range(3):
            picture(tmp_path / "st" / f"object_{number}.png", number)
        run = self.run(tmp_path, rows={"keep": "not (sample == 'object_1' and replicate == 1)"})
        with pytest.raises(
            StoreError, match=r"1 stimuli.*'object_1 \(lacks replicates of features"
        ):
            export(run, tmp_path / "out")
        path = export(run, tmp_path / "out", missing="skip")[0]
        with h5py.File(path) as file:
            assert list(file["m"]) == ["object_0", "object_2"]
            assert file["m/object_2/features.0"].shape[0] == 2

    def test_rows_that_the_pipeline_keeps_are_no_holes(self, tmp_path):
        for number in range(3):
            picture(tmp_path / "st" / f"object_{number}.png", number)
        run = self.run(tmp_path, rows={"keep": "replicate == 1 and sample != 'object_0'"})
        path = export(run, tmp_path / "out")[0]
        with h5py.File(path) as file:
            assert list(file["m"]) == ["object_1", "object_2"]
            assert file["m/object_2/features.0"].shape[0] == 1
            assert file["m"].attrs["replicates"].tolist() == [1]

    def test_a_run_that_has_not_ended(self, tmp_path):
        for number in range(6):
            picture(tmp_path / "st" / f"object_{number}.png", number)
        spec = {
            "actx": 1,
            "run": {"out": str(tmp_path / "run"), "device": "cpu", "shard_size": 2},
            "source": images(tmp_path / "st"),
            "model": model("m", ["features.0"]),
        }
        for _ in Pipeline.from_dict(spec).run(slice=(2, 3)):
            pass
        run = open_run(tmp_path / "run")
        with pytest.raises(StoreError, match="2 of 3 shards are not extracted yet  hint: end the"):
            export(run, tmp_path / "out")
        path = export(run, tmp_path / "out", missing="skip")[0]
        with h5py.File(path) as file:
            assert list(file["m"]) == ["object_2", "object_3"]

    def test_nothing_is_left(self, broken, tmp_path):
        for number in (0, 1, 3):
            (broken / "st" / f"object_{number}.png").write_bytes(b"")
        run = self.run(broken, run={"on_error": "skip"})
        with pytest.raises(StoreError, match="st/m: no stimulus is complete"):
            export(run, tmp_path / "out", missing="skip")
        assert not (tmp_path / "out").exists()

    def test_taps_whose_rows_are_no_samples(self, tmp_path, monkeypatch):
        monkeypatch.syspath_prepend(str(TOY))
        registry.cache_clear()
        spec = {
            "actx": 1,
            "run": {"out": str(tmp_path / "run")},
            "source": {"type": "numbers", "as": "s", "n": 4},
            "model": {"type": "toy", "as": "m", "taps": ["embed", "last"]},
        }
        try:
            for _ in Pipeline.from_dict(spec).run():
                pass
            with pytest.raises(StoreError) as caught:
                export(open_run(tmp_path / "run"), tmp_path / "out")
        finally:
            registry.cache_clear()
        assert str(caught.value) == (
            "s/m: expected one row per stimulus and replicate, found a row per token or point of"
            " 'embed'  hint: pool these taps, such as with"
            ' pool = [{ type = "mean", over = ["token"] }]'
        )


class TestAppend:
    @pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
    @pytest.mark.parametrize("block", [0, 512])
    def test_a_file_of_another_tool_grows(self, run, tmp_path, libver, block):
        path = tmp_path / "model_activations_flat.h5"
        stimuli = ["object_0", "object_1", "object_2"]
        ann_pipe(path, {"AlexNet": stimuli}, libver=libver, userblock_size=block)
        path.chmod(0o640)
        with h5py.File(path) as file:
            before = stored(file["AlexNet"])
        export(run, tmp_path)
        assert path.stat().st_mode & 0o777 == 0o640
        with h5py.File(path) as file:
            assert sorted(file) == ["AlexNet", "ResNet50", "V1 net"]
            assert same(stored(file["AlexNet"]), before)
            for name in ("ResNet50", "V1 net"):
                assert same(stored(file[name]), expected(run, "flat", name))
        assert StimulusHdf5(StimulusHdf5Config()).check(path) == []

    def test_a_model_of_the_same_content_is_left_alone(self, run, tmp_path):
        files = export(run, tmp_path)
        before = [(p.stat().st_ino, p.stat().st_mtime_ns, digest(p)) for p in files]
        export(run, tmp_path)
        assert [(p.stat().st_ino, p.stat().st_mtime_ns, digest(p)) for p in files] == before

    def test_also_where_another_tool_wrote_it(self, run, tmp_path):
        path = tmp_path / "model_activations_flat.h5"
        with h5py.File(path, "w") as file:
            for stimulus, layers in expected(run, "flat", "ResNet50").items():
                for name, values in layers.items():
                    file[f"ResNet50/{stimulus}/{name}"] = values
        export(run, tmp_path)
        with h5py.File(path) as file:
            assert sorted(file) == ["ResNet50", "V1 net"]
            assert dict(file["ResNet50"].attrs) == {}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("value", "object_1/features.0 has other values"),
            ("layer", "object_1: it lacks the layers 'features.0'"),
            ("more", "object_1: it has the layers 'new' too"),
            ("stimulus", "it lacks the stimuli 'object_1'"),
            ("type", r"object_1/features.0: expected float32 of \(4, 5184\), found float64 of"),
            (
                "shape",
                r"object_1/features.0: expected float32 of \(4, 5184\), found float32 of \(4, 5",
            ),
            ("group", "ResNet50: the file holds this model with other content: "),
        ],
    )
    def test_a_model_of_other_content_is_refused_or_replaced(self, run, tmp_path, change, message):
        path = export(run, tmp_path)[1]
        ann_pipe(tmp_path / "other.h5", {"AlexNet": ["object_0", "object_1", "object_2"]})
        with h5py.File(path, "r+") as file, h5py.File(tmp_path / "other.h5") as other:
            other.copy("AlexNet", file)
            kept = stored(file["AlexNet"])
            stimulus = file["ResNet50/object_1"]
            if change == "value":
                stimulus["features.0"][3, 5183] += 1
            elif change == "more":
                stimulus["new"] = np.ones((4, 3))
            elif change == "stimulus":
                del file["ResNet50/object_1"]
            elif change == "group":
                del file["ResNet50"]
                file["ResNet50"] = np.ones(3)
            else:
                values = stimulus["features.0"][:]
                del stimulus["features.0"]
                if change == "type":
                    stimulus["features.0"] = values.astype(np.float64)
                elif change == "shape":
                    stimulus["features.0"] = values[:, :5]
        before = digest(path)
        with pytest.raises(StoreError, match=message) as caught:
            export(run, tmp_path)
        assert caught.value.where == f"{path}/ResNet50"
        assert "replace = true" in caught.value.hint
        assert digest(path) == before
        export(run, tmp_path, replace=True)
        with h5py.File(path) as file:
            assert same(stored(file["ResNet50"]), expected(run, "flat", "ResNet50"))
            assert same(stored(file["V1 net"]), expected(run, "flat", "V1 net"))
            assert same(stored(file["AlexNet"]), kept)

    def test_nan_is_equal_to_itself(self, tmp_path):
        one = fake("m", 3, 4)
        one.layers["fc"].values[1, 2, 3] = np.nan
        add_models(tmp_path / "a.h5", [one], replace=False)
        add_models(tmp_path / "a.h5", [one], replace=False)

    def test_a_link_stays_one(self, run, tmp_path):
        (tmp_path / "disk").mkdir()
        (tmp_path / "out").mkdir()
        link = tmp_path / "out" / "model_activations_flat.h5"
        ann_pipe(tmp_path / "disk" / "real.h5", {"AlexNet": ["object_0"]})
        link.symlink_to(tmp_path / "disk" / "real.h5")
        assert link in export(run, tmp_path / "out")
        assert link.is_symlink()
        with h5py.File(tmp_path / "disk" / "real.h5") as file:
            assert len(file) == 3

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"expected an HDF5 file, found an empty file \(0 bytes\)"),
            (
                b"id,value\n1,2\n",
                "expected an HDF5 file, found a file that begins with b'id,value'",
            ),
            ("cut", "the file is truncated"),
        ],
    )
    def test_what_is_no_hdf5_file_is_never_touched(self, run, tmp_path, content, message):
        path = tmp_path / "model_activations_flat.h5"
        ann_pipe(path, {"AlexNet": ["a", "b"]})
        path.write_bytes(path.read_bytes()[:-100] if content == "cut" else content)
        before = digest(path)
        with pytest.raises(StoreError, match=message):
            export(run, tmp_path)
        assert digest(path) == before

    def test_a_full_disk(self, run, tmp_path, monkeypatch):
        path = tmp_path / "model_activations_flat.h5"
        ann_pipe(path, {"AlexNet": ["a"]})
        before = digest(path)

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(StoreError, match="no space left on the disk"):
            export(run, tmp_path)
        assert digest(path) == before
        assert all(p.name.startswith("model_activations") for p in tmp_path.iterdir())

    @pytest.mark.parametrize("missing", ["posix_fallocate", "copy_file_range"])
    def test_systems_without_it(self, run, tmp_path, monkeypatch, missing):
        def fails(*_: object) -> None:
            raise OSError(errno.EOPNOTSUPP, "not here")

        reference = export(run, tmp_path / "reference")[1]
        path = tmp_path / "model_activations_flat.h5"
        ann_pipe(path, {"AlexNet": ["object_0"]})
        monkeypatch.setattr(os, missing, fails)
        export(run, tmp_path)
        monkeypatch.delattr(os, missing)
        (tmp_path / "model_activations_classes.h5").unlink()
        export(run, tmp_path)
        with h5py.File(path) as file, h5py.File(reference) as whole:
            assert "AlexNet/object_0/layer1" in file
            for name in whole:
                assert same(stored(file[name]), stored(whole[name]))

    def test_a_file_that_changes_meanwhile_is_not_overwritten(self, tmp_path, monkeypatch):
        path = tmp_path / "a.h5"
        ann_pipe(path, {"AlexNet": ["a"]})
        content = fake("m", 3, 4)
        blocks = content.layers["fc"].blocks

        def other_writer():
            with h5py.File(path, "a") as file:
                file["Other/a/layer1"] = np.ones((4, 6))
            yield from blocks()

        content.layers["fc"].blocks = other_writer
        with pytest.raises(StoreError, match="somebody else wrote the file meanwhile"):
            add_models(path, [content], replace=False)
        with h5py.File(path) as file:
            assert sorted(file) == ["AlexNet", "Other"]

    def test_a_run_that_grew_by_a_model_adds_it(self, tmp_path):
        picture(tmp_path / "st" / "a.png", 0)
        picture(tmp_path / "st" / "b.png", 1)
        export_table = [{"format": "stimulus-hdf5", "path": str(tmp_path / "out")}]
        one, two = model("one", ["features.0"]), model("two", ["features.0"], seed=2)
        extract(tmp_path, [one], [images(tmp_path / "st")], export=export_table)
        path = tmp_path / "out" / "model_activations_st.h5"
        with h5py.File(path) as file:
            before = stored(file["one"])
        extract(tmp_path, [one, two], [images(tmp_path / "st")], export=export_table)
        with h5py.File(path) as file:
            assert sorted(file) == ["one", "two"]
            assert same(stored(file["one"]), before)


class FakeLayer:
    """What the writer uses of a Layer."""

    def __init__(self, values: np.ndarray, step: int = 2) -> None:
        self.values, self.step = values, step
        self.stimuli = [f"object_{i}" for i in range(len(values))]
        self.shape = values.shape[1:]
        self.nbytes = int(np.prod(self.shape)) * values.itemsize
        self.tap = SimpleNamespace(dtype=values.dtype)

    def blocks(self):
        for start in range(0, len(self.values), self.step):
            yield start, np.ascontiguousarray(self.values[start : start + self.step])


def fake(model: str, stimuli: int, features: int, layers=("fc",), seed: int = 0) -> Content:
    rng = np.random.default_rng(seed)
    made = {
        name: FakeLayer(rng.standard_normal((stimuli, 4, features)).astype(np.float32))
        for name in layers
    }
    return Content(model, made, {"actx": "0.1.0", "percent_encoded": True})


@pytest.mark.parametrize("stimuli", [1, 255, 256, 257, 600])
def test_blocks_of_stimuli(tmp_path, stimuli):
    content = fake("m", stimuli, 5, layers=("a", "b", "c"))
    add_models(tmp_path / "a.h5", [content, fake("n", 2, 3)], replace=False)
    with h5py.File(tmp_path / "a.h5") as file:
        for name, layer in content.layers.items():
            for i, stimulus in enumerate(layer.stimuli):
                np.testing.assert_array_equal(file["m"][stimulus][name][:], layer.values[i])


def test_a_layer_of_neighbours_stands_in_few_pieces(tmp_path):
    add_models(tmp_path / "a.h5", [fake("m", 200, 300, layers=("a", "b"))], replace=False)
    with h5py.File(tmp_path / "a.h5") as file:
        places = [file[f"m/object_{i}/b"].id.get_offset() for i in range(200)]
    assert sum(b - a != 4 * 300 * 4 for a, b in pairwise(places)) < 10


def test_memory_is_bounded(tmp_path):
    big = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (200, 4, 50_000), (0, 0, 0))
    layer = FakeLayer(big, step=3)
    tracemalloc.start()
    add_models(tmp_path / "a.h5", [Content("m", {"fc": layer}, {})], replace=False)
    _, written = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert StimulusHdf5(StimulusHdf5Config()).check(tmp_path / "a.h5") == []
    add_models(tmp_path / "a.h5", [Content("m", {"fc": layer}, {})], replace=False)
    _, checked = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "a.h5").stat().st_size > 160_000_000
    assert max(written, checked) < 12e6


def test_the_blocks_of_a_run_are_bounded(run, monkeypatch):
    tap = run["classes/ResNet50/features.0"]
    whole = tap.replicates().numpy().reshape(6, 4, -1)
    monkeypatch.setattr("actx_vision.formats.stimulus_content.BLOCK", 2 * whole[0].nbytes)
    layer = Layer(tap)
    layer.take(layer.stimuli[::-1])
    found = list(layer.blocks())
    assert [start for start, _ in found] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([block for _, block in found]), whole[::-1])


KILL = """
import os, signal, sys
from pathlib import Path
from actx_core import open_run
from actx_vision.formats.stimulus_config import StimulusHdf5Config
from actx_vision.formats.stimulus_hdf5 import StimulusHdf5

run, out, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
found = open_run(run)
StimulusHdf5(StimulusHdf5Config()).write(found, out.parent / "warm")  # imports, and what is read once
count = 0

def watch(frame, event, argument):
    global count
    if event in ("call", "c_call"):
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(watch)
StimulusHdf5(StimulusHdf5Config()).write(found, out)
sys.setprofile(None)
print(count)
"""


def _kill(run: Path, out: Path, limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILL, str(run), str(out), str(limit)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_killed_at_any_moment_the_old_file_is_intact(desk, run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    path = out / "model_activations_flat.h5"
    ann_pipe(path, {"AlexNet": ["object_0", "object_1"]})
    old = path.read_bytes()
    whole = _kill(desk / "run", out, 0)
    assert whole.returncode == 0, whole.stderr
    new, calls = path.read_bytes(), int(whole.stdout)
    assert new != old
    seen = set()
    for part in (0.3, 0.7, 0.9, 0.97, 0.999):
        (out / "model_activations_classes.h5").unlink(missing_ok=True)
        path.write_bytes(old)
        done = _kill(desk / "run", out, int(calls * part))
        assert done.returncode == -9, done.stderr
        seen.add(path.read_bytes() == old)
        assert path.read_bytes() in (old, new)
        export(run, out)
        assert path.read_bytes() == new
    assert True in seen


USUAL = "expected float32 of (4, 6) as in other stimuli"


class TestCheck:
    def check(self, path: Path) -> list[str]:
        format_ = StimulusHdf5(StimulusHdf5Config())
        assert format_.knows(path)
        return list(format_.check(path))

    @pytest.fixture
    def path(self, tmp_path) -> Path:
        names = [f"img{i}" for i in range(6)]
        ann_pipe(tmp_path / "a.h5", {"M": names, "N": names})
        return tmp_path / "a.h5"

    def test_nothing_is_wrong(self, path, run, tmp_path):
        assert self.check(path) == []
        for file in export(run, tmp_path / "out"):
            assert self.check(file) == []

    @pytest.mark.parametrize(
        ("layer", "values", "sentence"),
        [
            ("layer1", np.ones((4, 5), "f4"), f"{USUAL}, found float32 of (4, 5)"),
            ("layer1", np.ones((3, 6), "f4"), f"{USUAL}, found float32 of (3, 6)"),
            ("layer1", np.ones((4, 6)), f"{USUAL}, found float64 of (4, 6)"),
            ("layer1", np.full((4, 6), np.nan, "f4"), "holds NaN or infinite values"),
            ("layer1", np.full((4, 6), -np.inf, "f4"), "holds NaN or infinite values"),
            ("layer1", None, "is missing"),
        ],
    )  # fmt: skip
    def test_one_array(self, path, layer, values, sentence):
        with h5py.File(path, "r+") as file:
            del file[f"M/img3/{layer}"]
            if values is not None:
                file[f"M/img3/{layer}"] = values
        assert self.check(path) == [f"M/img3/{layer}: {sentence}"]

    def test_one_value_in_a_large_array(self, path, monkeypatch):
        values = np.ones((4, 100), "f4")
        fine = values.copy()
        values[2, 77] = np.inf
        with h5py.File(path, "r+") as file:
            for model in "MN":
                for i in range(6):
                    file[f"{model}/img{i}/wide"] = values if (model, i) == ("M", 5) else fine
        monkeypatch.setattr("actx_vision.formats.stimulus_check.BLOCK", 120)
        found = self.check(path)
        assert found == ["M/img5/wide: holds NaN or infinite values"]

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            (np.ones((4, 6, 2), "f4"), "expected (replicates, features), found (4, 6, 2)"),
            (np.ones((), "f4"), "expected (replicates, features), found ()"),
            (np.ones((4, 0), "f4"), "is empty: (4, 0)"),
            (np.array([[b"text"]]), "expected numbers, found |S4"),
        ],
    )
    def test_every_array_of_a_layer(self, path, values, sentence):
        with h5py.File(path, "r+") as file:
            for i in range(6):
                file[f"M/img{i}/odd"] = values
        found = self.check(path)
        assert (
            found[0] == f"M/*/odd: {sentence}, in 6 of 6 stimuli: 'img0', 'img1', 'img2' and 3 more"
        )
        assert len(found) <= 2  # another number of replicates, where there is one

    def test_replicates_differ_between_layers(self, path):
        with h5py.File(path, "r+") as file:
            for i in range(6):
                file[f"M/img{i}/once"] = np.ones((1, 3), "f4")
        assert self.check(path) == [
            "M: expected as many replicates in every layer, found 4 in 'layer1', 'layer2'; 1 in 'once'"
        ]

    def test_holes(self, path):
        with h5py.File(path, "r+") as file:
            for stimulus in ("img1", "img2"):
                del file[f"M/{stimulus}/layer2"]
            del file["N/img4"]
            file["N"].create_group("empty")
        assert self.check(path) == [
            "M/*/layer2: is missing, in 2 of 6 stimuli: 'img1', 'img2'",
            "N/empty: holds no layer",
            "M: lacks stimuli that other models have: 'empty'",
            "N: lacks stimuli that other models have: 'img4'",
        ]

    def test_structure(self, path):
        with h5py.File(path, "r+") as file:
            file["stray"] = np.ones(3)
            file["M/array"] = np.ones((4, 6), "f4")
            file["M/img0/group/deep"] = np.ones(3)
            file.create_group("empty")
        assert self.check(path) == [
            "M/array: expected a group of layers, found an array",
            "M/img0/group: expected an array, found a group",
            "M/*/group: is missing, in 5 of 7 stimuli: 'img1', 'img2', 'img3' and 2 more",
            "empty: holds no stimulus",
            "stray: expected the group of a model, found an array of (3,)",
            "N: lacks stimuli that other models have: 'array'",
        ]

    def test_never_written(self, path):
        with h5py.File(path, "r+") as file:
            del file["M/img1/layer1"]
            file.create_dataset("M/img1/layer1", (4, 6), "f4")
            del file["M/img2/layer1"]
            half = file.create_dataset("M/img2/layer1", (4, 6), "f4", chunks=(2, 6))
            half[:2] = 1
        assert self.check(path) == [
            "M/*/layer1: was created but not written, or not all of it,"
            " in 2 of 6 stimuli: 'img1', 'img2'"
        ]

    def test_compressed_and_virtual_arrays_are_fine(self, path, tmp_path):
        layout = h5py.VirtualLayout((4, 6), "f4")
        layout[:] = h5py.VirtualSource(path, "N/img0/layer1", (4, 6), "f4")
        with h5py.File(path, "r+") as file:
            for i in range(6):
                file.create_dataset(f"M/img{i}/zip", data=np.ones((4, 6), "f4"), compression="gzip")
                file[f"M/img{i}"].create_virtual_dataset("virtual", layout)
        assert self.check(path) == []

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            (b"", "expected an HDF5 file, found an empty file (0 bytes)"),
            (b"nonsense", "expected an HDF5 file, found a file that begins with b'nonsense'"),
        ],
    )
    def test_no_hdf5_file(self, tmp_path, content, sentence):
        path = tmp_path / "a.H5"
        path.write_bytes(content)
        assert self.check(path) == [sentence]

    def test_truncated(self, path):
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[: size // 2])
        found = f"expected {size} bytes, found {size // 2}: the file is truncated"
        assert self.check(path) == [found]

    def test_damaged_in_the_middle(self, path):
        content = bytearray(path.read_bytes())
        for start in range(100, len(content), 700):
            content[start : start + 9] = b"\xff" * 9
        path.write_bytes(content)
        found = self.check(path)
        assert found
        assert not any("\n" in sentence for sentence in found)

    def test_empty_file(self, tmp_path):
        h5py.File(tmp_path / "a.hdf5", "w").close()
        assert self.check(tmp_path / "a.hdf5") == ["the file holds no model"]

    def test_what_it_does_not_know(self, path, run, tmp_path):
        format_ = StimulusHdf5(StimulusHdf5Config())
        with h5py.File(tmp_path / "flat.h5", "w") as file:
            file["activations"] = np.ones((3, 4))
        with h5py.File(tmp_path / "two.h5", "w") as file:
            file["model/layer"] = np.ones((3, 4))
        with h5py.File(tmp_path / "deep.h5", "w") as file:
            file["a/b/c/d"] = np.ones((3, 4))
        hdf5 = registry().find("format", "hdf5")
        registry().load(hdf5)(registry().load_config(hdf5)()).write(run, tmp_path / "core.h5")
        path.rename(tmp_path / "a.mat")
        for name in ("flat.h5", "two.h5", "deep.h5", "core.h5", "a.mat", "missing.h5", "."):
            assert not format_.knows(tmp_path / name), name
