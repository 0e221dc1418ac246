"""The lazy reader: on files of an independent h5py script, with the code that ann_pipe's README shows."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from functools import reduce
from operator import getitem
from pathlib import Path

import h5py
import numpy as np
import pytest

from actx_core import StoreError
from actx_vision import (
    get_activation_shape,
    get_available_images,
    get_available_layers,
    get_available_models,
    load_lazy_activations,
    load_model_activations_lazy,
)
from actx_vision.formats import stimulus_reader

SHAPES = {
    "ResNet50": {"layer1.0.conv1": (4, 64), "layer2.0.conv1": (4, 128), "layer4.2.conv3": (4, 32)},
    "CORNet-S": {"V1": (4, 8), "IT": (4, 8)},
    "ViT-B-16": {"blocks.5.attn": (4, 16)},
}
STIMULI = ["object_01", "object_02", "ünï 50%25 π"]


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    """A file as ann_pipe writes it, under the names that its README uses."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with h5py.File("activations.h5", "w") as f:
        for model, layers in SHAPES.items():
            for stim in STIMULI:
                group = f.create_group(f"{model}/{stim}")
                for layer, shape in layers.items():
                    group.create_dataset(layer, data=rng.standard_normal(shape, dtype=np.float32))
    for name in ("model_activations_semantic.h5", "model_activations_rotatedsemantic.h5"):
        os.link("activations.h5", name)
    return tmp_path / "activations.h5"


BASIC = """
from actx_vision import load_lazy_activations

# Load activations with lazy loading
acts = load_lazy_activations("model_activations_semantic.h5")

# Access like a regular nested dictionary - data loads only when accessed
resnet_layer1 = acts["ResNet50"]["object_01"]["layer1.0.conv1"]  # (n_replicates, features)
vit_layer = acts["ViT-B-16"]["object_02"]["blocks.5.attn"]

# Works with loops - memory efficient for large datasets
for img_id in acts["ResNet50"].keys():
    for layer_name in acts["ResNet50"][img_id].keys():
        activation = acts["ResNet50"][img_id][layer_name]  # Loaded on demand
        # ... process activation
"""
INSPECTION = """
from actx_vision import (
    get_available_models,
    get_available_images,
    get_available_layers,
    get_activation_shape
)

# Inspect HDF5 structure without loading data
models = get_available_models("activations.h5")

images = get_available_images("activations.h5", "ResNet50")

layers = get_available_layers("activations.h5", "ResNet50")

shape = get_activation_shape("activations.h5", "ResNet50")
"""
MEMORY = """
acts["ResNet50"]["object_01"].clear_cache()  # Clear single image
acts["ResNet50"].clear_cache()               # Clear entire model
acts.close()                                 # Clear all caches
"""
SINGLE = """
from actx_vision import load_model_activations_lazy

# Load only specific model
resnet_acts = load_model_activations_lazy("activations.h5", "ResNet50")
layer_data = resnet_acts["ResNet50"]["object_01"]["layer4.2.conv3"]
"""
INTEGRITY = """
import h5py
with h5py.File("model_activations_rotatedsemantic.h5") as f:
    print(f["ResNet50"].keys())                # image ids
    acts = f["ResNet50"]["object_01"]["layer1.0.conv1"][:]
    assert acts.shape[0] == 4
"""


def test_the_code_of_the_seed_runs_with_only_the_import_changed(path, capsys):
    with h5py.File(path) as file:
        expected = {
            m: {s: {k: d[:] for k, d in g.items()} for s, g in file[m].items()} for m in file
        }
    names: dict[str, object] = {}
    exec(BASIC, names)
    np.testing.assert_array_equal(
        names["resnet_layer1"], expected["ResNet50"]["object_01"]["layer1.0.conv1"]
    )
    np.testing.assert_array_equal(
        names["vit_layer"], expected["ViT-B-16"]["object_02"]["blocks.5.attn"]
    )
    last = expected["ResNet50"][STIMULI[-1]]["layer4.2.conv3"]
    np.testing.assert_array_equal(names["activation"], last)
    exec(INSPECTION, names)
    assert names["models"] == sorted(SHAPES)
    assert names["images"] == STIMULI
    assert names["layers"] == list(SHAPES["ResNet50"])
    assert names["shape"] == (4, 64)
    exec(MEMORY, names)
    exec(SINGLE, names)
    np.testing.assert_array_equal(
        names["layer_data"], expected["ResNet50"]["object_01"]["layer4.2.conv3"]
    )
    exec(INTEGRITY, names)
    assert "object_01" in capsys.readouterr().out


def test_it_is_a_dictionary_at_every_level(path):
    with load_lazy_activations(path) as acts, h5py.File(path) as file:
        assert list(acts) == list(acts.keys()) == list(file)
        assert len(acts) == 3
        assert "ResNet50" in acts
        assert "ResNet" not in acts
        assert None not in acts
        assert acts.get("ResNet") is None
        for model, stimuli in acts.items():
            assert list(stimuli) == list(file[model])
            assert len(stimuli) == len(STIMULI)
            assert "object_01" in stimuli
            assert "object_1" not in stimuli
            assert f"object_01/{next(iter(file[model]['object_01']))}" not in stimuli
            for stimulus, layers in stimuli.items():
                assert list(layers) == list(file[model][stimulus])
                assert "layer" not in layers
                for layer, values in layers.items():
                    assert layer in layers
                    assert layers.shape(layer) == values.shape == SHAPES[model][layer]
                    assert values.dtype == np.float32
                    np.testing.assert_array_equal(values, file[model][stimulus][layer][:])
        assert "activations.h5/ResNet50/object_01>" in repr(acts["ResNet50"]["object_01"])


def test_inspection_of_a_named_image_and_layer(path):
    assert get_available_models(str(path)) == ["CORNet-S", "ResNet50", "ViT-B-16"]
    assert get_available_images(path, "CORNet-S") == STIMULI
    assert get_available_layers(path, "CORNet-S", "object_02") == ["IT", "V1"]
    assert get_activation_shape(path, "ResNet50", "object_02", "layer4.2.conv3") == (4, 32)
    assert get_activation_shape(path, "ViT-B-16", layer="blocks.5.attn") == (4, 16)


@pytest.mark.parametrize("replicates", ["all", "mean"])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "i4"])
def test_matrix(tmp_path, replicates, dtype):
    rng = np.random.default_rng(1)
    values = (100 * rng.standard_normal((30, 4, 7))).astype(dtype)
    order = rng.permutation(30)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in order:
            file[f"m/img{i}/fc"] = values[i]
    with load_lazy_activations(tmp_path / "a.h5") as acts:
        found = acts.matrix("m", "fc", replicates)
        expected = np.stack([values[int(name[3:])] for name in acts["m"]])
        stacked = np.stack([acts["m"][stimulus]["fc"] for stimulus in acts["m"]])
    np.testing.assert_array_equal(stacked, expected)
    if replicates == "mean":
        expected = expected.mean(1, dtype=np.float64)
        kind = np.float64 if dtype == "i4" else np.dtype(dtype)
        assert found.dtype == kind
        np.testing.assert_allclose(found, expected, rtol=2e-3 if dtype == "f2" else 2e-5, atol=1e-3)
    else:
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, expected)


def test_matrix_refuses_what_does_not_fit_together(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["m/a/fc"], file["m/b/fc"] = np.ones((4, 3), "f4"), np.ones((4, 2), "f4")
        file["n/a/fc"], file["n/b/gc"] = np.ones((4, 3)), np.ones((4, 3))
        file["o/a/fc"], file["o/b/fc"] = np.ones((4, 3), "f4"), np.ones((4, 3), "f8")
        file["p/a/fc"] = np.array([["text"]], h5py.string_dtype())
        file.create_group("q")
    acts = load_lazy_activations(tmp_path / "a.h5")
    for model in "mo":
        with pytest.raises(StoreError, match=rf"{model}/b/fc: expected float32 of \(4, 3\), found"):
            acts.matrix(model, "fc")
    with pytest.raises(KeyError, match="no layer 'fc' in .*n/b; did you mean 'gc'"):
        acts.matrix("n", "fc")
    with pytest.raises(StoreError, match="p/a/fc: expected numbers, found object"):
        acts["p"]["a"]["fc"]
    with pytest.raises(StoreError, match="q: expected stimuli, found none"):
        acts.matrix("q", "fc")
    with pytest.raises(StoreError, match="q: expected a stimulus, found none"):
        get_activation_shape(tmp_path / "a.h5", "q")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("ResNet5",), "no model 'ResNet5' in .*activations.h5; did you mean 'ResNet50'"),
        (
            ("ResNet50", "objct_01"),
            "no stimulus 'objct_01' in .*ResNet50; did you mean 'object_01'",
        ),
        (
            ("ResNet50", "object_01", "layer1.conv1"),
            "no layer .*object_01; did you mean 'layer1.0.conv1'",
        ),
        (("CORNet-S", "xyz"), r"no stimulus 'xyz' in .*; there are \['object_01'"),
        (("ResNet50/object_01",), "no model 'ResNet50/object_01'"),
        (("ResNet50", "object_01/layer1.0.conv1"), "no stimulus 'object_01/layer1.0.conv1'"),
        (("ResNet50", "object_01", "../object_02/layer1.0.conv1"), "no layer '../object_02"),
        (("ResNet50", "object_01", "."), "no layer '.'"),
        (("ResNet50", "object_01", ""), "no layer ''"),
        (("ResNet50", 3), "no stimulus 3"),
        (("ResNet50", "object_01", 3), "no layer 3"),
    ],
)
def test_missing_keys_give_near_misses(path, key, message):
    acts = load_lazy_activations(path)
    for _ in range(2):  # also where names are known already
        with pytest.raises(KeyError, match=message):
            reduce(getitem, key, acts)


def test_missing_keys_of_the_functions(path):
    with pytest.raises(KeyError, match="did you mean 'ResNet50'"):
        load_model_activations_lazy(path, "resnet50")
    with pytest.raises(KeyError, match="no model"):
        get_available_images(path, "x")
    with pytest.raises(KeyError, match="no stimulus"):
        get_available_layers(path, "ResNet50", "x")
    with pytest.raises(KeyError, match="no layer"):
        get_activation_shape(path, "ResNet50", layer="x")


def test_one_model_only(path):
    acts = load_model_activations_lazy(path, "CORNet-S")
    assert list(acts) == ["CORNet-S"]
    assert len(acts) == 1
    assert "CORNet-S" in acts
    assert "ResNet50" not in acts
    with pytest.raises(KeyError, match="no model 'ResNet50'"):
        acts["ResNet50"]
    assert acts.matrix("CORNet-S", "IT").shape == (3, 4, 8)


class TestCache:
    def _cached(self, acts) -> list[tuple[str, ...]]:
        return list(acts._reader._cache)

    def test_small_arrays_are_read_once(self, path, monkeypatch):
        reads = []
        real = stimulus_reader.read
        monkeypatch.setattr(stimulus_reader, "read", lambda *a: reads.append(1) or real(*a))
        acts = load_lazy_activations(path)
        first = acts["ResNet50"]["object_01"]["layer1.0.conv1"]
        expected = first.copy()
        first += 1  # the caller's own
        again = acts["ResNet50"]["object_01"]["layer1.0.conv1"]
        np.testing.assert_array_equal(again, expected)
        assert len(reads) == 1

    def test_the_whole_is_bounded_and_the_oldest_goes_first(self, path):
        acts = load_lazy_activations(path, cache_bytes=2 * 4 * 64 * 4)
        model = acts["ResNet50"]
        for stimulus in STIMULI[:2]:
            model[stimulus]["layer1.0.conv1"]
        model[STIMULI[0]]["layer1.0.conv1"]  # used again
        model[STIMULI[2]]["layer1.0.conv1"]
        assert [key[1] for key in self._cached(acts)] == [STIMULI[0], STIMULI[2]]
        assert acts._reader._cached == 2048

    def test_large_arrays_are_not_kept(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["m/a/large"] = np.ones((1, 2_500_000), "f4")
            file["m/a/small"] = np.ones((1, 2_499_999), "f4")
        acts = load_lazy_activations(tmp_path / "a.h5")
        for _ in range(2):
            assert acts["m"]["a"]["large"].sum() == 2_500_000
            assert acts["m"]["a"]["small"].sum() == 2_499_999
        assert self._cached(acts) == [("m", "a", "small")]

    def test_it_is_cleared_at_each_level(self, path):
        acts = load_lazy_activations(path)
        for model in acts:
            for stimulus in acts[model]:
                for layer in acts[model][stimulus]:
                    acts[model][stimulus][layer]
        assert len(self._cached(acts)) == 18
        acts["ResNet50"]["object_01"].clear_cache()
        assert len(self._cached(acts)) == 15
        assert ("ResNet50", "object_02", "layer1.0.conv1") in self._cached(acts)
        acts["ResNet50"].clear_cache()
        assert {key[0] for key in self._cached(acts)} == {"CORNet-S", "ViT-B-16"}
        assert acts._reader._cached == 3 * (2 * 4 * 8 + 4 * 16) * 4
        acts.clear_cache()
        assert acts._reader._cached == 0

    def test_no_cache(self, path):
        acts = load_lazy_activations(path, cache_bytes=0)
        assert acts["ViT-B-16"]["object_01"]["blocks.5.attn"].shape == (4, 16)
        assert self._cached(acts) == []


def test_close_frees_the_file_and_a_later_access_opens_it_again(path):
    acts = load_lazy_activations(path)
    before = acts["ResNet50"]["object_01"]["layer1.0.conv1"]
    with h5py.File(path) as file:  # beside an open plain h5py
        assert "ResNet50" in file
    acts.close()
    acts.close()
    with h5py.File(path, "r+") as file:  # nobody holds it
        file["ResNet50/object_01/layer1.0.conv1"][...] += 1
    np.testing.assert_array_equal(acts["ResNet50"]["object_01"]["layer1.0.conv1"], before + 1)
    acts.close()


def test_a_stimulus_keeps_working_after_close(path):
    acts = load_lazy_activations(path)
    layers = acts["ResNet50"]["object_01"]
    before = layers["layer1.0.conv1"]
    acts.close()
    np.testing.assert_array_equal(layers["layer1.0.conv1"], before)


@pytest.mark.parametrize("level", [(), ("ResNet50",), ("ResNet50", "object_01")])
def test_pickling_opens_the_file_again(path, level):
    found = load_lazy_activations(path)
    for name in level:
        found = found[name]
    list(found)
    again = pickle.loads(pickle.dumps(found))
    assert list(again) == list(found)
    one = pickle.loads(pickle.dumps(load_model_activations_lazy(path, "CORNet-S")))
    assert list(one) == ["CORNet-S"]


def test_several_threads(path):
    acts = load_lazy_activations(path, cache_bytes=5000)
    expected = {
        (model, stimulus, layer): acts[model][stimulus][layer]
        for model in acts
        for stimulus in acts[model]
        for layer in acts[model][stimulus]
    }
    wrong: list[object] = []
    until = time.monotonic() + 0.5

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        keys = list(expected)
        try:
            while time.monotonic() < until:
                model, stimulus, layer = keys[rng.integers(len(keys))]
                found = acts[model][stimulus][layer]
                if not np.array_equal(found, expected[model, stimulus, layer]):
                    wrong.append((model, stimulus, layer))
                if rng.random() < 0.1:
                    acts[model].clear_cache()
                if rng.random() < 0.02:
                    acts.close()
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_reads_for_itself_even_while_a_thread_holds_the_lock(path):
    code = """
import os, sys, threading, time
from actx_vision import load_lazy_activations
acts = load_lazy_activations(sys.argv[1])
expected = acts["ResNet50"]["object_01"]["layer1.0.conv1"].sum()
held = threading.Event()
def hold():
    with acts._reader._lock:
        held.set()
        time.sleep(2)
threading.Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    good = acts["ResNet50"]["object_01"]["layer1.0.conv1"].sum() == expected
    good = good and acts.matrix("CORNet-S", "IT").shape == (3, 4, 8)
    os._exit(0 if good else 1)
assert os.waitpid(child, 0)[1] == 0
assert acts.matrix("CORNet-S", "IT").shape == (3, 4, 8)
print("fine")
"""
    command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "fine\n"), done.stderr


def test_names_that_hdf5_cannot_hold_come_back(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        model = file.create_group("actx")
        model.attrs["percent_encoded"] = True
        for name in ("cat%2Fimg1", "cat%252Fimg1", "%2E", "50%25", "ünï"):
            model[f"{name}/fc%2Fx"] = np.full((1, 1), len(name))
        file["other/50%25/fc"] = np.ones((1, 1))
    acts = load_lazy_activations(tmp_path / "a.h5")
    assert set(acts["actx"]) == {"cat/img1", "cat%2Fimg1", ".", "50%", "ünï"}
    assert acts["actx"]["cat/img1"]["fc/x"] == len("cat%2Fimg1")
    assert acts["actx"]["cat%2Fimg1"]["fc/x"] == len("cat%252Fimg1")
    assert acts["actx"]["."]["fc/x"] == 3
    assert list(acts["actx"]["50%"]) == ["fc/x"]
    assert acts.matrix("actx", "fc/x").shape == (5, 1, 1)
    assert list(acts["other"]) == ["50%25"]  # no file of ours: names as they are


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the file is missing"),
        (b"", r"expected an HDF5 file, found an empty file \(0 bytes\)"),
        (b"\x93NUMPY and more", "expected an HDF5 file, found a file that begins with b'.x93NUMPY"),
        ("cut", "expected [0-9]+ bytes, found 3000: the file is truncated"),
        ("folder", "expected an HDF5 file, found a folder"),
    ],
)
def test_what_is_no_hdf5_file_is_said_in_one_line(path, tmp_path, content, message):
    wrong = tmp_path / "wrong.h5"
    if content == "cut":
        wrong.write_bytes(path.read_bytes()[:3000])
    elif content == "folder":
        wrong.mkdir()
    elif content is not None:
        wrong.write_bytes(content)
    with pytest.raises(StoreError, match=message) as caught:
        load_lazy_activations(wrong)
    assert caught.value.where == str(wrong)
    assert "\n" not in str(caught.value)


def test_other_layouts_are_errors_that_name_the_place(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["array"] = np.ones(3)
        file["m/array"] = np.ones(3)
        file["m/s/group/deep"] = np.ones(3)
    acts = load_lazy_activations(tmp_path / "a.h5")
    with pytest.raises(StoreError, match=r"a\.h5/array: expected a group"):
        list(acts["array"])
    with pytest.raises(StoreError, match=r"a\.h5/m/array: expected a group"):
        list(acts["m"]["array"])
    with pytest.raises(StoreError, match=r"a\.h5/m/s/group: expected an array"):
        acts["m"]["s"]["group"]
