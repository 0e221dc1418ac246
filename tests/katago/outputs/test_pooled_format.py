"""katago-pooled: the three files of seed 000, read by a script that knows nothing of actx."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import Config, Pipeline, Run, StoreError, open_run
from actx_katago.go.position import Position
from actx_katago.outputs.pooled_format import KatagoPooled

RunOf = Callable[..., Run]
STREAM = "trunk_after_block1"
KEYS = {
    "date", "source_model", "layer", "positions", "original_channels", "pooled_channels",
    "pooling_method", "batch_size",
}  # fmt: skip


def export(run: Run, folder: Path) -> list[str]:
    files = KatagoPooled(Config()).write(run, folder)
    assert sorted(files) == sorted(p for p in folder.rglob("*") if p.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files)


def read_activations(folder: Path, layer: str) -> tuple[np.ndarray, dict[str, Any], list[Any]]:
    """What the next step of seed 000 does: the matrix, its metadata, and (file, row) of each line."""
    matrix = np.load(folder / f"pooled_{layer}.npy")
    meta = json.loads((folder / "pooled_meta.json").read_text())
    index = []
    with open(folder / "pos_index_to_npz.txt") as lines:
        for line in lines:
            path, row = line.rstrip("\n").split("\t")
            index.append((path, int(row)))
    assert matrix.shape == (meta["positions"], meta["pooled_channels"])
    assert len(index) == len(matrix)
    return matrix, meta, index


def test_the_three_files_are_read_by_the_next_step(
    run_of: RunOf, corpus: Path, net: Callable[..., Path], tmp_path: Path
):
    run = run_of()
    files = ["pooled_meta.json", "pooled_trunk_block_1.npy", "pos_index_to_npz.txt"]
    assert export(run, tmp_path / "activations") == files
    matrix, meta, index = read_activations(tmp_path / "activations", "trunk_block_1")
    array = run["rows/net/trunk_after_block1"]
    assert (matrix.dtype, matrix.shape) == (np.float32, (33, 16))
    assert np.array_equal(matrix, array.numpy())
    known = array.rows.to_pylist()
    assert index == [(str(corpus / row["file"]), row["row"]) for row in known]
    assert all(Path(path).is_file() for path, _ in index)
    assert meta.keys() >= KEYS
    told = {key: meta[key] for key in KEYS - {"date"}}
    assert told == {
        "source_model": str(net()),
        "layer": STREAM,
        "positions": 33,
        "original_channels": 16,
        "pooled_channels": 16,
        "pooling_method": "mean over y, x",
        "batch_size": 8,
    }
    assert meta["date"] == run.manifest["timings"]["written"]
    assert meta["network_sha256"] == hashlib.sha256(net().read_bytes()).hexdigest()
    digests = "\n".join(run.samples("rows")["sha256"].to_pylist())
    assert meta["inputs_sha256"] == hashlib.sha256(digests.encode()).hexdigest()
    assert meta["files_sha256"] == {
        name: hashlib.sha256((tmp_path / "activations" / name).read_bytes()).hexdigest()
        for name in files
        if name != "pooled_meta.json"
    }


def test_a_row_is_the_pooled_stream_of_its_position(
    run_of: RunOf, net: Callable[..., Path], tmp_path: Path
):
    """From the index back to the npz, and through the network by a plain hook."""
    import torch

    from actx_katago import load_network

    export(run_of(), tmp_path)
    matrix, _, index = read_activations(tmp_path, "trunk_block_1")
    module, found = load_network(net()), []
    module.get_submodule(STREAM).register_forward_hook(lambda *a: found.append(a[2]))
    for i in (0, 12, 32):
        path, row = index[i]
        with np.load(path) as file:
            packed, globals_ = file["binaryInputNCHWPacked"][row], file["globalInputNC"][row]
        planes = np.unpackbits(packed, axis=1)[:, :81].reshape(1, 22, 9, 9).astype(np.float32)
        with torch.no_grad():
            module(torch.from_numpy(planes), torch.from_numpy(globals_[None]))
        assert matrix[i] == pytest.approx(found.pop()[0].mean(dim=(1, 2)).numpy(), abs=1e-5)


def test_policy_and_value_lie_beside(run_of: RunOf, tmp_path: Path):
    run = run_of((STREAM, "value", "policy", "prediction.win"))
    assert export(run, tmp_path) == [
        "policy.npy", "pooled_meta.json", "pooled_trunk_block_1.npy", "pos_index_to_npz.txt",
        "prediction.win.npy", "value.npy",
    ]  # fmt: skip
    assert read_activations(tmp_path, "trunk_block_1")[1]["layer"] == STREAM
    for head, shape in (("value", (33, 3)), ("policy", (33, 2, 82)), ("prediction.win", (33,))):
        array = np.load(tmp_path / f"{head}.npy")
        assert (array.shape[0], array.ndim) == (33, len(shape))
        assert array.shape[-1] == shape[-1]
        assert np.array_equal(array, run[f"rows/net/{head}"].numpy())


def test_several_taps_are_a_folder_each(run_of: RunOf, tmp_path: Path):
    run = run_of(("trunk_after_block0", STREAM, "value"))
    export(run, tmp_path)
    for i in (0, 1):
        folder = tmp_path / "rows" / "net" / f"trunk_after_block{i}"
        matrix, meta, _ = read_activations(folder, f"trunk_block_{i}")
        assert meta["layer"] == f"trunk_after_block{i}"
        assert np.array_equal(matrix, run[f"rows/net/trunk_after_block{i}"].numpy())
        assert np.array_equal(np.load(folder / "value.npy"), run["rows/net/value"].numpy())
    assert len(list(tmp_path.rglob("*.npy"))) == 4


@pytest.mark.parametrize(
    ("tap", "file"),
    [
        ("trunk_block_0", "pooled_trunk_block_0.npy"),
        ("rconv2.out", "pooled_trunk_block_1.npy"),
        ("blocks.1", "pooled_blocks.1.npy"),
        ("trunk.final", "pooled_trunk.final.npy"),
        ("trunk.final@in", "pooled_trunk.final%40in.npy"),
    ],
)
def test_names_of_files(run_of: RunOf, tmp_path: Path, tap: str, file: str):
    pool = [{"type": "mean", "over": ["y", "x"]}]
    assert file in export(run_of(model={"tap": [{"match": [tap], "pool": pool}]}), tmp_path)


def test_a_grid_becomes_columns(run_of: RunOf, tmp_path: Path):
    run = run_of(pool=[{"type": "grid", "size": 3}])
    export(run, tmp_path)
    matrix, meta, _ = read_activations(tmp_path, "trunk_block_1")
    assert np.array_equal(matrix, run[f"rows/net/{STREAM}"].numpy().reshape(33, 144))
    assert (meta["original_channels"], meta["pooled_channels"]) == (16, 144)
    assert meta["pooling_method"] == "grid over y, x size 3"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8_per_channel"])
def test_numbers_are_those_that_the_run_reads(run_of: RunOf, tmp_path: Path, dtype: str):
    run = run_of(store={"dtype": dtype})
    export(run, tmp_path)
    stored = run[f"rows/net/{STREAM}"].numpy()
    matrix = read_activations(tmp_path, "trunk_block_1")[0]
    assert matrix.dtype == stored.dtype == ("float16" if dtype == "float16" else "float32")
    assert np.array_equal(matrix, stored)


def test_replicates_have_a_column_of_their_own(run_of: RunOf, corpus: Path, tmp_path: Path):
    export(run_of(source={"symmetry": "all"}), tmp_path)
    lines = [
        line.split("\t") for line in (tmp_path / "pos_index_to_npz.txt").read_text().split("\n")
    ]
    assert lines[:2] == [[str(corpus / "a.npz"), "0", "0"], [str(corpus / "a.npz"), "0", "1"]]
    assert lines[-2] == [str(corpus / "more" / "b.npz"), "21", "7"]
    meta = json.loads((tmp_path / "pooled_meta.json").read_text())
    assert meta["index_columns"] == ["path", "row", "replicate"]


def test_games_have_a_turn_and_where_a_file_has_several_a_sample(
    run_of: RunOf,
    games: list[list[Position]],
    play: Callable[..., list[Position]],
    sgf: Callable[..., str],
    tmp_path: Path,
):
    one, two = (sgf(play(9, 9, 3, seed)) for seed in (1, 2))
    folder = tmp_path / "games"
    folder.mkdir()
    (folder / "one.sgf").write_text(one)
    source = {"type": "sgf", "path": str(folder / "*.sgf")}
    export(run_of(source=source), tmp_path / "out")
    index = (tmp_path / "out" / "pos_index_to_npz.txt").read_text()
    assert index == "".join(f"{folder / 'one.sgf'}\t{turn}\n" for turn in range(4))
    (folder / "two.sgf").write_text(one + two)
    export(run_of(source={**source, "as": "both"}), tmp_path / "both")
    lines = (tmp_path / "both" / "pos_index_to_npz.txt").read_text().splitlines()
    assert lines[3:6] == [
        f"{folder / 'one.sgf'}\t3\tone.sgf:3",
        f"{folder / 'two.sgf'}\t0\ttwo.sgf#1:0",
        f"{folder / 'two.sgf'}\t1\ttwo.sgf#1:1",
    ]


def test_what_cannot_be_is_refused_in_one_line(run_of: RunOf, tmp_path: Path):
    cases: list[tuple[dict[str, Any], str]] = [
        ({"pool": []}, r"expected a vector per position, found the axes \['channel', 'y', 'x'\]"),
        (
            {"pool": [], "model": {"board_size": None}},
            "expected a row for each position, found one for each point",
        ),
        ({"pool": [{"type": "chains"}]}, "found one for each chain"),
        ({"taps": ("value",)}, "expected a pooled tap, found only heads: rows/net/value"),
    ]
    for options, said in cases:
        with pytest.raises(StoreError, match=said):
            export(run_of(**options), tmp_path / "out")
        assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="expected a folder, found a file"):
        export(run_of(), tmp_path / "file")


def test_positions_without_files_have_no_index(tmp_path: Path):
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float32))
    pipeline = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "device": "cpu"},
        "source": {"type": "arrays", "path": str(tmp_path / "x.npy")},
        "model": {
            "type": "module",
            "callable": "torch.nn:ReLU",
            "trust": True,
            "input_shape": [4],
            "taps": ["output"],
        },
    }
    list(Pipeline.from_dict(pipeline).run())
    with pytest.raises(StoreError, match="expected positions with a file and a row or turn"):
        KatagoPooled(Config()).write(open_run(tmp_path / "run"), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_the_same_run_gives_the_same_bytes_and_nothing_half_written(run_of: RunOf, tmp_path: Path):
    run = run_of()
    files = export(run, tmp_path / "one")
    export(run, tmp_path / "two")
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (tmp_path / "one" / "notes.txt").write_text("mine")
    KatagoPooled(Config()).write(run, tmp_path / "one")
    assert (tmp_path / "one" / "notes.txt").read_text() == "mine"
