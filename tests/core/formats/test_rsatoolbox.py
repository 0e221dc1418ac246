"""The format rsatoolbox, read by rsatoolbox."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from actx_core.contracts import Config
from actx_core.formats.rsatoolbox import RsaToolbox

rsatoolbox = pytest.importorskip("rsatoolbox")


def test_rsatoolbox(run, tmp_path, columns, same):
    files = RsaToolbox(Config()).write(run, tmp_path)
    index = json.loads((tmp_path / "index.json").read_text())
    for name, tap in run.items():
        path = tmp_path / index[name]["file"]
        assert path in files
        data = rsatoolbox.data.load_dataset(str(path), file_type="hdf5")
        assert type(data) is rsatoolbox.data.Dataset
        assert data.measurements.dtype.name in ("float32", "float64")
        np.testing.assert_array_equal(data.measurements, tap.array.reshape(data.measurements.shape))
        for column, wanted in columns(tap).items():
            same(data.obs_descriptors[column.replace("/", "_")], wanted)
        for axis, places in zip(tap.axes[1:], np.indices(tap.shape[1:])):
            np.testing.assert_array_equal(data.channel_descriptors[axis], places.ravel())
        assert data.descriptors == {
            "source": tap.spec.source,
            "model": tap.spec.model,
            "tap": tap.spec.tap,
            "axes": " ".join(tap.axes),
        }


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # its own
def test_rsatoolbox_goes_on_with_it(run, tmp_path):
    RsaToolbox(Config()).write(run, tmp_path)
    data = rsatoolbox.data.load_dataset(str(tmp_path / "photos/vit/tokens.h5"), file_type="hdf5")
    rdm = rsatoolbox.rdm.calc_rdm(data, method="euclidean", descriptor="sample")
    ids = run["photos/vit/tokens"].rows["sample"].to_numpy()
    means = {i: run["photos/vit/tokens"].array[ids == i].mean(0) for i in ids}
    order = list(rdm.pattern_descriptors["sample"])
    assert sorted(order) == sorted(means)
    wanted = [((means[a] - means[b]) ** 2).mean() for a, b in itertools.combinations(order, 2)]
    np.testing.assert_allclose(rdm.dissimilarities[0], wanted, rtol=1e-5)


def test_rsatoolbox_with_many_names(tmp_path, fake_run, fake_array, values):
    names = [f"ü{i}" for i in range(20_000)]
    RsaToolbox(Config()).write(
        fake_run(fake_array("s/m/t", values(20_000, 1), names, step=5000)), tmp_path
    )
    data = rsatoolbox.data.load_dataset(str(tmp_path / "s/m/t.h5"), file_type="hdf5")
    assert list(data.obs_descriptors["sample"]) == names
