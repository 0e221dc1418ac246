"""A file of /model/stimulus/layer as ``actx analyze`` gets it: a row per stimulus and replicate."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from actx_core import StoreError
from actx_core.foreign import open_file

VALUES = np.random.default_rng(0).standard_normal((6, 4, 5)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    """As ann_pipe writes it."""
    with h5py.File(tmp_path / "model_activations_x.h5", "w") as file:
        for i, values in enumerate(VALUES):
            file[f"ResNet50/img{i}.png/layer1.0.conv1"] = values
            file[f"ResNet50/img{i}.png/fc"] = values[:, :2]
    return tmp_path / "model_activations_x.h5"


def test_rows_are_stimuli_and_replicates(path):
    found = open_file(path)
    assert sorted(found) == ["ResNet50/fc", "ResNet50/layer1.0.conv1"]
    one = found["ResNet50/layer1.0.conv1"]
    flat = VALUES.reshape(24, 5)
    assert (one.array.shape, one.array.dtype, one.axes) == ((24, 5), np.float32, ("row", "channel"))
    for rows in (slice(None), slice(3, 21, 4), [23, 0, 0, 5], 7, np.arange(24) % 3 == 0):
        assert np.array_equal(one.array[rows], flat[rows])
    assert one.rows["sample"].to_pylist()[3:6] == ["img0.png", "img1.png", "img1.png"]
    assert one.rows["replicate"].to_pylist() == [0, 1, 2, 3] * 6


def test_a_stimulus_of_another_shape_is_named(path):
    with h5py.File(path, "a") as file:
        del file["ResNet50/img3.png/fc"]
        file["ResNet50/img3.png/fc"] = np.zeros((4, 3), np.float32)
    with pytest.raises(StoreError, match=r"expected \(4, 2\) of fc, found \(4, 3\)") as caught:
        open_file(path)["ResNet50/fc"].array[:]
    assert "img3.png" in caught.value.where
