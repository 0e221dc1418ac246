"""``actx katago compare``: effects are those of numpy on the same pairs; what is no change is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from pyarrow import csv

from actx_core import AnalysisError, ConfigError, Run
from actx_core.cli.group import actx
from actx_katago import load_network
from actx_katago.go.features import features_v7
from actx_katago.go.position import Position
from actx_katago.outputs.arrays import pick
from actx_katago.outputs.compare import compare

RunOf = Callable[..., Run]
ZERO = {"counterfactual": "zero_global"}


def call(*arguments: object) -> Any:
    return CliRunner().invoke(actx, ["katago", "compare", *map(str, arguments)])


def test_effects_are_those_of_numpy(run_of: RunOf):
    a, b = pick(run_of()), pick(run_of(source=ZERO))
    found = compare(a, b)
    change = b.numpy().astype(np.float64) - a.numpy()
    expected = {
        "mean_a": a.numpy().mean(axis=0, dtype=np.float64),
        "mean_b": b.numpy().mean(axis=0, dtype=np.float64),
        "difference": change.mean(axis=0),
        "cohen_d": change.mean(axis=0) / change.std(axis=0, ddof=1),
        "share_up": (change > 0).mean(axis=0),
        "share_down": (change < 0).mean(axis=0),
    }
    for name, values in expected.items():
        assert list(found.effects[name]) == pytest.approx(values.tolist(), rel=1e-9), name
    assert found.effects["name"] == [f"channel{i}" for i in range(16)]
    assert found.effects["pairs"] == [33] * 16
    assert (found.pairs, found.identical, found.only_a, found.only_b) == (33, 0, [], [])
    assert min(map(max, zip(found.effects["share_up"], found.effects["share_down"]))) > 0


def test_zero_globals_change_every_channel(run_of: RunOf):
    """A study once reported that none reacts, since it had compared a run with itself."""
    effects = compare(pick(run_of()), pick(run_of(source=ZERO))).effects
    assert all(up + down > 0.9 for up, down in zip(effects["share_up"], effects["share_down"]))


def test_runs_with_the_same_inputs_are_refused(run_of: RunOf, corpus: Path, tmp_path: Path):
    shutil.copytree(corpus, tmp_path / "variant_rows")
    copied = {"path": str(tmp_path / "variant_rows")}  # meant to be changed, and was not
    cases: list[dict[str, Any]] = [
        {},
        {"source": copied},
        {"pool": [{"type": "max", "over": ["y", "x"]}]},
        {"taps": ("trunk_after_block0",)},
        {"model": {"batch_size": 5}},
        {"model": {"board_size": None}},
        {"store": {"dtype": "float16"}},
    ]
    for options in cases:
        with pytest.raises(AnalysisError, match="inputs of all 33 pairs are identical") as error:
            compare(pick(run_of()), pick(run_of(**options)))
        assert "nothing was changed" in str(error.value)
    done = call(run_of().path, run_of(source=copied).path)
    assert done.exit_code == 8
    assert "the inputs of all 33 pairs are identical, and so is the network" in done.output


def test_the_same_inputs_show_what_another_network_does(run_of: RunOf, net: Callable[..., Path]):
    found = compare(pick(run_of()), pick(run_of(model={"network": str(net(seed=1))})))
    assert found.identical == 33
    assert found.notes[0] == "all inputs are identical: what is compared is the network"
    assert "only if one network was made from the other" in found.notes[1]
    average = compare(pick(run_of()), pick(run_of(model={"symmetry": "average"})))
    assert average.notes == ["all inputs are identical: what is compared is the symmetry"]


def test_what_differs_beside_the_inputs_is_said(run_of: RunOf):
    other = run_of(("trunk_after_block0",), source=ZERO)
    found = compare(pick(run_of()), pick(other))
    assert found.notes == ["beside the inputs, these differ: tap"]


def test_each_komi_is_compared_with_the_baseline(run_of: RunOf):
    a, b = pick(run_of()), pick(run_of(source={"counterfactual": {"komi": [0.5, 12.5]}}))
    found = compare(a, b)
    assert found.pairs == 66
    effects = found.effects
    assert effects["replicate_b"] == [0] * 16 + [1] * 16
    assert effects["komi_shown_b"] == [0.5] * 16 + [12.5] * 16
    for replicate in (0, 1):
        change = b.numpy()[replicate::2].astype(np.float64) - a.numpy()
        lines = slice(16 * replicate, 16 * replicate + 16)
        assert effects["difference"][lines] == pytest.approx(change.mean(axis=0).tolist())


def test_symmetries_are_compared_one_by_one(run_of: RunOf):
    a = pick(run_of(source={"symmetry": "all"}))
    b = pick(run_of(source={"symmetry": "all", **ZERO}))
    found = compare(a, b)
    assert found.pairs == 33 * 8
    assert found.effects["symmetry_a"] == found.effects["symmetry_b"]
    assert found.effects["symmetry_a"] == [s for s in range(8) for _ in range(16)]


@pytest.fixture
def written(run_of: RunOf, write_games: Any, tmp_path: Path) -> Callable[..., Any]:
    """A run on a file of that name with these rows."""

    def run(name: str, rows: Any, tap: str = "trunk_after_block1", **source: Any) -> Any:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        write_games(folder / name, rows)
        return pick(run_of((tap,), source={"path": str(folder), **source}))

    return run


def test_samples_without_a_partner_are_listed(written: Any, games: list[list[Position]]):
    rows = [(p, 0) for p in games[0]]
    found = compare(written("a.npz", rows[:6], **ZERO), written("a.npz", rows[:4]))
    assert (found.pairs, found.only_a, found.only_b) == (4, ["a.npz:4", "a.npz:5"], [])


def test_partly_identical_inputs_are_counted(written: Any, games: list[list[Position]]):
    """The network is not shown what history_off takes away where there is no history."""
    rows = [(p, 0) for p in games[0][:4]]
    found = compare(written("a.npz", rows), written("a.npz", rows, counterfactual="history_off"))
    assert found.identical == 1
    assert found.notes == ["the inputs of 1 of 4 pairs are identical"]


def test_equal_differences_have_no_effect_size(
    written: Any, games: list[list[Position]], net: Callable[..., Path]
):
    """Where all globals are the same, zeroing them moves the embedding of every position alike."""
    positions = games[0][::2]  # with Black to move
    rows = [(position, 0) for position in positions]
    a = written("a.npz", rows, tap="trunk.embedding")
    effects = compare(a, written("a.npz", rows, tap="trunk.embedding", **ZERO)).effects
    assert effects["cohen_d"] == [None] * 16
    with torch.no_grad():
        given = torch.from_numpy(features_v7(positions[0])[1])
        moved = -load_network(net()).get_submodule("linear_global")(given)
    assert effects["difference"] == pytest.approx(moved.tolist(), abs=1e-5)


def test_one_name_for_two_positions_is_refused(written: Any, games: list[list[Position]]):
    a = written("a.npz", [(p, 0) for p in games[0]])
    with pytest.raises(AnalysisError, match="expected the same position in both, found game"):
        compare(a, written("a.npz", [(p, 1) for p in games[1]]))
    with pytest.raises(AnalysisError, match=r"a.npz:0: .*found turn 0 and turn 3"):
        compare(a, written("a.npz", [(p, 0) for p in games[0][1:]]))
    with pytest.raises(AnalysisError, match=r"no sample is in both: a.npz:0, … and b.npz:0, …"):
        compare(a, written("b.npz", [(p, 0) for p in games[0]]))


def test_rows_of_other_shapes_are_refused(run_of: RunOf):
    grid = run_of(pool=[{"type": "grid", "size": 2}], source=ZERO)
    with pytest.raises(AnalysisError, match=r"same shape, found \(16,\) and \(16, 2, 2\)"):
        compare(pick(run_of()), pick(grid))


def test_the_command_and_its_table(run_of: RunOf, tmp_path: Path):
    a, b = run_of(), run_of(source=ZERO)
    told = json.loads(call(a.path, b.path, "--json").output)
    effects = compare(pick(a), pick(b)).effects
    assert told["effects"] == {name: list(values) for name, values in effects.items()}
    assert (told["pairs"], told["identical_inputs"]) == (33, 0)
    for name in ("effects.csv", "effects.parquet"):
        done = call(a.path, b.path, "--tap", "trunk_block_1", "--out", tmp_path / name)
        assert done.exit_code == 0, done.output
        read = csv.read_csv if name.endswith("csv") else pq.read_table
        table = read(tmp_path / name).to_pydict()
        assert table["name"] == effects["name"]
        assert table["difference"] == pytest.approx(effects["difference"])
    lines = done.output.splitlines()
    assert lines[2].startswith("33 pairs; 16 of 16 channels change")
    assert lines[4].split()[:2] == ["name", "mean_a"]
    sizes = [abs(d) for d in effects["cohen_d"]]
    assert lines[5].split()[0] == effects["name"][int(np.argmax(sizes))]


def test_mistakes_of_the_command(run_of: RunOf, tmp_path: Path):
    a, b = run_of().path, run_of(source=ZERO).path
    done = call(a, b, "--out", tmp_path / "x.xlsx")
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (2, True)
    assert "expected a file ending in .csv or .parquet" in done.output
    assert "expected --tap once or twice" in call(a, b, *["--tap", "x"] * 3).output
    assert "this folder holds no run" in call(a, tmp_path).output
    with pytest.raises(ConfigError):
        pick(run_of(), "trunk_after_block7")
