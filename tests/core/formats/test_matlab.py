"""The format matlab, read by h5py after the description of MAT-files of version 7.3."""

from __future__ import annotations

import h5py
import numpy as np

from actx_core.contracts import Config
from actx_core.formats.matlab import Matlab


class Mat:
    """A reader of version 7.3 MAT-files after MathWorks' description: what MATLAB would have."""

    def __init__(self, path):
        start = path.read_bytes()[:128]
        assert start.startswith(b"MATLAB 7.3 MAT-file")
        assert start[116:124] in (bytes(8), b" " * 8)
        assert start[124:] == b"\x00\x02IM"
        self.file = h5py.File(path)
        assert self.file.userblock_size == 512

    def __getitem__(self, name):
        return self.value(self.file[name])

    def value(self, item):
        kind = item.attrs["MATLAB_class"].decode()
        if kind == "struct":
            return {name: self.value(field) for name, field in item.items()}
        if item.attrs.get("MATLAB_empty"):
            return np.empty(item[...].astype(int), object if kind == "cell" else "f8")
        array = item[...].T  # MATLAB's first axis is HDF5's last
        assert array.ndim >= 2
        if kind == "cell":
            cells = np.empty(array.shape, object)
            for place, reference in np.ndenumerate(array):
                cells[place] = self.value(self.file[reference])
            return cells
        if kind == "char":
            assert (array.dtype, item.attrs["MATLAB_int_decode"]) == (np.uint16, 2)
            return array.tobytes().decode("utf-16-le")
        names = {"single": "float32", "double": "float64", "logical": "uint8"}
        assert array.dtype == names.get(kind, kind)
        assert ("MATLAB_int_decode" in item.attrs) == (kind == "logical")
        return array.astype(bool) if kind == "logical" else array

    def names(self):
        return set(self.file) - {"#refs#"}


def text(value):
    """An empty char array is an empty text."""
    return value if isinstance(value, str) else ""


def test_matlab(run, tmp_path, columns, same):
    Matlab(Config()).write(run, tmp_path / "run.mat")
    mat = Mat(tmp_path / "run.mat")
    lines = mat["arrays"].tolist()
    assert [line[1] for line in lines] == run.arrays
    used = {"arrays"}
    for variable, name, axes, rows in lines:
        tap = run[name]
        assert axes == " ".join(tap.axes)
        assert mat[variable].dtype.kind == tap.dtype.kind or not tap.array.size
        shape = tap.shape if tap.array.ndim > 1 else (len(tap), 1)
        np.testing.assert_array_equal(mat[variable], tap.array.reshape(shape))
        assert {variable, rows} & used <= {rows}
        used |= {variable, rows}
        fields = mat[rows]
        for column, wanted in columns(tap).items():
            column = {"place/x y": "place_x_y", "end": "xend"}.get(column, column)
            assert fields[column].shape == (len(tap), 1)
            found = fields.pop(column)[:, 0]
            same([text(v) for v in found] if found.dtype == object else found, wanted)
        assert fields == {}
    assert mat.names() == used
    assert len({line[3] for line in lines[:3]}) == 1  # one struct for equal rows
    assert lines[4][3] != lines[5][3]


def test_matlab_names(tmp_path, fake_run, fake_array, values):
    long = "s/m/" + "x" * 70
    names = ["s/m/a.b", "s/m/a_b", long + "1", long + "2", "1/m/ü", "_/m/x"]
    run = fake_run(*(fake_array(name, values(2, 2), ["x", "y"]) for name in names))
    Matlab(Config()).write(run, tmp_path / "run.mat")
    mat = Mat(tmp_path / "run.mat")
    variables = mat["arrays"][:, 0].tolist()
    assert variables[0] == "s_m_a_b"
    assert len(set(variables)) == len(names)
    assert mat["arrays"][:, 1].tolist() == names
    for name in mat.names():
        assert name.isascii()
        assert name.isidentifier()
        assert name[0].isalpha()
        assert len(name) <= 63


def test_matlab_in_many_chunks(tmp_path, monkeypatch, fake_run, fake_array, values):
    monkeypatch.setattr("actx_core.formats.matlab._CHUNK", 200)
    tap = fake_array("s/m/t", values(11, 2, 3, 4), ["x"] * 11)
    Matlab(Config()).write(fake_run(tap), tmp_path / "run.mat")
    mat = Mat(tmp_path / "run.mat")
    assert mat.file["s_m_t"].chunks == (4, 3, 2, 2)
    np.testing.assert_array_equal(mat["s_m_t"], tap.array)
