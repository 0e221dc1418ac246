"""top-positions: the rows that numpy finds, with the boards of the source in the report and in SGF files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from sgfmill import sgf, sgf_grammar

from actx_core import AnalysisError, Input, Preview, Result, Run
from actx_core.results import open_run
from actx_katago.go.npz import TrainingFile
from actx_katago.outputs.config import TopPositionsConfig
from actx_katago.outputs.top_positions import TopPositions
from actx_katago.positions.picture import draw_board

PICTURE = Preview("svg", draw_board(np.eye(9, dtype=bool), np.zeros((9, 9), bool), (0, 0)))


def analyse(array: np.ndarray, out: Path, axes: Sequence[str] = ("row", "channel"), **told: Any):
    """The result for an array whose rows have the columns ``told["columns_of_rows"]``."""
    rows = {"sample": [f"a.npz:{i}" for i in range(len(array))], **told.pop("rows", {})}
    previews = told.pop("previews", lambda numbers: [PICTURE] * len(numbers))
    data = Input("src/net/tap", array, tuple(axes), pa.table(rows), "", previews)
    result: Result = TopPositions(TopPositionsConfig(**told)).run([data], out)
    return result


def games_in(path: Path) -> list[sgf.Sgf_game]:
    trees = sgf_grammar.parse_sgf_collection(path.read_bytes())
    return [sgf.Sgf_game.from_coarse_game_tree(tree) for tree in trees]


@pytest.mark.parametrize("one_per_game", [True, False])
@pytest.mark.parametrize("end", ["largest", "smallest", "both"])
def test_rows_are_those_of_a_plain_loop(tmp_path: Path, end: str, one_per_game: bool):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 12, (60, 5)).astype(np.float32)  # with many equal values
    games = [f"g{i % 7}" if i % 10 else None for i in range(60)]
    told = analyse(array, tmp_path, rows={"game": games}, end=end, one_per_game=one_per_game, top=6)
    assert len(told.groups) == 5 * (1 + (end == "both"))
    for column in range(5):
        for title, sign in ((f"channel{column}", -1), (f"channel{column}, smallest", 1)):
            if (end == "smallest" and sign < 0) or (end == "largest" and sign > 0):
                assert title not in told.groups
                continue
            expected: list[int] = []
            for row in sorted(range(60), key=lambda i: (sign * array[i, column], i)):
                game = games[row] or row
                if not one_per_game or game not in [games[i] or i for i in expected]:
                    expected.append(row)
            assert told.groups[title] == expected[:6]
    top = told.tables["top"]
    assert [float(array[r, c]) for r, c in zip(top["row"], top["column"])] == list(top["value"])
    assert list(top["rank"]) == list(range(1, 7)) * len(told.groups)


def test_the_columns_that_vary_most_are_taken_or_those_named(tmp_path: Path):
    spread = np.random.default_rng(0).permutation(50)
    array = np.random.default_rng(1).standard_normal((40, 50)) * spread
    told = analyse(array, tmp_path)
    most = sorted(np.argsort(-array.var(axis=0))[:32].tolist())
    assert told.tables["columns"]["column"] == most
    assert told.tables["columns"]["variance"] == pytest.approx(array.var(axis=0)[most])
    assert "the 32 of 50 columns whose values vary most" in told.notes
    told = analyse(array, tmp_path, columns=[7, 3, 7])
    assert told.tables["columns"]["name"] == ["channel7", "channel3"]
    with pytest.raises(AnalysisError, match=r"expected columns from 0 to 49, found \[50\]"):
        analyse(array, tmp_path, columns=[1, 50])
    with pytest.raises(ValidationError):
        TopPositionsConfig(columns=(-1,))


def test_values_that_are_not_finite_are_left_out(tmp_path: Path):
    array = np.array([[np.nan, 1], [np.inf, 2], [3, -np.inf], [1, 5]])
    told = analyse(array, tmp_path)
    assert told.groups == {"channel0": [2, 3], "channel1": [3, 1, 0]}
    assert "3 of 4 rows hold values that are not finite, which are left out" in told.notes
    with pytest.raises(AnalysisError, match="expected finite values, found none"):
        analyse(np.full((4, 2), np.nan), tmp_path)


def test_a_plane_counts_by_its_strongest_point_which_is_labelled(tmp_path: Path):
    """Rows that keep all points of a board; with NaN where there is nothing."""
    array = np.random.default_rng(0).standard_normal((30, 9, 9, 4)).astype(np.float32)
    array[3, :, :, 1] = np.nan
    array[:, 0, 0, 2] = np.nan
    rows = {"board_y": [9] * 30, "board_x": [9] * 30}
    told = analyse(
        array, tmp_path, ("row", "y", "x", "channel"), rows=rows, end="both", one_per_game=False
    )
    for column in range(4):
        for title, sign in ((f"channel{column}", -1), (f"channel{column}, smallest", 1)):
            flat = (sign * array[..., column]).reshape(30, 81)
            best = np.nanmin(np.where(np.isnan(flat), np.inf, flat), axis=1)
            assert told.groups[title] == [i for i in np.argsort(best) if np.isfinite(best[i])][:12]
            name = title.replace(", ", "_")
            first = games_in(tmp_path / f"{name}.sgf")[0].get_root()
            points = np.argsort(flat[told.groups[title][0]])[:3]
            expected = {(8 - int(p) // 9, int(p) % 9): f"{i}" for i, p in enumerate(points, 1)}
            assert dict(first.get("LB")) == expected


def test_a_grid_is_no_plane_of_the_board(tmp_path: Path):
    array = np.random.default_rng(0).standard_normal((30, 2, 3, 3))
    rows = {"board_y": [9] * 30, "board_x": [9] * 30}
    told = analyse(array, tmp_path, ("row", "channel", "y", "x"), rows=rows)
    assert "channel1_y2_x0" in told.groups
    assert told.groups["channel1_y2_x0"] == np.argsort(-array[:, 1, 2, 0])[:12].tolist()
    assert "LB[" not in (tmp_path / "channel1_y2_x0.sgf").read_text()


def test_the_point_that_a_row_is_about_is_labelled_unless_it_was_turned(tmp_path: Path):
    rows = {
        "y": [0, 1, 2],
        "x": [5, 6, 7],
        "replicate": [0, 1, 2],
        "symmetry": [0, 1, 0],
        "komi_shown": [0.5, 0.5, 7.5],
    }
    analyse(np.array([[3.0], [2.0], [1.0]]), tmp_path, rows=rows)
    roots = [game.get_root() for game in games_in(tmp_path / "channel0.sgf")]
    labels = [dict(root.get("LB")) if root.has_property("LB") else {} for root in roots]
    assert labels == [{(8, 5): "1"}, {}, {(6, 7): "1"}]
    assert roots[0].get("C").startswith("channel0 = 3 at F9\na.npz:0\n")


def test_rows_without_a_board_are_named(tmp_path: Path):
    told = analyse(
        np.arange(6.0).reshape(6, 1),
        tmp_path,
        previews=lambda numbers: [PICTURE if n > 3 else None for n in numbers],
    )
    assert len(games_in(tmp_path / "channel0.sgf")) == 2
    assert any(
        "warning: 4 positions have no board" in note and "a.npz:0, a.npz:1" in note
        for note in told.notes
    )
    assert "rows say no game: at most one row of each position" in told.notes


@pytest.fixture(scope="module")
def chained(run_of: Callable[..., Run]) -> Run:
    """The stream, and its principal components."""
    pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")
    return run_of(
        analyze=[
            {"type": "top-positions", "as": "channels", "on": ["rows/net/trunk*"], "top": 3},
            {"type": "pca", "as": "pca", "on": ["rows/net/trunk*"], "components": 2},
            {"type": "top-positions", "as": "parts", "on": ["pca"], "top": 3, "end": "both"},
        ]
    )


def test_boards_in_sgf_are_those_of_the_source(chained: Run, corpus: Path):
    array = chained["rows/net/trunk_after_block1"]
    values, rows = array.numpy(), array.rows.to_pylist()
    folder = next((chained.path / "analyses" / "channels").iterdir())
    files = sorted(folder.glob("*.sgf"))
    assert len(files) == values.shape[1] == 16
    for file in files:
        column = int(file.stem.removeprefix("channel"))
        best: dict[str, int] = {}
        for row in np.argsort(-values[:, column], kind="stable").tolist():
            best.setdefault(rows[row]["game"], row)
        for game, row in zip(games_in(file), list(best.values())[:3], strict=True):
            known = rows[row]
            root = game.get_root()
            first, about, where = root.get("C").splitlines()
            assert first == f"channel{column} = {values[row, column]:.6g}"
            assert about == known["sample"]
            assert f"row {known['row']}, game {known['game']}, turn {known['turn']}" in where
            assert root.get("PL") == known["to_move"][0]
            planes = TrainingFile(corpus / known["file"]).read(known["row"], known["row"] + 1)
            own, other, last = (planes.planes[0, i] for i in (1, 2, 9))
            black, white = (own, other) if known["to_move"] == "black" else (other, own)
            found = root.get_setup_stones()
            for stones, expected in zip(found, (black, white)):
                assert {(8 - y, x) for y, x in stones} == {
                    tuple(p) for p in np.argwhere(expected).tolist()
                }
            marked = root.get("TR") if root.has_property("TR") else set()
            assert {(8 - y, x) for y, x in marked} == {tuple(p) for p in np.argwhere(last).tolist()}


def test_a_chain_ranks_what_another_analysis_found(chained: Run):
    scores = np.load(next((chained.path / "analyses" / "pca").rglob("scores.npy")))
    folder = next((chained.path / "analyses" / "parts").iterdir())
    rows = open_run(chained.path)["rows/net/trunk_after_block1"].rows["sample"].to_pylist()
    for column in range(2):
        for ending, sign in (("", -1), ("_smallest", 1)):
            game = games_in(folder / f"component{column}{ending}.sgf")[0]
            extreme = rows[int(np.argmin(sign * scores[:, column]))]
            assert game.get_root().get("C").splitlines()[1] == extreme


def test_the_report_shows_the_boards(chained: Run):
    html = (chained.path / "report.html").read_text()
    assert "channel3" in html
    assert ">smallest<" in html
    assert html.count("data:image/svg+xml") >= 9
