"""From self-play rows to boards, by commands: a run, its exports, a search, a comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sgfmill import sgf, sgf_grammar

pytest.importorskip("actx_katago", reason="needs the plugin actx-katago")
pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")

from actx_core.cli.group import actx as command
from tests.end_to_end.selfplay import DATA

EXTRACT = """
actx = 1
[run]
out = "runs/parts"
device = "cpu"
[source]
type = "selfplay"
path = "selfplay_out"
limit = 200
[model]
type = "katago"
network = "net.bin.gz"
as = "net"
board_size = 9
taps = ["trunk_block_1"]
[[model.tap]]
match = ["policy", "value"]
pool = []
[pool]
type = "mean"
over = ["y", "x"]
"""
ANALYSE = """
[[analyze]]
type = "pca"
as = "parts"
on = ["*/net/trunk*"]
components = 3
[[analyze]]
type = "top-positions"
as = "top"
on = ["parts"]
top = 4
end = "both"
[[analyze]]
type = "kmeans"
on = ["*/net/trunk*"]
k = 3
[[export]]
format = "katago-pooled"
path = "activations"
[[export]]
format = "katago-sgf"
path = "boards"
"""


def actx(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_from_rows_to_boards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any):
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "extract.toml").write_text(EXTRACT)
    (tmp_path / "parts.toml").write_text(EXTRACT + ANALYSE)
    actx("run", "parts.toml")
    run, activations = tmp_path / "runs" / "parts", tmp_path / "activations"
    actx("verify", "runs/parts")

    meta = json.loads((activations / "pooled_meta.json").read_text())
    matrix = np.load(activations / "pooled_trunk_block_1.npy")
    count = len(matrix)
    assert matrix.shape == (meta["positions"], meta["pooled_channels"])
    assert np.load(activations / "policy.npy").shape[::2] == (count, 82)
    assert np.load(activations / "value.npy").shape == (count, 3)
    lines = (activations / "pos_index_to_npz.txt").read_text().splitlines()
    index = [line.split("\t") for line in lines]
    assert len({(path, row) for path, row in index}) == count

    # the boards of the top positions are those of the rows
    top = next((run / "analyses" / "top").glob("*/top.csv"))
    for line in csv.DictReader(top.read_text().splitlines()):
        ending = "" if line["end"] == "largest" else "_smallest"
        trees = sgf_grammar.parse_sgf_collection(
            (top.parent / f"{line['name']}{ending}.sgf").read_bytes()
        )
        game = sgf.Sgf_game.from_coarse_game_tree(trees[int(line["rank"]) - 1]).get_root()
        path, row = index[int(line["row"])]
        assert line["sample"] == f"{Path(path).name}:{row}" == game.get("C").splitlines()[1]
        with np.load(path) as file:
            packed = file["binaryInputNCHWPacked"][int(row)]
        planes = np.unpackbits(packed, axis=1)[:, :81].reshape(22, 9, 9)[:, ::-1]
        black, white, _ = game.get_setup_stones()
        own, other = (black, white) if game.get("PL") == "b" else (white, black)
        assert own == {tuple(p) for p in np.argwhere(planes[1]).tolist()}
        assert other == {tuple(p) for p in np.argwhere(planes[2]).tolist()}
    assert list((tmp_path / "boards" / "kmeans").rglob("*cluster_0*.sgf"))
    shown = (run / "report.html").read_text().partition("<h5>component2<")[2]
    assert shown.count(">smallest<") >= 1
    assert shown.count("<use href") >= 8

    # the same files from the finished run
    actx("convert", "runs/parts", "again", "--to", "katago-pooled")
    for name in ("pooled_trunk_block_1.npy", "pos_index_to_npz.txt", "policy.npy"):
        assert (tmp_path / "again" / name).read_bytes() == (activations / name).read_bytes()

    # the nearest positions, of a row in a file and of the same row in the run
    path, row = index[7]
    options = ("--json", "--top", "5", "--metric", "euclidean")
    search = ("katago", "search", "runs/parts", "trunk_block_1")
    near = json.loads(actx(*search, f"{Path(path).name}:{row}", *options))
    far = np.linalg.norm(matrix.astype(np.float64) - matrix[7], axis=1)
    far[7] = np.inf
    found = [one["distance"] for one in near["nearest"]]
    assert found == pytest.approx(np.sort(far)[:5].tolist())
    same = json.loads(actx(*search, f"{path}:{row}", *options))["nearest"][0]
    assert same["array_row"] == 7
    assert same["distance"] < 1e-3 * found[0]

    # what is no change is refused, and a change is measured
    copy = ("--set", "run.out=runs/copy")
    actx("run", "extract.toml", *copy)
    compare = ("katago", "compare", "--tap", "trunk_block_1", "runs/parts")
    said = actx(*compare, "runs/copy", code=8)
    assert f"the inputs of all {count} pairs are identical" in said
    zero = ("--set", "run.out=runs/zero", "--set", "source.counterfactual=zero_global")
    actx("run", "extract.toml", *zero)
    assert f"{count} pairs; {matrix.shape[1]} of" in actx(*compare, "runs/zero")
