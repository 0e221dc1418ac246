"""Symmetries of boards: the numbering of the engine, on any axes of any array, and in whole runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import Pipeline, open_run
from actx_katago.positions.config import SelfplayConfig
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.selfplay_source import Selfplay
from actx_katago.positions.symmetry import COUNT, turn, turn_back, turn_point

BOARD = np.arange(12).reshape(3, 4)

PYTHON = (
    lambda a: a,
    lambda a: np.rot90(a, 1),
    lambda a: np.rot90(a, 2),
    lambda a: np.rot90(a, 3),
    lambda a: a.T,
    lambda a: a[:, ::-1],
    lambda a: a[::-1, ::-1].T,
    lambda a: a[::-1],
)
"""What KataGo's Python calls symmetry 0 to 7: turned counterclockwise, transposed, flipped."""


def test_the_numbering_of_the_engine_and_of_katagos_python():
    for theirs, ours in enumerate((0, 6, 3, 5, 4, 2, 7, 1)):
        assert turn(BOARD, 0, 1, ours).tolist() == PYTHON[theirs](BOARD).tolist()


def test_inverses():
    for symmetry, inverse in enumerate((0, 1, 2, 3, 4, 6, 5, 7)):
        turned = turn(BOARD, 0, 1, symmetry)
        assert turn(turned, 0, 1, inverse).tolist() == BOARD.tolist()
        assert turn_back(turned, 0, 1, symmetry).tolist() == BOARD.tolist()


@pytest.mark.parametrize("kind", ["numpy", "torch", "array_api_strict"])
@pytest.mark.parametrize("symmetry", range(COUNT))
def test_any_axes_of_any_array(kind: str, symmetry: int):
    xp = pytest.importorskip(kind)
    array = np.random.default_rng(0).standard_normal((2, 5, 3, 4))  # y is axis 3, x axis 1
    found = np.asarray(turn(xp.asarray(array), 3, 1, symmetry))
    for i in range(2):
        for j in range(3):
            plane = array[i, :, j].T
            assert np.array_equal(found[i, :, j].T, turn(plane, 0, 1, symmetry))
    assert np.array_equal(np.asarray(turn_back(xp.asarray(found), 3, 1, symmetry)), array)


@pytest.mark.parametrize("symmetry", range(COUNT))
def test_points_go_with_the_board(symmetry: int):
    turned = turn(BOARD, 0, 1, symmetry)
    for y in range(3):
        for x in range(4):
            assert turned[turn_point(y, x, (3, 4), symmetry)] == BOARD[y, x]


@pytest.fixture
def rows(tmp_path: Path, mixed: list[Inputs], write_rows: Callable[..., Any]) -> Path:
    """A rectangle among them."""
    write_rows(tmp_path / "rows.npz", [mixed[3], mixed[1], mixed[6]], 19)
    return tmp_path / "rows.npz"


def run(folder: Path, network: Path, rows: Path, of_model: dict[str, Any], **source: Any) -> Any:
    spec = {
        "actx": 1,
        "run": {"out": str(folder), "batch_size": 4, "device": "cpu"},
        "source": {"type": "selfplay", "path": str(rows), "as": "rows", **source},
        "model": {
            "type": "katago",
            "network": str(network),
            "as": "net",
            "taps": ["trunk_after_block1", "value"],
            **of_model,
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
    }
    list(Pipeline.from_dict(spec).run())
    return open_run(folder)


def test_the_average_is_the_mean_over_eight_replicates(
    tmp_path: Path, rows: Path, net: Callable[..., Path]
):
    each = run(tmp_path / "all", net(), rows, {}, symmetry="all")
    average = run(tmp_path / "average", net(), rows, {"symmetry": "average"})
    for tap in ("trunk_after_block1", "value"):
        replicates = each[f"rows/net/{tap}"].replicates()
        assert replicates.shape[:2] == (3, 8)
        assert np.ptp(replicates.numpy(), axis=1).max() > 1e-3
        means = replicates.numpy().mean(1)
        assert np.allclose(average[f"rows/net/{tap}"].numpy(), means, atol=1e-5)


@pytest.mark.parametrize("symmetry", [0, 5, 6])
def test_rows_tell_the_board_as_it_was_shown(
    tmp_path: Path, rows: Path, net: Callable[..., Path], symmetry: int
):
    """Coordinates and sizes of points are those of the turned board."""
    whole = run(tmp_path / "run", net(), rows, {"tap": [{"match": ["trunk.final"], "pool": []}]},
                symmetry=symmetry, targets=["ownership"])  # fmt: skip
    told = whole["rows/net/trunk.final"].rows.to_pylist()
    source = Selfplay(SelfplayConfig(path=rows, targets=("ownership",)))
    for sample in source.listing():
        inputs = sample.load()
        seen = {(row["y"], row["x"]): row for row in told if row["sample"] == sample.id}
        assert len(seen) == inputs.planes[0].sum()
        for y, x in np.argwhere(inputs.planes[0]).tolist():
            row = seen[turn_point(y, x, inputs.size, symmetry)]
            assert row["ownership"] == inputs.points["ownership"][y, x]
            assert (row["stone"] == "own") == inputs.planes[1, y, x]
