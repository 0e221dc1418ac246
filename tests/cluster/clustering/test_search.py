"""Which device looks for Ward's neighbours, and in which precision; the trees are tested with Ward's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from actx_cluster.clustering import search as module
from actx_cluster.clustering.search import DeviceSearch, Search, search
from actx_core import AnalysisError, ModelError

torch = pytest.importorskip("torch", reason="the search on a device is torch's")


def test_precision_is_full_within_and_as_before_afterwards(monkeypatch):
    seen = []
    real = Search.nearest

    def spying(self, *arrays):
        seen.append(torch.get_float32_matmul_precision())
        return real(self, *arrays)

    monkeypatch.setattr(Search, "nearest", spying)
    torch.set_float32_matmul_precision("medium")
    try:
        one = np.ones(3, np.float32)
        rows = np.array([[0.0], [1.0], [5.0]], np.float32)
        DeviceSearch(torch.device("cpu")).nearest(rows, rows[:, 0] ** 2, one, np.arange(3))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_torch_is_not_imported_to_find_no_gpu(device):
    code = (
        "import sys; from actx_cluster.clustering import search; search.DRIVERS = ();"
        f" sys.platform = 'linux'; print(type(search.search({device!r})), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("'")[1].endswith(".Search")
    assert done.stdout.endswith("False\n")


def test_auto_asks_torch_where_there_is_a_driver(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "DRIVERS", (str(tmp_path),))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert search("auto").device == torch.device("cuda:0")
    assert search("cuda:1").device == torch.device("cuda:1")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert type(search("auto")) is Search
    with pytest.raises(AnalysisError, match="device 'cuda' needs torch, which is not installed"):
        search("cuda")


def test_an_absent_device_is_told():
    with pytest.raises(ModelError, match="device 'cuda:99' is not here"):
        search("cuda:99")
