"""What actx exports it also reads, for analyses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from actx_core.foreign import open_file
from actx_core.registry import registry


@pytest.mark.parametrize("name", ["hdf5", "npz", "parquet"])
def test_an_export_is_read_back(run, tmp_path, name):
    component = registry().find("format", f"core/{name}")
    format_ = registry().load(component)(registry().load_config(component)())
    files = format_.write(run, tmp_path / f"out.{name}")
    for array in run.arrays:
        tap = run[array]
        path = files[0]
        if len(files) > 1:
            path = files[-1].parent / json.loads(files[-1].read_text())[array]["file"]
        found = open_file(path)
        one = found.get(array) or next(iter(found.values()))
        assert np.array_equal(one.array[:], tap.array.reshape(one.array.shape))
        assert one.rows["sample"].to_pylist() == tap.rows["sample"].to_pylist()
