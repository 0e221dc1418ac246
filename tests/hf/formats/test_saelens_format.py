"""The format ``saelens``, read by ``datasets`` with the calls of SAELens' ActivationsStore."""

from __future__ import annotations

import numpy as np
import pytest

from actx_core import StoreError

datasets = pytest.importorskip("datasets")

from actx_hf.formats.config import SaeLensConfig  # noqa: E402 (after the skip)
from actx_hf.formats.saelens import SaeLens, hook_name  # noqa: E402


@pytest.fixture
def format_():
    return SaeLens(SaeLensConfig(context_size=4))


@pytest.mark.filterwarnings("ignore:.*do not fill a context")
def test_sae_lens_finds_what_its_runner_would_have_cached(
    format_, fake_run, fake_array, values, tmp_path
):
    x = values()
    array = fake_array("corpus/gpt2/blocks.9.resid_post", x)
    format_.write(fake_run(array), tmp_path / "cache")
    found = datasets.load_from_disk(str(tmp_path / "cache"))
    hook = "blocks.9.hook_resid_post"
    found.set_format(type="torch", columns=[hook, "token_ids"])
    assert found.features[hook].shape == (4, 6)
    lines = found[:]
    assert np.array_equal(lines[hook].numpy(), x[:12].reshape(3, 4, 6))
    ids = array.rows["token_id"].to_numpy()[:12].reshape(3, 4)
    assert np.array_equal(lines["token_ids"].numpy(), ids)
    assert found.features["token_ids"].feature.dtype == "int32"


def test_tokens_that_fill_no_context_are_counted(format_, fake_run, fake_array, values, tmp_path):
    run = fake_run(fake_array("c/m/blocks.0.resid_pre", values(13)))
    with pytest.warns(UserWarning, match="the last 1 tokens do not fill a context of 4"):
        format_.write(run, tmp_path / "a")
    with pytest.raises(StoreError, match="at least 4 tokens, one context, found 3"):
        format_.write(fake_run(fake_array("c/m/blocks.0.resid_pre", values(3))), tmp_path / "b")


def test_several_arrays_are_several_data_sets(format_, fake_run, fake_array, values, tmp_path):
    arrays = [fake_array(f"c/m/blocks.{i}.z", values(12, seed=i)) for i in (1, 2)]
    files = format_.write(fake_run(*arrays), tmp_path)
    assert len(files) == 6
    found = datasets.load_from_disk(str(tmp_path / "c" / "m" / "blocks.2.z"))
    assert found.column_names == ["blocks.2.attn.hook_z", "token_ids"]
    assert np.array_equal(
        np.asarray(found[:]["blocks.2.attn.hook_z"], np.float32).reshape(12, 6), arrays[1].array
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_types_are_kept(format_, fake_run, fake_array, values, tmp_path, dtype):
    x = values(12, dtype=dtype)
    format_.write(fake_run(fake_array("c/m/blocks.0.mlp.post", x)), tmp_path)
    found = datasets.load_from_disk(str(tmp_path))
    assert found.features["blocks.0.mlp.hook_post"].dtype == np.dtype(dtype).name
    (one,) = format_.read(tmp_path)
    assert one.array.dtype == dtype
    assert np.array_equal(one.array[:], x)


def test_the_same_run_gives_the_same_bytes(format_, fake_run, fake_array, values, tmp_path):
    run = fake_run(fake_array("c/m/blocks.0.mlp.post", values(12)))
    one, two = (
        [f.read_bytes() for f in format_.write(run, tmp_path / name)] for name in ("a", "b")
    )
    assert one == two


def test_what_it_writes_it_reads_back_by_token(format_, fake_run, fake_array, values, tmp_path):
    x = values(12)
    array = fake_array("c/m/blocks.0.resid_mid", x)
    format_.write(fake_run(array), tmp_path)
    assert format_.knows(tmp_path)
    assert not format_.knows(tmp_path / "nothing")
    (one,) = format_.read(tmp_path)
    assert one.name == "blocks.0.hook_resid_mid"
    for rows in (slice(3, 9), [11, 0, 5, 5], 7, slice(0, 0), np.arange(12) % 3 == 0):
        assert np.array_equal(one.array[rows], x[rows])
    assert one.rows["token_id"].to_pylist() == array.rows["token_id"].to_pylist()
    assert one.rows["sample"].to_pylist() == [f"{i // 4:08}" for i in range(12)]
    assert format_.check(tmp_path) == []


def test_a_data_set_of_sae_lens_runner_is_read(format_, values, tmp_path):
    x = values(8, 3).reshape(2, 4, 3)
    features = datasets.Features(
        {
            "blocks.1.hook_mlp_out": datasets.Array2D((4, 3), "float32"),
            "token_ids": datasets.Sequence(datasets.Value("int32"), length=4),
        }
    )
    content = {"blocks.1.hook_mlp_out": list(x), "token_ids": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    made = datasets.Dataset.from_dict(content, features=features)
    made.save_to_disk(str(tmp_path / "cache"), num_shards=2)
    (one,) = format_.read(tmp_path / "cache")
    assert np.array_equal(one.array[:], x.reshape(8, 3))
    assert one.rows["token_id"].to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_damaged_data_set_is_named(format_, fake_run, fake_array, values, tmp_path):
    (data, *_) = format_.write(fake_run(fake_array("c/m/blocks.0.z", values(12))), tmp_path)
    data.write_bytes(b"")
    with pytest.raises(StoreError, match="expected a data set of SAELens"):
        format_.read(tmp_path)
    assert len(format_.check(tmp_path)) == 1


@pytest.mark.parametrize(
    ("tap", "name"),
    [
        ("blocks.11.attn_out", "blocks.11.hook_attn_out"),
        ("blocks.0.mlp.post", "blocks.0.mlp.hook_post"),
        ("blocks.0.mlp.act", "blocks.0.mlp.act"),
        ("encoder.blocks.0.mlp_out", "encoder.blocks.0.mlp_out"),
        ("final_norm", "final_norm"),
    ],
)
def test_names_are_those_of_transformer_lens(tap, name):
    assert hook_name(tap) == name
