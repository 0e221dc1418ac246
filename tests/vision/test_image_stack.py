"""Stacks of images in HDF5 and .npy files: layouts, types, ids, threads, memory, damage."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from actx_core import Pipeline, SourceError, open_run
from actx_core.testing import SourceTests
from actx_vision.sources.config import ImageStackConfig

h5py = pytest.importorskip("h5py", reason="needs actx-vision[hdf5]")
from actx_vision.sources.image_stack import ImageStack  # noqa: E402 (imports h5py)

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 256, (6, 20, 30, 3), dtype=np.uint8)


def write(path, options=None, **datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file.create_dataset(name, data=values, **(options or {}))
    return path


def listed(path, **options):
    return ImageStack(ImageStackConfig(path=path, **options)).listing()


def shown(path, **options):
    return np.stack([np.asarray(s.load()) for s in listed(path, **options)])


class TestHdf5(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        path = write(tmp_path / "s.h5", imgBrick=STACK, other=np.arange(3))
        return ImageStack(ImageStackConfig(path=path, preset="ann_pipe"))


class TestNpy(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        np.save(tmp_path / "s.npy", STACK)
        return ImageStack(ImageStackConfig(path=tmp_path / "s.npy"))


def test_a_brick_as_that_of_nsd(tmp_path):
    brick = {"chunks": (1, 20, 30, 3)}
    path = write(tmp_path / "nsd_stimuli.hdf5", brick, imgBrick=STACK)
    samples = listed(path)
    assert [s.id for s in samples] == [f"{n:08d}" for n in range(6)]
    assert [s.columns for s in samples] == [{"index": n} for n in range(6)]
    np.testing.assert_array_equal(shown(path), STACK)
    assert ImageStackConfig(path=path).label() == "nsd_stimuli"


@pytest.mark.parametrize("kind", ["h5", "npy"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (STACK[..., 0], np.stack([STACK[..., 0]] * 3, -1)),
        (STACK[..., :1], np.stack([STACK[..., 0]] * 3, -1)),
        (STACK[..., :1].transpose(0, 3, 1, 2), np.stack([STACK[..., 0]] * 3, -1)),
        (STACK.transpose(0, 3, 1, 2), STACK),
        (np.float32(STACK / 255), STACK),
        (STACK / 255, STACK),
        (np.asfortranarray(STACK), STACK),
    ],
    ids=["nhw", "nhw1", "n1hw", "n3hw", "float32", "float64", "fortran"],
)
def test_layouts_and_types(tmp_path, kind, values, expected):
    path = tmp_path / f"s.{kind}"
    if kind == "npy":
        np.save(path, values)
    else:
        write(path, images=values)
    np.testing.assert_array_equal(shown(path), expected)


def test_alpha_in_a_stack(tmp_path):
    alpha = RNG.choice([0, 255], (6, 20, 30, 1)).astype(np.uint8)
    path = write(tmp_path / "s.h5", images=np.concatenate([STACK, alpha], -1))
    np.testing.assert_array_equal(shown(path), STACK)
    np.testing.assert_array_equal(shown(path, alpha="mask"), np.where(alpha, STACK, 0))


@pytest.mark.parametrize("shape", [(5, 3, 9, 3), (4, 1, 8, 4), (3, 3, 3, 3)])
def test_shapes_with_two_readings(tmp_path, shape):
    values = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(SourceError, match="can be nhwc or nchw") as caught:
        listed(tmp_path / "s.npy")
    assert 'layout = "nhwc"' in caught.value.hint
    first = np.asarray(listed(tmp_path / "s.npy", layout="nchw")[0].load())
    np.testing.assert_array_equal(first, np.broadcast_to(values[0].transpose(1, 2, 0), first.shape))


def test_a_single_picture_is_not_taken_for_a_stack(tmp_path):
    np.save(tmp_path / "s.npy", STACK[0])
    with pytest.raises(SourceError, match="can be nhw or one picture"):
        listed(tmp_path / "s.npy")
    assert len(listed(tmp_path / "s.npy", layout="nhw")) == 20
    with pytest.raises(SourceError, match="is not 'nchw'"):
        listed(tmp_path / "s.npy", layout="nchw")


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.zeros((2, 4, 4), np.int64), "found int64"),
        (np.zeros((2, 4, 4), np.uint16), "found uint16"),
        (np.zeros((2, 4, 4), bool), "found bool"),
        (np.zeros((4, 4), np.uint8), r"found \(4, 4\)"),
        (np.zeros((2, 5, 4, 7), np.uint8), r"found \(2, 5, 4, 7\)"),
        (np.zeros((0, 4, 4), np.uint8), r"found \(0, 4, 4\)"),
        (np.zeros((2, 1, 4, 4, 3), np.uint8), r"found \(2, 1, 4, 4, 3\)"),
    ],
)
def test_what_is_no_stack(tmp_path, values, found):
    np.save(tmp_path / "s.npy", values)
    with pytest.raises(SourceError, match=found) as caught:
        listed(tmp_path / "s.npy")
    assert caught.value.where.endswith("s.npy")
    write(tmp_path / "s.h5", images=values)
    with pytest.raises(SourceError, match=found) as caught:
        listed(tmp_path / "s.h5", dataset="images")
    assert caught.value.where.endswith("s.h5/images")


@pytest.mark.parametrize("worst", [1.01, -0.1, np.nan])
def test_floats_beyond_one_are_that_samples_error(tmp_path, worst):
    values = np.zeros((3, 5, 5), np.float32)
    values[1, 2, 2] = worst
    samples = listed(write(tmp_path / "s.h5", images=values))
    samples[0].load()
    with pytest.raises(SourceError, match=r"float pixels in \[0, 1\]") as caught:
        samples[1].load()
    assert caught.value.where.endswith("s.h5/images[1]")


def test_datasets_are_found_and_named(tmp_path):
    path = write(tmp_path / "s.h5", labels=np.arange(6), masks=STACK[..., 0], **{"a/b": STACK})
    with pytest.raises(SourceError, match="expected one dataset of pictures, found 2") as caught:
        listed(path)
    assert 'dataset = "/a/b"' in caught.value.hint
    np.testing.assert_array_equal(shown(path, dataset="a/b"), STACK)
    np.testing.assert_array_equal(shown(path, dataset="/masks")[..., 1], STACK[..., 0])
    with pytest.raises(SourceError, match="expected a dataset '/maks'") as caught:
        listed(path, dataset="maks")
    assert caught.value.hint == "did you mean '/masks'?"
    with pytest.raises(SourceError, match="found none among /labels"):
        listed(write(tmp_path / "n.h5", labels=np.arange(6)))
    with pytest.raises(SourceError, match="no dataset"):
        listed(write(tmp_path / "e.h5"))


@pytest.mark.parametrize(
    "ids", [[f"nsd{n}" for n in range(6)], np.array([b"a", b"b", b"c", b"d", b"e", b"f"]), range(9, 3, -1)]
)  # fmt: skip
def test_ids_from_a_dataset(tmp_path, ids):
    path = write(tmp_path / "s.h5", images=STACK, names=list(ids))
    found = listed(path, ids="names")
    assert [s.id for s in found] == [i.decode() if isinstance(i, bytes) else str(i) for i in ids]
    assert found[2].columns == {"index": 2}


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([1, 2, 3, 4, 5, 5], "'5' 2 times"),
        (["a", "b", "c", "d", "e", ""], "an empty one"),
        ([1, 2], "expected 6 integers or texts"),
        (np.arange(6) / 2, "found float64"),
    ],
)
def test_ids_that_cannot_be(tmp_path, ids, found):
    path = write(tmp_path / "s.h5", images=STACK, names=ids)
    with pytest.raises(SourceError, match=found):
        listed(path, ids="names")


def test_many_threads_read_the_same_file(tmp_path):
    many = RNG.integers(0, 256, (64, 40, 50, 3), dtype=np.uint8)
    options = {"chunks": (8, 40, 50, 3), "compression": "gzip"}
    samples = listed(write(tmp_path / "s.h5", options, images=many)) * 4
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda s: np.asarray(s.load()), samples))
    np.testing.assert_array_equal(np.stack(found), np.concatenate([many] * 4))


def test_digest_and_stamp(tmp_path):
    path = write(tmp_path / "s.h5", images=STACK)
    source = ImageStack(ImageStackConfig(path=path))
    digests = [source.digest(s) for s in source.listing()]
    values = STACK[3]
    expected = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode() + values.tobytes())
    assert digests[3] == expected.hexdigest()
    assert len(set(digests)) == 6
    stat = path.stat()
    assert {s.stamp for s in source.listing()} == {f"{stat.st_size}-{stat.st_mtime_ns}"}


def test_memory_does_not_grow_with_the_stack(tmp_path):
    import tracemalloc

    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_dataset("images", (2000, 200, 200, 3), "uint8", chunks=(1, 200, 200, 3))
    tracemalloc.start()
    for sample in listed(tmp_path / "s.h5"):
        sample.load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # 240 MB are stored


def test_damaged_and_missing_files(tmp_path):
    path = write(tmp_path / "s.h5", {"compression": "gzip", "chunks": (1, 20, 30, 3)}, images=STACK)
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)
    samples = listed(path)
    samples[1].load()
    with pytest.raises(SourceError, match="cannot be read") as caught:
        samples[2].load()
    assert caught.value.where.endswith("s.h5/images[2]")
    for name in ("cut.h5", "no.npy", "cut.npy"):
        np.save(tmp_path / "whole.npy", STACK)
        content = {"cut.h5": path.read_bytes()[:2000], "no.npy": b"no array"}
        cut = content.get(name, (tmp_path / "whole.npy").read_bytes()[:500])
        (tmp_path / name).write_bytes(cut)
        with pytest.raises(SourceError, match="cannot be read as an array of pictures"):
            listed(tmp_path / name)
        with pytest.raises(SourceError, match="expected a file, found none"):
            listed(tmp_path / f"un{name}")


def test_the_config():
    with pytest.raises(ValidationError, match="has no parts"):
        ImageStackConfig(path="s.npy", dataset="x")


def test_a_run_over_a_stack(tmp_path):
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "batch_size": 4, "shard_size": 3},
        "source": {"type": "image-stack", "path": str(write(tmp_path / "s.h5", images=STACK))},
        "model": {
            "type": "module",
            "as": "tiny",
            "callable": "torchvision.models:squeezenet1_1",
            "trust": True,
            "preprocess": {"resize": 32, "crop": 32},
            "taps": ["features.0"],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
    }
    list(Pipeline.from_dict(spec).run())
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, values in enumerate(STACK):
        Image.fromarray(values).save(folder / f"{number}.png")
    spec["source"] = {"type": "image-folder", "path": str(folder)}
    spec["run"]["out"] = str(tmp_path / "other")
    list(Pipeline.from_dict(spec).run())
    found = open_run(tmp_path / "run")["s/tiny/features.0"]
    assert found.rows["index"].to_pylist() == list(range(6))
    expected = open_run(tmp_path / "other")["pictures/tiny/features.0"].numpy()
    np.testing.assert_array_equal(found.numpy(), expected)
