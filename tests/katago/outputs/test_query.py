"""Positions by name: stored ones, and those of files, which get the vector that the run would have stored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actx_core import (
    ConfigError,
    ModelError,
    Pipeline,
    Run,
    SourceError,
    StoreError,
    open_run,
)
from actx_katago.go.position import Position
from actx_katago.outputs.arrays import pick
from actx_katago.outputs.query import find_query

RunOf = Callable[..., Run]
TAP = "trunk_block_1"
VARIANTS = [
    {},
    {"symmetry": 3},
    {"symmetry": "all"},
    {"counterfactual": "zero_global"},
    {"counterfactual": {"komi": [3.5, 9.5]}},
]


@pytest.mark.parametrize("source", VARIANTS, ids=str)
def test_a_row_of_a_file_gets_the_stored_vector(run_of: RunOf, corpus: Path, source: dict):
    array = pick(run_of(source=source), TAP)
    ids = array.rows["sample"].to_pylist()
    for name, row in (("a.npz", 4), ("more/b.npz", 17)):
        found = find_query(array, f"{corpus / name}:{row}")
        stored = find_query(array, f"{name}:{row}")
        assert stored.row == ids.index(f"{name}:{row}")
        assert np.array_equal(stored.vector, array[stored.row])
        assert found.row is None
        assert found.vector == pytest.approx(stored.vector, abs=1e-5)
        assert found.columns["game"] == stored.columns["game"]
        assert found.preview.data == stored.preview.data


def test_the_pooling_and_the_averaging_of_the_run_are_used(run_of: RunOf, corpus: Path):
    grid = [{"type": "grid", "size": 3}, {"type": "flatten"}]
    for options in ({"pool": grid}, {"pool": []}, {"model": {"symmetry": "average"}}):
        array = pick(run_of(**options), TAP)
        found = find_query(array, f"{corpus / 'a.npz'}:7")
        assert found.vector == pytest.approx(array[7], abs=1e-5)


def test_a_position_of_a_file_is_not_rounded_to_few_steps(run_of: RunOf, corpus: Path):
    """One position does not tell the range of each channel."""
    array = pick(run_of(store={"dtype": "int8_per_channel"}), TAP)
    whole = pick(run_of(), TAP)
    found = find_query(array, f"{corpus / 'a.npz'}:7")
    assert found.vector == pytest.approx(whole[7], abs=1e-5)


def test_a_turn_of_a_game_is_the_row_of_the_same_position(
    run_of: RunOf,
    games: list[list[Position]],
    play: Callable[..., list[Position]],
    sgf: Callable[..., str],
    tmp_path: Path,
):
    array = pick(run_of(), TAP)
    whole = play(9, 9, 30, 11)
    (tmp_path / "one.sgf").write_text(sgf(whole, KM=f"{whole[0].rules.komi:g}"))
    for row in (0, 1, 5, 10):
        found = find_query(array, f"{tmp_path / 'one.sgf'}:{3 * row}")
        assert found.vector == pytest.approx(array[row], abs=1e-5)
    two = sgf(play(9, 9, 6, 1)) + sgf(whole, KM=f"{whole[0].rules.komi:g}")
    (tmp_path / "two.sgf").write_text(two)
    found = find_query(array, f"{tmp_path / 'two.sgf'}#2:15")
    assert found.vector == pytest.approx(array[5], abs=1e-5)


def test_what_is_no_position_is_refused(run_of: RunOf, corpus: Path, tmp_path: Path):
    array = pick(run_of(), TAP)
    for wrong in ("a.npz", "a.npz:x", ":3", "a.npz:-1"):
        with pytest.raises(ConfigError, match=f"no position '{wrong}' in rows/net/trunk") as error:
            find_query(array, wrong)
        assert "such as a.npz:0, or FILE.npz:ROW" in error.value.hint
    with pytest.raises(ConfigError, match=r"they go from a.npz:0 to a.npz:10"):
        find_query(array, f"{corpus / 'a.npz'}:11")
    with pytest.raises(SourceError, match="no such file"):
        find_query(array, f"{tmp_path / 'none.npz'}:0")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(SourceError, match=r"bad\.npz"):
        find_query(array, f"{tmp_path / 'bad.npz'}:0")
    (tmp_path / "bad.sgf").write_text("(;B[")
    with pytest.raises(SourceError, match=r"bad\.sgf"):
        find_query(array, f"{tmp_path / 'bad.sgf'}:0")


def test_points_chosen_by_keep_cannot_be_chosen_in_a_file(run_of: RunOf, corpus: Path):
    array = pick(run_of(rows={"keep": "stone == 'own' and turn > 3"}), TAP)
    assert find_query(array, "a.npz:3").row is not None
    with pytest.raises(ConfigError, match=r"keep chose by stone; a position of a file cannot"):
        find_query(array, f"{corpus / 'a.npz'}:3")
    array = pick(run_of(rows={"keep": "turn > 3"}), TAP)
    assert find_query(array, f"{corpus / 'a.npz'}:0").vector.shape == (16,)


def test_another_network_is_not_taken_for_that_of_the_run(
    run_of: RunOf, net: Callable[..., Path], corpus: Path, tmp_path: Path
):
    network = tmp_path / "net.bin.gz"
    shutil.copy(net(), network)
    array = pick(run_of(model={"network": str(network)}), TAP)
    find_query(array, f"{corpus / 'a.npz'}:0")
    shutil.copy(net(seed=1), network)
    with pytest.raises(ModelError, match="no longer the one that the run used"):
        find_query(array, f"{corpus / 'a.npz'}:0")


def test_which_array_is_meant(run_of: RunOf, tmp_path: Path):
    run = run_of(("trunk_after_block1", "value"))
    for name in ("", "trunk_block_1", "rconv2.out", "trunk_after_block1", run.arrays[0]):
        assert pick(run, name).spec.tap == "trunk_after_block1"
    assert pick(run, "output.value").spec.tap == "value"
    with pytest.raises(ConfigError, match="one array with the tap 'blocks.1', found 0") as error:
        pick(run, "blocks.1")
    assert "rows/net/trunk_after_block1, rows/net/value" in error.value.hint
    both = run_of(("trunk_after_block0", "trunk_after_block1"))
    with pytest.raises(ConfigError, match="expected one array that is no head, found 2"):
        pick(both)
    points = run_of(pool=[], model={"board_size": None})
    with pytest.raises(StoreError, match="a row for each position, found one for each point"):
        pick(points, "trunk_block_1")
    shutil.copytree(run.path, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "run.json").unlink()
    with pytest.raises(StoreError, match="expected a finished run"):
        pick(Run(tmp_path / "unfinished"))


def test_only_positions_can_be_looked_for(tmp_path: Path):
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
    array = pick(open_run(tmp_path / "run"))
    with pytest.raises(StoreError, match="sources selfplay or sgf, found core/arrays"):
        find_query(array, array.rows["sample"][0].as_py())
