"""From self-play rows to parts: NMF of a Go network's trunk, each part with the boards that show it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

pytest.importorskip("actx_katago", reason="needs the plugin actx-katago")
pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")

from actx_core import open_run
from actx_core.cli.group import actx
from actx_katago.positions.picture import draw_board
from tests.end_to_end.selfplay import DATA

K = 4
PIPELINE = f"""
actx = 1
run = {{ out = "runs/parts", device = "cpu" }}
source = {{ type = "selfplay", path = "selfplay_out", limit = 200 }}
model = {{ type = "katago", network = "net.bin.gz", as = "net", taps = ["trunk_block_1"] }}
pool = {{ type = "mean", over = ["y", "x"] }}
[[analyze]]
type = "nmf"
as = "parts"
components = {K}
negative = "split"
"""


def board(folder: Path, row: dict[str, object]) -> str:
    """The picture of a row, from its file."""
    with np.load(folder / str(row["file"])) as file:
        packed = file["binaryInputNCHWPacked"][row["row"]]
    planes = np.unpackbits(packed, axis=1)[:, :81].reshape(22, 9, 9)
    own, other = planes[1], planes[2]
    black, white = (other, own) if row["to_move"] == "white" else (own, other)
    moved = np.argwhere(planes[9])
    return draw_board(black, white, tuple(moved[0].tolist()) if len(moved) else None)


@pytest.mark.parametrize("make", DATA.values(), ids=DATA)
def test_parts_of_a_trunk_with_boards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text(PIPELINE)
    done = CliRunner().invoke(actx, ["run", "pipeline.toml"])
    assert done.exit_code == 0, done.output
    run = tmp_path / "runs" / "parts"
    array = open_run(run)["selfplay_out/net/trunk_after_block1"]
    values = array.numpy().astype(np.float64)
    (path,) = (run / "analyses" / "parts").glob("*/result.json")
    about = json.loads(path.read_text("utf-8"))

    # the rows are about their weights times the parts, as the result says
    weights, positive, negative = (
        np.load(path.with_name(f"{name}_k{K}.npy"))
        for name in ("weights", "parts", "negative_parts")
    )
    assert min(weights.min(), positive.min(), negative.min()) >= 0
    halves = np.hstack([np.maximum(values, 0), np.maximum(-values, 0)])
    rest = halves - weights @ np.hstack([positive, negative])
    error = np.linalg.norm(rest) / np.linalg.norm(halves)
    (fit,) = pq.read_table(path.with_name("fits.parquet")).to_pylist()
    assert fit["error"] == pytest.approx(error, rel=1e-4)
    assert fit["r2"] > 0.5

    # each part is shown by the boards of the rows that have most of it
    page = (run / "report.html").read_text("utf-8")
    lines = array.rows.to_pylist()
    assert len(about["groups"]) == K
    for part, (title, rows) in enumerate(about["groups"].items()):
        assert title.startswith(f"part {part} (")
        assert weights[rows, part].tolist() == np.sort(weights[:, part])[::-1][: len(rows)].tolist()
        for row in rows:
            picture = board(tmp_path / "selfplay_out", lines[row])
            assert b64encode(picture.encode()).decode() in page
