"""katago-sgf: the exemplars of clusters as SGF, with the boards of their rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sgfmill import sgf, sgf_grammar

from actx_core import Config, Run, StoreError
from actx_katago.outputs.groups_format import KatagoSgf
from actx_katago.outputs.marks import read_board
from actx_katago.outputs.query import run_source

pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")
RunOf = Callable[..., Run]


def roots(path: Path) -> list[sgf.Tree_node]:
    trees = sgf_grammar.parse_sgf_collection(path.read_bytes())
    return [sgf.Sgf_game.from_coarse_game_tree(tree).get_root() for tree in trees]


def test_each_cluster_is_a_collection_of_its_exemplars(run_of: RunOf, tmp_path: Path):
    on = ["rows/net/trunk*"]
    run = run_of(analyze=[{"type": "kmeans", "as": "clusters", "on": on, "k": 3, "exemplars": 4}])
    files = KatagoSgf(Config()).write(run, tmp_path)
    assert sorted(files) == sorted(tmp_path.rglob("*.sgf"))
    result = next((run.path / "analyses" / "clusters").glob("*/result.json"))
    groups = json.loads(result.read_text())["groups"]
    assert {file.parent.relative_to(tmp_path) for file in files} == {
        result.parent.relative_to(run.path / "analyses")
    }
    assert len(files) == len(groups) >= 3
    array = run["rows/net/trunk_after_block1"]
    known = array.rows.to_pylist()
    source = run_source(array)
    for file, (title, rows) in zip(files, groups.items(), strict=True):
        assert file.name.startswith(f"{files.index(file):03d}_cluster_")
        for rank, (root, row) in enumerate(zip(roots(file), rows, strict=True), 1):
            name, sample, where = root.get("C").splitlines()
            assert name == root.get("GN") == f"{title}, {rank} of {len(rows)}"
            assert sample == known[row]["sample"]
            assert f"turn {known[row]['turn']}" in where
            board = read_board(source.preview([sample])[0])
            black, white, _ = root.get_setup_stones()
            assert {(8 - y, x) for y, x in black} == set(board.black)
            assert {(8 - y, x) for y, x in white} == set(board.white)


def test_a_chain_is_about_the_rows_it_began_with(run_of: RunOf, tmp_path: Path):
    pca = {"type": "pca", "as": "pca", "on": ["rows/net/trunk*"], "components": 2}
    run = run_of(analyze=[pca, {"type": "kmeans", "on": ["pca"], "k": 2, "exemplars": 2}])
    files = KatagoSgf(Config()).write(run, tmp_path)
    assert len(files) >= 2
    assert all(map(roots, files))


def test_rows_about_a_chain_of_stones_have_a_label(run_of: RunOf, tmp_path: Path):
    run = run_of(
        pool=[{"type": "chains"}],
        analyze=[{"type": "kmeans", "on": ["**"], "k": 2, "exemplars": 2}],
    )
    for file in KatagoSgf(Config()).write(run, tmp_path):
        for root in roots(file):
            ((point, label),) = root.get("LB")
            black, white, _ = root.get_setup_stones()
            assert label == "1"
            assert point in black | white


def test_a_run_without_groups_is_refused(run_of: RunOf, tmp_path: Path):
    with pytest.raises(StoreError, match="expected an analysis that groups positions, found none"):
        KatagoSgf(Config()).write(run_of(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
