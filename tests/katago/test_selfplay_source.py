"""The source selfplay: rows as numpy reads them, their targets as columns, impossible rows named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actx_core import Pipeline, SourceError, open_run
from actx_core.testing import SourceTests
from actx_katago.positions.config import SelfplayConfig
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.selfplay_source import Selfplay
from actx_katago.positions.symmetry import turn, turn_back, turn_point

Write = Callable[..., dict[str, np.ndarray]]
ALL = (
    "win", "loss", "no_result", "score", "lead", "self_komi", "visits", "row_weight", "game_type",
    "policy_entropy", "policy", "ownership",
)  # fmt: skip


def selfplay(path: Path, **options: Any) -> Selfplay:
    return Selfplay(SelfplayConfig(path=path, **options))


@pytest.fixture
def folder(tmp_path: Path, mixed: list[Inputs], nine: list[Inputs], write_rows: Write) -> Path:
    """Two files: positions of several sizes in 13 x 13 tensors, and 9 x 9 ones without padding."""
    (tmp_path / "rows" / "more").mkdir(parents=True)
    write_rows(tmp_path / "rows" / "g2.npz", mixed, 13)
    write_rows(tmp_path / "rows" / "more" / "g10.npz", nine[:4], 9)
    (tmp_path / "rows" / "notes.txt").write_text("not a row")
    return tmp_path / "rows"


class TestSelfplay(SourceTests):
    @pytest.fixture
    def source(self, folder: Path) -> Selfplay:
        known = [target for target in ALL if target != "lead"]  # of which some rows have none: NaN
        return selfplay(folder, targets=known)


class TestReplicates(SourceTests):
    @pytest.fixture
    def source(self, folder: Path) -> Selfplay:
        komi = {"komi": (-3.5, 0)}
        return selfplay(folder / "more", symmetry="all", counterfactual=komi)


def test_rows_are_those_of_the_files(folder: Path, mixed: list[Inputs], nine: list[Inputs]):
    listed = selfplay(folder).listing()
    ids = [f"g2.npz:{i}" for i in range(9)] + [f"more/g10.npz:{i}" for i in range(4)]
    assert [s.id for s in listed] == ids
    for sample, board in zip(listed, [*mixed, *nine[:4]]):
        found = sample.load()
        assert np.array_equal(found.planes, board.planes)
        assert np.array_equal(found.globals, board.globals)
        assert (found.last, found.meta) == (board.last, None)
        assert (sample.columns["board_y"], sample.columns["board_x"]) == board.size


@pytest.mark.parametrize("path", ["rows/g2.npz", "rows", "rows/**/*.npz", "rows/*.npz"])
def test_a_file_a_folder_or_a_glob(folder: Path, path: str):
    found = {s.columns["file"] for s in selfplay(folder.parent / path).listing()}
    expected = {"g2.npz", "more/g10.npz"} if path in ("rows", "rows/**/*.npz") else {"g2.npz"}
    assert found == expected


def test_columns_and_targets(folder: Path, nine: list[Inputs]):
    file = folder / "more" / "g10.npz"
    arrays = np.load(file)
    targets, policy = arrays["globalTargetsNC"], arrays["policyTargetsNCMove"][:, 0].astype(float)
    listed = selfplay(file, targets=ALL).listing()
    for row, sample in enumerate(listed):
        told = sample.columns
        assert (told["file"], told["row"], told["turn"]) == ("g10.npz", row, row)
        assert told["to_move"] == ("black", "white")[row % 2]
        assert (told["win"], told["score"], told["visits"]) == (row % 2, row - 2.5, 100 + row)
        assert np.isnan(told["lead"]) if row % 2 == 0 else told["lead"] == row / 4
        share = policy[row] / policy[row].sum()
        some = share[share > 0]
        assert told["policy_pass"] == pytest.approx(share[-1])
        assert told["policy_entropy"] == pytest.approx(-(some * np.log(some)).sum(), abs=1e-6)
        h = [int(v) for v in targets[row, 41:47]]
        low, high = h[0] | h[1] << 22 | h[2] << 44, h[3] | h[4] << 22 | h[5] << 44
        assert told["game"] == f"{high:016X}{low:016X}"
        points = sample.load().points
        assert np.array_equal(points["ownership"], arrays["valueTargetsNCHW"][row, 0])
        assert np.allclose(points["policy"], share[:-1].reshape(9, 9))


def test_a_game_that_begins_in_the_encore_says_no_colour(
    tmp_path: Path, nine: list[Inputs], write_rows: Write
):
    arrays = write_rows(tmp_path / "a.npz", nine[:3], 9)
    globals_, targets = arrays["globalInputNC"].copy(), arrays["globalTargetsNC"].copy()
    globals_[1:, 12] = 1
    targets[2, 55] = 1  # the kind of such games; the second row has only come to the encore
    write_rows(tmp_path / "a.npz", nine[:3], 9, globalInputNC=globals_, globalTargetsNC=targets)
    told = [s.columns["to_move"] for s in selfplay(tmp_path).listing()]
    assert told == ["black", "white", None]


def test_a_damaged_turn_is_the_rows_own_error(
    tmp_path: Path, nine: list[Inputs], write_rows: Write
):
    targets = write_rows(tmp_path / "a.npz", nine[:3], 9)["globalTargetsNC"].copy()
    targets[1, 51] = np.nan
    write_rows(tmp_path / "a.npz", nine[:3], 9, globalTargetsNC=targets)
    first, second, _ = selfplay(tmp_path).listing()
    assert first.load().size == (9, 9)
    with pytest.raises(SourceError, match="a global target is not finite"):
        second.load()


def test_metadata_comes_along(tmp_path: Path, nine: list[Inputs], write_rows: Write):
    arrays = write_rows(tmp_path / "a.npz", nine[:3], 9, meta=True)
    found = [s.load().meta for s in selfplay(tmp_path).listing()]
    assert np.array_equal(found, arrays["metadataInputNC"])


@pytest.fixture
def bad(tmp_path: Path, nine: list[Inputs], write_rows: Write) -> Path:
    """Row 2 has stones of both players on one point."""
    boards = list(nine[:5])
    planes = boards[2].planes.copy()
    planes[2] |= planes[1]
    boards[2] = replace(boards[2], planes=planes)
    write_rows(tmp_path / "a.npz", boards, 9)
    return tmp_path / "a.npz"


def test_an_impossible_row_is_named(bad: Path):
    listed = selfplay(bad).listing()
    with pytest.raises(
        SourceError, match="row 2 cannot be a position: own and opponent stones"
    ) as error:
        listed[2].load()
    assert error.value.where == f"{bad}:2"
    assert listed[3].load().size == (9, 9)
    assert selfplay(bad, check_rows=False).listing()[2].load().planes[1:3].all(0).any()


def test_damaged_files_are_one_sample_each(folder: Path):
    (folder / "torn.npz").write_bytes((folder / "g2.npz").read_bytes()[:500])
    listed = selfplay(folder).listing()
    (torn,) = [s for s in listed if s.id == "torn.npz"]
    assert len(listed) == 14
    with pytest.raises(SourceError, match=r"expected an \.npz file"):
        torn.load()
    assert selfplay(folder).digest(torn) == ""


@pytest.mark.parametrize("path", ["nothing", "empty", "empty/*.npz"])
def test_nothing_to_read_is_said(tmp_path: Path, path: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no such file or folder|expected files ending in .npz"):
        selfplay(tmp_path / path).listing()


@pytest.mark.parametrize("symmetry", range(8))
def test_a_symmetry_turns_everything_alike(folder: Path, symmetry: int):
    plain = selfplay(folder, targets=("ownership",)).listing()
    turned = selfplay(folder, targets=("ownership",), symmetry=symmetry).listing()
    for a, b in zip(plain, turned):
        one, other = a.load(), b.load()
        assert np.array_equal(turn_back(other.planes, 1, 2, symmetry), one.planes)
        ownership = turn_back(other.points["ownership"], 0, 1, symmetry)
        assert np.array_equal(ownership, one.points["ownership"])
        if one.last:
            assert other.planes[9][other.last]


def test_the_numbering_is_that_of_the_engine():
    board = np.arange(6).reshape(2, 3)
    assert turn(board, 0, 1, 1).tolist() == [[3, 4, 5], [0, 1, 2]]  # bit 0 flips y
    assert turn(board, 0, 1, 2).tolist() == [[2, 1, 0], [5, 4, 3]]  # bit 1 flips x
    assert turn(board, 0, 1, 4).tolist() == [[0, 3], [1, 4], [2, 5]]  # bit 2 exchanges them
    assert turn(board, 0, 1, 5).tolist() == [[3, 0], [4, 1], [5, 2]]  # flips come first
    for s in range(8):
        assert turn_back(turn(board, 0, 1, s), 0, 1, s).tolist() == board.tolist()
        assert turn(board, 0, 1, s)[turn_point(1, 2, (2, 3), s)] == 5


def test_all_symmetries_are_replicates_of_a_row(folder: Path):
    listed = selfplay(folder / "more", symmetry="all").listing()
    assert [(s.id, s.replicate, s.columns["symmetry"]) for s in listed[8:16]] == [
        ("g10.npz:1", s, s) for s in range(8)
    ]
    assert len({s.load().digest() for s in listed[8:16]}) == 8


def test_counterfactuals_keep_ids_and_change_what_they_say(folder: Path):
    plain = selfplay(folder).listing()
    zero = selfplay(folder, counterfactual="zero_global").listing()
    blind = selfplay(folder, counterfactual="history_off").listing()
    assert [s.id for s in plain] == [s.id for s in zero] == [s.id for s in blind]
    for a, b, c in zip(plain, zero, blind):
        one, none, past = a.load(), b.load(), c.load()
        assert not none.globals.any()
        assert np.array_equal(none.planes, one.planes)
        assert not past.planes[9:14].any()
        assert not past.globals[:5].any()
        assert np.array_equal(past.planes[16], one.planes[14])
        same = [*range(9), 14, *range(17, 22)]
        assert np.array_equal(past.planes[same], one.planes[same])
        assert np.array_equal(past.globals[5:], one.globals[5:])
        assert past.last == one.last


def test_a_komi_sweep_is_what_the_network_would_be_told(folder: Path, play: Callable[..., Any]):
    from actx_katago.go.features import features_v7

    listed = selfplay(folder / "g2.npz", counterfactual={"komi": (-7.0, 0.0, 12.5)}).listing()
    third = [s for s in listed if s.id == "g2.npz:6"]
    assert [(s.replicate, s.columns["komi_shown"]) for s in third] == [(0, -7), (1, 0), (2, 12.5)]
    position = play(9, 9, 40, 1)[40]  # the seventh of the mixed positions
    for sample, komi in zip(third, (-7.0, 0.0, 12.5)):
        planes, globals_ = features_v7(position, self_komi=komi)
        assert np.array_equal(sample.load().planes, planes)
        assert np.array_equal(sample.load().globals, globals_)


def test_digests_say_whether_the_network_sees_the_same(
    folder: Path, tmp_path: Path, mixed: list[Inputs], write_rows: Write
):
    def digests(path: Path, **options: Any) -> list[str]:
        source = selfplay(path, **options)
        return [source.digest(sample) for sample in source.listing()]

    plain = digests(folder / "g2.npz")
    write_rows(tmp_path / "wide.npz", mixed, 19)
    assert digests(tmp_path / "wide.npz") == plain  # another padding is the same position
    assert digests(folder / "g2.npz", counterfactual="zero_global") != plain
    blind = digests(folder / "g2.npz", counterfactual="history_off")
    assert blind[0] == plain[0]  # an empty board has no past
    assert not set(blind[1:]) & set(plain[1:])
    first = mixed[0]
    sha = hashlib.sha256(f"{first.planes.shape} ".encode() + np.packbits(first.planes).tobytes())
    sha.update(first.globals.astype("<f4").tobytes())
    assert plain[0] == sha.hexdigest()


def test_a_bad_row_has_a_digest_too(bad: Path):
    source = selfplay(bad)
    assert len({source.digest(sample) for sample in source.listing()}) == 5


def test_previews_are_boards(folder: Path, bad: Path, mixed: list[Inputs]):
    first, second, missing = selfplay(folder).preview(["g2.npz:1", "g2.npz:3", "g2.npz:99"])
    assert missing is None
    assert second.data.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 50 80">')
    assert first.data.count("<circle") == mixed[1].planes[1:3].sum() + 1
    assert first.data.count("#d22") == 1
    assert selfplay(bad).preview(["a.npz:2"]) == [None]


@pytest.mark.parametrize(
    "options",
    [
        {"symmetry": 8},
        {"symmetry": "average"},
        {"counterfactual": "zero"},
        {"counterfactual": {"komi": []}},
        {"counterfactual": {"komi": [1, 1]}},
        {"counterfactual": {"komi": [200]}},
        {"targets": ["winner"]},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]):
    with pytest.raises(ValueError, match="validation error"):
        SelfplayConfig(path=Path("x"), **options)


def pipeline(folder: Path, network: Path, out: Path, **run: Any) -> Pipeline:
    return Pipeline.from_dict(
        {
            "actx": 1,
            "run": {"out": str(out), "batch_size": 4, "shard_size": 6, "device": "cpu", **run},
            "source": {
                "type": "selfplay",
                "path": str(folder),
                "targets": ["ownership", "policy", "score"],
                "as": "rows",
            },
            "model": {
                "type": "katago",
                "network": str(network),
                "as": "net",
                "taps": ["trunk_block_1"],
            },
        }
    )


def test_rows_that_are_points_carry_stones_and_targets(
    folder: Path, net: Callable[..., Path], tmp_path: Path
):
    list(pipeline(folder, net(), tmp_path / "run").run())
    array = open_run(tmp_path / "run")["rows/net/trunk_after_block1"]
    samples = {s.id: s.load() for s in selfplay(folder, targets=("ownership", "policy")).listing()}
    rows = array.rows.to_pylist()
    assert array.shape == (sum(s.planes[0].sum() for s in samples.values()), 16)
    for row in rows:
        board = samples[row["sample"]]
        at = (row["y"], row["x"])
        word = "own" if board.planes[1][at] else "opponent" if board.planes[2][at] else "empty"
        assert row["stone"] == word
        assert row["ownership"] == board.points["ownership"][at]
        assert row["policy"] == pytest.approx(board.points["policy"][at])


def test_points_can_be_kept_by_what_is_on_them(
    folder: Path, net: Callable[..., Path], tmp_path: Path
):
    spec = pipeline(folder, net(), tmp_path / "run").config.given
    list(Pipeline.from_dict({**spec, "rows": {"keep": "stone == 'own' and board_y == 9"}}).run())
    rows = open_run(tmp_path / "run")["rows/net/trunk_after_block1"].rows.to_pylist()
    boards = [s.load() for s in selfplay(folder).listing()]
    assert len(rows) == sum(b.planes[1].sum() for b in boards if b.size[0] == 9)
    assert {row["stone"] for row in rows} == {"own"}


def test_a_bad_row_stops_the_run_or_is_skipped(bad: Path, net: Callable[..., Path], tmp_path: Path):
    with pytest.raises(SourceError, match="row 2 cannot be a position"):
        list(pipeline(bad, net(), tmp_path / "run").run())
    list(pipeline(bad, net(), tmp_path / "run", on_error="skip").run())
    run = open_run(tmp_path / "run")
    assert [(s.sample, s.why.count("own and opponent")) for _, s in run.skipped] == [("a.npz:2", 1)]
    assert set(run["rows/net/trunk_after_block1"].rows["sample"].to_pylist()) == {
        f"a.npz:{i}" for i in (0, 1, 3, 4)
    }


def test_real_rows_are_good_and_the_corrupt_ones_are_found(data: Path):
    """All good files have no bad row; of the two corrupt ones most rows are."""
    found = Counter()
    for sample in selfplay(data / "selfplay").listing():
        corrupt = sample.columns["file"].startswith("corrupt")
        try:
            sample.load()
            found["good", corrupt] += 1
        except SourceError:
            found["bad", corrupt] += 1
    assert found["bad", False] == 0
    assert found["good", False] == 4946
    assert found["bad", True] > 0.6 * 1288
