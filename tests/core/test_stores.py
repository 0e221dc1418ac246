"""The three stores, read back by themselves and by plain numpy, h5py and pyarrow; damage and full disks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from actx_core import dtypes
from actx_core.contracts import Config
from actx_core.errors import StoreError
from actx_core.stores.hdf5 import Dataset, Hdf5, Layout
from actx_core.stores.npy import Npy
from actx_core.stores.parquet import Parquet
from actx_core.types import ArraySpec

STORES = {"npy": Npy, "hdf5": Hdf5, "parquet": Parquet}
SHAPES = [(), (5,), (3, 4, 5), (0,), (2, 0, 3), (1,)]
DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "uint8", "int64", "bool"]
TAPS = ["layer4.0.conv1", "V4.output:3", "blocks.5.attn@in", "ünï/çode\n'\"", ".", "x" * 300]


@pytest.fixture(params=STORES)
def store(request):
    return STORES[request.param](Config())


def make(rows, row_shape=(5,), dtype="float32", tap="tap", seed=0):
    spec = ArraySpec(
        "source", "model", tap, ("row", *"abc"[: len(row_shape)]), row_shape, dtype, rows
    )
    values = np.random.default_rng(seed).standard_normal((rows, *row_shape)) * 3
    return dtypes.encode(values, dtype), spec


def save(store, folder, array, spec, name="array"):
    path = folder / f"{name}{store.suffix}"
    store.write(path, array, spec)
    return path


def parts_of(store, folder, array, spec, cuts):
    return [
        save(store, folder, part, replace(spec, rows=len(part)), f"part{i}")
        for i, part in enumerate(np.split(array, cuts))
    ]


def joined(store, parts, path, spec):
    store.join(parts, path, spec)
    return path


def assert_holds(lazy, array):
    assert lazy.shape == array.shape
    assert lazy.dtype == array.dtype
    np.testing.assert_array_equal(lazy[...], array)


def plainly(path, spec):
    """The stored array by the format's own library."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["activations"][...]
    table = pq.read_table(path)
    column = table["activations"].combine_chunks()
    if not spec.row_shape:
        return column.to_numpy(zero_copy_only=False)
    about = {key: table.schema.metadata[key].decode() for key in (b"dtype", b"row_shape")}
    dtype = {"bfloat16": "uint16"}.get(about[b"dtype"], about[b"dtype"])
    data = b"".join(value or b"" for value in column.to_pylist())
    return np.frombuffer(data, dtype).reshape(len(column), *json.loads(about[b"row_shape"]))


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("row_shape", SHAPES)
    def test_what_is_written_is_read(self, store, tmp_path, row_shape, dtype):
        for rows in (0, 1, 7):
            array, spec = make(rows, row_shape, dtype)
            path = save(store, tmp_path, array, spec, f"{rows}")
            assert_holds(store.open(path, spec), array)
            assert_holds(store.open(path, replace(spec, rows=None)), array)
            plain = plainly(path, spec)
            assert plain.dtype == array.dtype
            np.testing.assert_array_equal(plain, array)

    @pytest.mark.parametrize("tap", TAPS)
    def test_awkward_names(self, store, tmp_path, tap):
        array, spec = make(3, tap=tap)
        path = save(store, tmp_path, array, spec)
        assert_holds(store.open(path, spec), array)
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                assert file["activations"].attrs["tap"].decode() == tap
        if path.suffix == ".parquet":
            assert pq.read_schema(path).metadata[b"tap"].decode() == tap

    def test_non_finite_values_keep_their_bits(self, store, tmp_path):
        bits = np.array([[0x7FC00001, 0xFFC12345], [0x7F800000, 0x80000000]], np.uint32)
        _, spec = make(2, (2,))
        path = save(store, tmp_path, bits.view(np.float32), spec)
        found = np.ascontiguousarray(store.open(path, spec)[:])
        np.testing.assert_array_equal(found.view(np.uint32), bits)

    def test_writing_twice_gives_the_same_bytes(self, tmp_path):
        array, spec = make(20, (3, 4))
        stores = [cls(Config()) for cls in STORES.values()]
        first = [save(store, tmp_path, array, spec, "one").read_bytes() for store in stores]
        time.sleep(1.1)  # a time stamp would have changed
        again = [save(store, tmp_path, array, spec, "two").read_bytes() for store in stores]
        assert again == first

    def test_the_payload_is_the_size(self, store, tmp_path):
        array, spec = make(1000, (256,))
        path = save(store, tmp_path, array, spec)
        assert array.nbytes < path.stat().st_size < array.nbytes + 10_000

    def test_many_rows_wider_than_a_page(self, store, tmp_path):
        array, spec = make(3, (700, 999))
        assert_holds(store.open(save(store, tmp_path, array, spec), spec), array)

    @pytest.mark.parametrize("change", [{"rows": 8}, {"row_shape": (6,)}, {"dtype": "float16"}])
    def test_an_array_that_is_not_the_planned_one_is_refused(self, store, tmp_path, change):
        array, spec = make(7)
        with pytest.raises(StoreError, match="expected float.* found float32 of"):
            store.write(tmp_path / "a", array, replace(spec, **change))

    def test_attributes_of_hdf5(self, tmp_path):
        array, spec = make(4, (2, 3), "bfloat16", "V4.output:3")
        with h5py.File(save(Hdf5(Config()), tmp_path, array, spec)) as file:
            attributes = dict(file["activations"].attrs)
            assert attributes.pop("axes").tolist() == [b"row", b"a", b"b"]
            assert attributes == {
                "source": b"source",
                "model": b"model",
                "tap": b"V4.output:3",
                "dtype": b"bfloat16",
            }

    def test_metadata_of_parquet(self, tmp_path):
        array, spec = make(4, (2, 3), "bfloat16")
        metadata = pq.read_schema(save(Parquet(Config()), tmp_path, array, spec)).metadata
        assert json.loads(metadata[b"axes"]) == ["row", "a", "b"]
        assert metadata[b"dtype"] == b"bfloat16"

    def test_numpy_maps_npy(self, tmp_path):
        array, spec = make(4)
        path = save(Npy(Config()), tmp_path, array, spec)
        np.testing.assert_array_equal(np.load(path, mmap_mode="r"), array)


class TestLazy:
    @pytest.fixture(params=[(), (3, 2)])
    def lazy(self, store, tmp_path, request):
        """An array joined from several parts, one of them empty, and its values."""
        array, spec = make(40, request.param)
        parts = parts_of(store, tmp_path, array, spec, [7, 7, 30])
        return store.open(joined(store, parts, tmp_path / "whole", spec), spec), array

    KEYS = (
        *(0, 39, -1, -40, np.int64(8)),
        *(slice(None), slice(5, 9), slice(6, 31), slice(30, 99), slice(9, 5), slice(-5, None)),
        *(slice(None, None, -3), slice(1, None, 7), ..., []),
        *([3, 1, 3, -1, 38, 8], np.array([39, 0]), np.arange(40), np.array([5], np.uint8)),
        *(np.arange(40) % 3 == 0, np.zeros(40, bool)),
    )

    @pytest.mark.parametrize("key", KEYS, ids=repr)
    def test_rows_as_numpy_indexes_them(self, lazy, key):
        stored, array = lazy
        found = stored[key]
        assert np.shape(found) == array[key].shape
        np.testing.assert_array_equal(found, array[key])

    @pytest.mark.parametrize(
        "key", [40, -41, [0, 40], [-41], np.ones(39, bool), [0.5], "a"], ids=repr
    )
    def test_rows_that_do_not_exist(self, lazy, key):
        with pytest.raises((IndexError, TypeError)):
            lazy[0][key]

    def test_parquet_reads_only_the_row_groups_it_needs(self, tmp_path, monkeypatch):
        store = Parquet(Config())
        array, spec = make(40)
        parts = parts_of(store, tmp_path, array, spec, [10, 20, 30])
        lazy = store.open(joined(store, parts, tmp_path / "whole", spec), spec)
        read = []
        real = pq.ParquetFile.read_row_group
        monkeypatch.setattr(
            pq.ParquetFile, "read_row_group", lambda f, i: read.append(i) or real(f, i)
        )
        np.testing.assert_array_equal(lazy[12:18], array[12:18])
        np.testing.assert_array_equal(lazy[[19, 10]], array[[19, 10]])
        assert read == [1]
        np.testing.assert_array_equal(lazy[[35, 2, 31, 3]], array[[35, 2, 31, 3]])
        assert read == [1, 0, 3]

    @pytest.mark.parametrize("name", ["npy", "hdf5"])
    def test_mapped_files_are_not_read_ahead_nor_written(self, tmp_path, name):
        store = STORES[name](Config())
        array, spec = make(4)
        lazy = store.open(save(store, tmp_path, array, spec), spec)
        assert isinstance(lazy, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            lazy[0] = 1


class TestJoin:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool"])
    @pytest.mark.parametrize("row_shape", SHAPES)
    def test_join_in_steps_gives_the_same_bytes(self, store, tmp_path, row_shape, dtype):
        array, spec = make(23, row_shape, dtype)
        parts = parts_of(store, tmp_path, array, spec, [4, 4, 15])
        once = joined(store, parts, tmp_path / "once", spec)
        some = joined(store, parts[:3], tmp_path / "some", replace(spec, rows=15))
        steps = joined(store, [some, parts[3]], tmp_path / "steps", spec)
        assert steps.read_bytes() == once.read_bytes()
        assert_holds(store.open(once, spec), array)
        np.testing.assert_array_equal(plainly(steps.rename(f"{steps}{store.suffix}"), spec), array)

    @pytest.mark.parametrize("name", ["npy", "hdf5"])
    def test_a_join_is_what_one_write_gives(self, tmp_path, name):
        store = STORES[name](Config())
        array, spec = make(23, (4,))
        parts = parts_of(store, tmp_path, array, spec, [1, 9])
        whole = joined(store, parts, tmp_path / "joined", spec)
        assert whole.read_bytes() == save(store, tmp_path, array, spec, "written").read_bytes()

    def test_joining_nothing(self, store, tmp_path):
        array, spec = make(0)
        assert_holds(store.open(joined(store, [], tmp_path / "j", spec), spec), array)

    def test_rows_must_add_up(self, store, tmp_path):
        array, spec = make(9)
        parts = parts_of(store, tmp_path, array, spec, [4])
        with pytest.raises(StoreError, match="expected 10 rows of source/model/tap, found 9"):
            store.join(parts, tmp_path / "j", replace(spec, rows=10))

    def test_a_part_of_another_shape_is_named(self, store, tmp_path):
        array, spec = make(9)
        parts = parts_of(store, tmp_path, array, spec, [4])
        other = save(store, tmp_path, *make(3, (6,)), "other")
        with pytest.raises(StoreError) as caught:
            store.join([*parts, other], tmp_path / "j", replace(spec, rows=12))
        assert caught.value.where == str(other)

    def test_memory_is_bounded(self, store, tmp_path):
        array, spec = make(2000, (1000,))
        parts = parts_of(store, tmp_path, array, spec, range(100, 2000, 100))
        del array
        tracemalloc.start()
        import pyarrow as pa

        before = pa.total_allocated_bytes()
        store.join(parts, tmp_path / "j", spec)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 6e6
        assert pa.total_allocated_bytes() - before < 1e6


class TestDamage:
    @pytest.fixture
    def written(self, store, tmp_path):
        array, spec = make(100)
        return store, save(store, tmp_path, array, spec), spec

    @staticmethod
    def refuse(written, match):
        store, path, spec = written
        for use in (
            lambda: store.open(path, spec),
            lambda: store.join([path], path.with_name("j"), spec),
        ):
            with pytest.raises(StoreError, match=match) as caught:
                use()
            assert caught.value.where == str(path)
            assert "restore it" in caught.value.hint

    def test_missing(self, written):
        written[1].unlink()
        self.refuse(written, "the file is missing")

    @pytest.mark.parametrize("keep", [0, 1, 60, 0.5, -1])
    def test_truncated(self, written, keep):
        path = written[1]
        size = path.stat().st_size
        keep = int(size * keep) if isinstance(keep, float) else keep % size
        os.truncate(path, keep)
        self.refuse(written, rf"found ({keep}\b|.*damaged)")

    def test_a_truncated_payload_says_both_sizes(self, tmp_path):
        array, spec = make(100)
        path = save(Npy(Config()), tmp_path, array, spec)
        size = path.stat().st_size
        os.truncate(path, size - 5)
        with pytest.raises(StoreError, match=f"expected {size} bytes or more, found {size - 5}"):
            Npy(Config()).open(path, spec)

    def test_flipped_bits_in_the_header(self, written):
        """Every byte of npy's and HDF5's header that means something; Parquet's lies at the end."""
        store, path, spec = written
        content = path.read_bytes()
        array = store.open(path, spec)[...].copy()
        at_end = path.suffix == ".parquet"
        places = range(len(content) - 300, len(content)) if at_end else range(300)
        refused = 0
        for place in places:
            flipped = bytearray(content)
            flipped[place] ^= 0x10
            path.write_bytes(flipped)
            try:
                found = store.open(path, spec)[...]
            except StoreError:
                refused += 1
            else:
                assert found.shape == array.shape
        assert refused > (60 if path.suffix == ".npy" else 100)

    def test_other_files(self, written):
        written[1].write_bytes(b"not what you think" * 500)
        self.refuse(written, "damaged")

    @pytest.mark.parametrize("change", [{"rows": 99}, {"row_shape": (1, 5)}, {"dtype": "int32"}])
    def test_another_array(self, written, change):
        store, path, spec = written
        with pytest.raises(StoreError, match="expected"):
            store.open(path, replace(spec, **change))

    @pytest.mark.parametrize("name", ["hdf5", "parquet"])
    def test_uint16_is_not_bfloat16(self, tmp_path, name):
        store = STORES[name](Config())
        array, spec = make(3, dtype="bfloat16")
        path = save(store, tmp_path, array, spec)
        with pytest.raises(StoreError, match="bfloat16"):
            store.open(path, replace(spec, dtype="uint16"))

    def test_fortran_order(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros((3, 5), np.float32, order="F"))
        with pytest.raises(StoreError, match="found Fortran order"):
            Npy(Config()).open(tmp_path / "a.npy", make(3)[1])

    def test_chunks(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            data = np.zeros((3, 5), np.float32)
            made = file.create_dataset("activations", data=data, chunks=(1, 5))
            made.attrs["dtype"] = np.bytes_("float32")
        with pytest.raises(StoreError, match="found chunks"):
            Hdf5(Config()).open(tmp_path / "a.h5", make(3)[1])


FULL = """
import importlib, resource, sys
from pathlib import Path
import numpy as np
from actx_core.contracts import Config
from actx_core.errors import StoreError
from actx_core.types import ArraySpec

target, folder, *limits = sys.argv[1:]
module, name = target.split(":")
store = getattr(importlib.import_module(module), name)(Config())
array = np.ones((1000, 1000), np.float32)
spec = ArraySpec("s", "m", "t", ("row", "a"), (1000,), "float32", 1000)
out, part = Path(folder) / "out", Path(folder).parent / "part"
store.write(part, array, spec)
for limit in map(int, limits):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    for action in (lambda: store.write(out, array, spec), lambda: store.join([part], out, spec)):
        try:
            action()
        except StoreError as error:
            print("refused", error)
        out.unlink(missing_ok=True)
"""


class TestFullDisk:
    """A full disk is an error, never a signal."""

    @pytest.fixture
    def arguments(self, store, tmp_path):
        (tmp_path / "disk").mkdir()
        target = f"{type(store).__module__}:{type(store).__qualname__}"
        return [sys.executable, "-c", FULL, target, str(tmp_path / "disk")]

    def test_a_limit_on_file_size(self, arguments):
        limits = ["0", "100", "5000", "3999999"]
        done = subprocess.run([*arguments, *limits], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 2 * len(limits)
        assert all("no file of 0.00" in line for line in lines)
        assert all("the same command resumes" in line for line in lines)

    @pytest.mark.parametrize("size", ["4k", "3m"])
    @pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare to mount a small disk")
    def test_a_small_disk(self, arguments, tmp_path, size):
        mount = f"mount -t tmpfs -o size={size} none {tmp_path / 'disk'}"
        if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
            pytest.skip("may not mount here")
        command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", *arguments, "-1"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("no space left on the disk") == 2
        assert done.stdout.count("free 0.00") == 2


class TestLayout:
    def test_several_datasets_and_groups(self, tmp_path):
        arrays = {
            "a/b/c": np.arange(12, dtype=np.float32).reshape(3, 4),
            "a/b/d.1": np.array([True, False]),
            "a/empty": np.empty((0, 3)),
            "z": np.arange(100_000, dtype=np.int16),
        }
        wishes = {n: Dataset(a.shape, a.dtype, {"name": n * 50}) for n, a in arrays.items()}
        layout = Layout.of(wishes)
        with layout.create(tmp_path / "a.h5") as file:
            for name, array in arrays.items():
                file.seek(layout.offsets[name])
                file.write(array.tobytes())
        with h5py.File(tmp_path / "a.h5") as file:
            for name, array in arrays.items():
                np.testing.assert_array_equal(file[name][...], array)
                assert file[name].attrs["name"].decode() == name * 50

    def test_a_large_file_is_laid_out_in_little_memory(self):
        tracemalloc.start()
        layout = Layout.of({"big": Dataset((1 << 20, 1 << 20), np.dtype(np.float32))})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert layout.size > 1 << 42
        assert sum(map(len, layout.header.values())) < 100_000
        assert peak < 1e6
