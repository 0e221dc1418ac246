"""The helpers of seed 004: exact round trips, old files, splits that merge, and files that are damaged."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from actx_core import ConfigError, StoreError
from actx_vision import (
    merge_activations,
    slices2tensor,
    split_activations,
    tensor2slices,
)


def values(*shape, dtype=np.float32):
    return (np.random.default_rng(0).standard_normal(shape) * 9).astype(dtype)


def old_file(path, tensor):
    """As thingsvision of 2020 wrote it."""
    with path.open("w") as file:
        file.write(f"# Array shape: {tensor.shape}\n")
        for i in range(tensor.shape[0]):
            for j in range(tensor.shape[1]):
                np.savetxt(file, tensor[i, j, :, :], fmt="%-7.5f")
                file.write("# New slice\n")


@pytest.mark.parametrize(
    "shape",
    [(2, 3, 4, 5), (2, 3, 4), (1, 1, 1, 1), (2, 1, 3, 1, 2), (4, 3), (4,), (0, 3, 2, 2), (2, 0, 3)],
)
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"], ids=str
)
def test_round_trip(tmp_path, shape, dtype):
    tensor = values(*shape, dtype=dtype)
    tensor2slices(tmp_path, "activations.txt", tensor)
    found = slices2tensor(str(tmp_path), "activations.txt")
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    np.testing.assert_array_equal(found, tensor)


def test_round_trip_of_any_bits(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, (3, 20, 30, 40), np.uint32)
    for tensor in (bits.view(np.float32), bits.view(np.float64)):
        tensor2slices(tmp_path, "a.txt", tensor)
        np.testing.assert_array_equal(slices2tensor(tmp_path, "a.txt"), tensor)


def test_in_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("actx_vision.formats.text_matrix.BLOCK", 1000)
    tensor = values(13, 3, 4, 5)
    tensor2slices(tmp_path, "a.txt", tensor)
    np.testing.assert_array_equal(slices2tensor(tmp_path, "a.txt"), tensor)


def test_a_part_of_a_tensor_and_a_torch_tensor(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(values(4, 3, 6, 5))[::2, :, 1:, ::2]
    tensor2slices(tmp_path, "a.txt", tensor)
    np.testing.assert_array_equal(slices2tensor(tmp_path, "a.txt"), tensor.numpy())


def test_what_is_written_can_be_read_as_thingsvision_did(tmp_path):
    tensor = values(2, 3, 4, 5)
    tensor2slices(tmp_path, "a.txt", tensor)
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert lines[0] == "# Array shape: (2, 3, 4, 5)"
    assert lines.count("# New slice") == 6
    assert lines[2 + 4] == lines[-1] == "# New slice"
    found = np.loadtxt(tmp_path / "a.txt").reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(found.astype(np.float32), tensor)


def test_old_files(tmp_path):
    tensor = values(2, 3, 4, 5)
    old_file(tmp_path / "a.txt", tensor)
    found = slices2tensor(tmp_path, "a.txt")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found.ravel(), [float(f"{v:.5f}") for v in tensor.flat])


def swap(number, old, new):
    """Edit one line."""

    def edit(lines):
        assert old in lines[number - 1]
        lines[number - 1] = lines[number - 1].replace(old, new, 1)
        return lines

    return edit


@pytest.mark.parametrize(
    ("edit", "line", "message"),
    [
        (lambda lines: lines[:16], 16, "expected 24 lines of 5 numbers .* found 12"),
        (lambda lines: [*lines[:10], lines[10][:-3]], 11, "expected the end of the line"),
        (lambda lines: [*lines[:10], lines[10][:9] + "\n"], 11, "expected 5 numbers, found [12]"),
        (lambda lines: [*lines[:-1], "# New sl"], 32, "expected the end of the line"),
        (lambda lines: [*lines[:9], *lines[10:]], 31, "expected 24 lines .* found 23"),
        (lambda lines: lines + lines[2:3], 33, "expected 24 lines .* found 25"),
        (swap(20, ".", "o"), 20, "expected numbers, found '"),
        (swap(20, "\n", " 7\n"), 20, "expected 5 numbers, found 6"),
        (lambda lines: lines[1:], 1, "expected the line '# Array shape"),
        (swap(1, "5)", "6)"), 3, "expected 6 numbers, found 5"),
        (swap(1, "(2", "(3"), 32, "expected 36 lines"),
        (swap(1, "3, 4, 5", "15, 4"), 3, "expected 4 numbers, found 5"),
        (swap(1, "(2, 3, 4, 5)", "()"), 1, "expected the line '# Array shape"),
        (swap(2, "float32", "float33"), 2, "expected a type of numbers"),
        (swap(2, "float32", "int32"), 32, "could not convert"),
        (lambda lines: lines[:1], 1, "expected 24 lines of 5 numbers .* found 0"),
        (lambda lines: [], 1, "expected the line '# Array shape"),
        (lambda lines: ["\x00\ufffd" * 99], 1, "expected the line '# Array shape"),
    ],
)
def test_damaged_files_name_the_line(tmp_path, edit, line, message):
    tensor2slices(tmp_path, "a.txt", values(2, 3, 4, 5))
    lines = (tmp_path / "a.txt").read_text().splitlines(keepends=True)
    assert len(lines) == 2 + 24 + 6
    (tmp_path / "a.txt").write_text("".join(edit(lines)))
    with pytest.raises(StoreError, match=message) as caught:
        slices2tensor(tmp_path, "a.txt")
    assert caught.value.where == f"{tmp_path / 'a.txt'}:{line}"
    assert caught.value.hint


def test_what_cannot_be_written(tmp_path):
    for tensor in (np.array(["a"]), np.array([1j]), np.array(3.0), np.array([None])):
        with pytest.raises(StoreError, match="expected an array of real numbers"):
            tensor2slices(tmp_path, "a.txt", tensor)
    with pytest.raises(StoreError, match="missing"):
        slices2tensor(tmp_path, "a.txt")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="nowhere: the folder is missing"):
        tensor2slices(tmp_path / "nowhere", "a.txt", values(2, 3))


@pytest.mark.parametrize("kind", ["npy", ".npy", "txt", ".txt"])
@pytest.mark.parametrize(("rows", "n"), [(23, 10), (20, 10), (3, 10), (0, 4), (5, 1), (130, 120)])
def test_split_and_merge(tmp_path, kind, rows, n):
    array = values(rows, 4)
    split_activations(tmp_path, array, kind, n)
    ending = kind.removeprefix(".")
    digits = 3 if n > 99 else 2
    names = [f"activations_{i:0{digits}d}.{ending}" for i in range(1, n + 1)]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    sizes = [len(part) for part in np.array_split(array, n)]
    if ending == "npy":
        assert [len(np.load(tmp_path / name)) for name in names] == sizes
    merged = merge_activations(str(tmp_path))
    assert merged.dtype == array.dtype
    np.testing.assert_array_equal(merged, array)


@pytest.mark.parametrize("kind", ["npy", "txt"])
def test_the_file_itself_is_split_into_ten(tmp_path, kind):
    array = values(25, 2, 3, 4)
    if kind == "npy":
        np.save(tmp_path / "activations.npy", array)
    else:
        tensor2slices(tmp_path, "activations.txt", array)
    split_activations(tmp_path)
    assert len(list(tmp_path.glob(f"activations_*.{kind}"))) == 10
    np.testing.assert_array_equal(merge_activations(tmp_path), array)
    split_activations(tmp_path)  # again: the same files
    np.testing.assert_array_equal(merge_activations(tmp_path), array)


def test_merge_goes_by_number_and_reads_old_text(tmp_path):
    array = values(22, 3, dtype=np.float64)
    for i, part in enumerate(np.array_split(array, 11), 1):
        np.savetxt(tmp_path / f"activations_{i}.txt", part)  # 1, 10, 11, 2 in alphabetical order
    (tmp_path / "activations.txt").write_text("not a part")
    (tmp_path / "activations_best.txt").write_text("not a part")
    np.testing.assert_array_equal(merge_activations(tmp_path), array)


def test_splits_that_do_not_go_together(tmp_path):
    array = values(12, 3)
    with pytest.raises(StoreError, match="expected files activations_01"):
        merge_activations(tmp_path)
    with pytest.raises(StoreError, match="folder is missing"):
        merge_activations(tmp_path / "nowhere")
    with pytest.raises(
        StoreError, match="expected activations.npy or activations.txt, found neither"
    ):
        split_activations(tmp_path)
    split_activations(tmp_path, array, "npy", 4)
    with pytest.raises(StoreError, match="of another split") as caught:
        split_activations(tmp_path, array, "npy", 3)
    assert caught.value.where.endswith("activations_04.npy")
    with pytest.raises(StoreError, match="of another split"):
        split_activations(tmp_path, array, "txt", 4)
    np.testing.assert_array_equal(merge_activations(tmp_path), array)
    np.save(tmp_path / "activations_03.npy", values(3, 4))
    with pytest.raises(
        StoreError, match=r"expected rows of float32 \(3,\) as in activations_01.npy"
    ):
        merge_activations(tmp_path)
    (tmp_path / "activations_03.npy").unlink()
    with pytest.raises(StoreError, match="expected number 3, found 4"):
        merge_activations(tmp_path)
    (tmp_path / "activations_03.npy").write_bytes(
        (tmp_path / "activations_02.npy").read_bytes()[:-9]
    )
    with pytest.raises(StoreError, match="expected a .npy file"):
        merge_activations(tmp_path)
    (tmp_path / "activations_3.npy").write_bytes((tmp_path / "activations_02.npy").read_bytes())
    with pytest.raises(StoreError, match="expected number 4, found 3"):
        merge_activations(tmp_path)
    (tmp_path / "activations_05.txt").write_text("1 2 3\n")
    with pytest.raises(StoreError, match="either .npy or .txt"):
        merge_activations(tmp_path)


def test_an_empty_text_part_is_an_error(tmp_path):
    split_activations(tmp_path, values(6, 3), "txt", 2)
    (tmp_path / "activations_02.txt").write_text("")
    with pytest.raises(StoreError, match="expected numbers, found none"):
        merge_activations(tmp_path)


def test_options_that_mean_nothing(tmp_path):
    with pytest.raises(ConfigError, match="n_splits"):
        split_activations(tmp_path, values(3, 3), "npy", 0)
    with pytest.raises(ConfigError, match="'npy' or 'txt'"):
        split_activations(tmp_path, values(3, 3), "mat", 2)
    np.save(tmp_path / "activations.npy", values(3, 3))
    tensor2slices(tmp_path, "activations.txt", values(3, 3))
    with pytest.raises(StoreError, match="found both"):
        split_activations(tmp_path)


def test_splitting_a_mapped_file_keeps_memory_small(tmp_path):
    big = np.lib.format.open_memmap(tmp_path / "activations.npy", "w+", np.float32, (4000, 5000))
    big[::1000] = 1
    del big
    tracemalloc.start()
    split_activations(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6
