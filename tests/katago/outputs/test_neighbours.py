"""``actx katago search``: the neighbours that numpy finds, and their boards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.spatial.distance import cdist
from sgfmill import sgf, sgf_grammar

from actx_core import Run, StoreError
from actx_core.cli.group import actx
from actx_katago.outputs.arrays import pick
from actx_katago.outputs.neighbours import find_neighbours, write_boards

RunOf = Callable[..., Run]


def command(*arguments: object) -> str:
    done = CliRunner().invoke(actx, ["katago", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("one_per_game", [False, True])
def test_search_equals_numpy(run_of: RunOf, metric: str, one_per_game: bool):
    run = run_of()
    array = run["rows/net/trunk_after_block1"]
    known = array.rows.to_pylist()
    flags = ["--one-per-game"] if one_per_game else []
    options = ("--metric", metric, "--top", 5, "--json", *flags)
    told = json.loads(command("search", run.path, "trunk_block_1", "a.npz:4", *options))
    values = array.numpy().astype(np.float64)
    far = cdist(values, values[4:5], metric)[:, 0]
    expected: list[int] = []
    seen = {known[4]["game"]} if one_per_game else set()
    for row in np.argsort(far, kind="stable").tolist():
        if row != 4 and known[row]["game"] not in seen:
            expected.append(row)
            seen |= {known[row]["game"]} if one_per_game else set()
    found = told["nearest"]
    assert [one["array_row"] for one in found] == expected[:5]
    assert [one["distance"] for one in found] == pytest.approx(far[expected[:5]].tolist())
    for one in found:
        about = known[one["array_row"]]
        assert {key: one[key] for key in ("sample", "file", "row", "game")} == {
            key: about[key] for key in ("sample", "file", "row", "game")
        }
    assert (told["array"], told["rows"], told["without_distance"]) == (array.name, len(array), 0)


def test_the_answer_in_words(run_of: RunOf):
    run = run_of()
    out = command("search", run.path, "trunk_block_1", "a.npz:4", "--top", "3").splitlines()
    assert out[0] == "rows/net/trunk_after_block1: 33 positions, cosine distance to a.npz:4"
    assert out[1].split() == ["distance", "sample", "game", "turn", "to_move"]
    assert len(out) == 5


def test_a_row_of_a_file_finds_itself_in_the_corpus(run_of: RunOf, corpus: Path):
    found = find_neighbours(pick(run_of()), f"{corpus / 'more' / 'b.npz'}:9", top=1)
    assert found.nearest[0]["sample"] == "more/b.npz:9"
    assert found.nearest[0]["distance"] == pytest.approx(0, abs=1e-9)


def test_a_position_is_not_its_own_neighbour_in_another_symmetry(run_of: RunOf):
    array = pick(run_of(source={"symmetry": "all"}))
    assert len(array) == 33 * 8
    nearest = find_neighbours(array, "a.npz:4", top=300).nearest
    assert len(nearest) == 32 * 8
    assert "a.npz:4" not in {one["sample"] for one in nearest}


def test_boards_as_sgf_and_as_a_page(run_of: RunOf, tmp_path: Path):
    array = pick(run_of())
    found = find_neighbours(array, "a.npz:4", top=3)
    write_boards(array, found, tmp_path / "more" / "near.sgf")
    trees = sgf_grammar.parse_sgf_collection((tmp_path / "more" / "near.sgf").read_bytes())
    roots = [sgf.Sgf_game.from_coarse_game_tree(tree).get_root() for tree in trees]
    assert roots[0].get("C").splitlines()[:2] == ["query", "a.npz:4"]
    for rank, (root, one) in enumerate(zip(roots[1:], found.nearest, strict=True), 1):
        first, sample, where = root.get("C").splitlines()
        assert first == f"{rank}: cosine distance {one['distance']:.6g}"
        assert sample == one["sample"]
        assert f"row {one['row']}, " in where
    write_boards(array, found, tmp_path / "near.html")
    html = (tmp_path / "near.html").read_text()
    assert html.count("<svg") == html.count("<figcaption>") == 4
    assert found.nearest[2]["sample"] in html
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")  # it loads nothing


def test_boards_of_files_that_are_gone(run_of: RunOf, write_games: Any, games: Any, tmp_path: Path):
    (tmp_path / "rows").mkdir()
    write_games(tmp_path / "rows" / "a.npz", [(p, 0) for p in games[0]])
    write_games(tmp_path / "rows" / "b.npz", [(p, 1) for p in games[1]])
    array = pick(run_of(source={"path": str(tmp_path / "rows")}))
    (tmp_path / "rows" / "b.npz").unlink()
    found = find_neighbours(array, "a.npz:4", top=12)
    with pytest.raises(StoreError, match=r"b.npz:\d+: the position cannot be drawn any more"):
        write_boards(array, found, tmp_path / "near.sgf")
    assert not (tmp_path / "near.sgf").exists()


def test_mistakes_are_one_line(run_of: RunOf):
    run = run_of()
    done = CliRunner().invoke(actx, ["katago", "search", str(run.path), "blocks.7", "a.npz:4"])
    assert done.exit_code == 2
    assert "expected one array with the tap 'blocks.7', found 0" in done.output
    asked = ["katago", "search", str(run.path), "trunk_block_1", "a.npz:4", "--boards", "near.png"]
    done = CliRunner().invoke(actx, asked)
    assert done.exit_code == 2
    assert "expected a file ending in .html or .sgf, found 'near.png'" in done.output
