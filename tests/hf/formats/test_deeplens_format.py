"""The format ``deeplens``, read by ``torch.load`` as DeepLens' users do."""

from __future__ import annotations

import numpy as np
import pytest

from actx_core import Config, StoreError

torch = pytest.importorskip("torch")

from actx_hf.formats.deeplens import DeepLens  # noqa: E402 (after the skip)


@pytest.fixture
def format_():
    return DeepLens(Config())


def test_a_layer_is_one_matrix_of_float32(format_, fake_run, fake_array, values, tmp_path):
    x = values()
    files = format_.write(fake_run(fake_array("corpus/gpt2/blocks.6.mlp.post", x)), tmp_path / "f")
    assert files == [tmp_path / "f" / "features_layer_6_13.pt"]
    found = torch.load(files[0], weights_only=True)
    assert (found.dtype, tuple(found.shape)) == (torch.float32, (13, 6))
    assert np.array_equal(found.numpy(), x)
    assert [p.name for p in (tmp_path / "f").iterdir()] == [files[0].name]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types_become_float32(format_, fake_run, fake_array, values, tmp_path, dtype):
    x = values(dtype=dtype)
    (file,) = format_.write(fake_run(fake_array("c/m/blocks.0.mlp.act", x)), tmp_path)
    assert np.array_equal(torch.load(file, weights_only=True).numpy(), x.astype(np.float32))


def test_layers_stand_side_by_side_and_two_taps_of_a_layer_apart(
    format_, fake_run, fake_array, values, tmp_path
):
    post, act, other = (
        fake_array(f"c/m/{tap}", values(seed=seed))
        for seed, tap in enumerate(["blocks.3.mlp.post", "blocks.3.mlp.act", "transformer.h.10"])
    )
    names = format_.write(fake_run(post, other), tmp_path / "one")
    assert [n.name for n in names] == ["features_layer_3_13.pt", "features_layer_10_13.pt"]
    files = format_.write(fake_run(post, act), tmp_path / "two")
    assert [f.parent.relative_to(tmp_path / "two").as_posix() for f in files] == [
        "c/m/blocks.3.mlp.post",
        "c/m/blocks.3.mlp.act",
    ]
    assert np.array_equal(torch.load(files[1], weights_only=True).numpy(), act.array)


def test_the_same_run_gives_the_same_bytes(format_, fake_run, fake_array, values, tmp_path):
    run = fake_run(fake_array("c/m/blocks.1.mlp.post", values()))
    one, two = (format_.write(run, tmp_path / name)[0].read_bytes() for name in ("a", "b"))
    assert one == two


def test_what_it_writes_it_reads_back_mapped(format_, fake_run, fake_array, values, tmp_path):
    x = values()
    (file,) = format_.write(fake_run(fake_array("c/m/blocks.6.mlp.post", x)), tmp_path)
    assert format_.knows(file)
    (one,) = format_.read(file)
    assert one.name == "layer_6"
    assert np.array_equal(one.array[2:5], x[2:5])
    assert len(one.rows) == len(x)
    assert format_.check(file) == []


def test_an_array_without_rows(format_, fake_run, fake_array, values, tmp_path):
    (file,) = format_.write(fake_run(fake_array("c/m/blocks.0.mlp.post", values(0))), tmp_path)
    assert tuple(torch.load(file, weights_only=True).shape) == (0, 6)


@pytest.mark.parametrize(
    ("tap", "array", "words"),
    [
        ("embed", np.zeros((3, 2), np.float32), "numbered block"),
        ("blocks.0.attn.pattern", np.zeros((3, 2, 2), np.float32), "one axis"),
    ],
)
def test_what_does_not_fit_is_refused(format_, fake_run, fake_array, tmp_path, tap, array, words):
    with pytest.raises(StoreError, match=words):
        format_.write(fake_run(fake_array(f"c/m/{tap}", array)), tmp_path)
    assert not list(tmp_path.rglob("*.pt"))


def test_damaged_files_are_named(format_, tmp_path):
    cut = tmp_path / "features_layer_1_9.pt"
    torch.save(torch.zeros(9, 2), cut)
    cut.write_bytes(cut.read_bytes()[:-200])
    short = tmp_path / "features_layer_2_9.pt"
    torch.save(torch.zeros(8, 2), short)
    other = tmp_path / "features_layer_3_9.pt"
    torch.save({"a": torch.zeros(9, 2)}, other)
    nan = tmp_path / "features_layer_4_9.pt"
    torch.save(torch.full((9, 2), torch.nan), nan)
    for file, words in ((cut, "torch.save"), (short, "found 8"), (other, "found dict")):
        with pytest.raises(StoreError, match=words):
            format_.read(file)
        assert len(format_.check(file)) == 1
    assert "9 rows hold NaN" in format_.check(nan)[0]
    assert not format_.knows(tmp_path / "model.pt")
