"""Training files: decoding, what is refused, and the rows that cannot be positions."""

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from actx_core import SourceError
from actx_katago.go.board import bits
from actx_katago.go.features import features_v7
from actx_katago.go.npz import (
    BINARY,
    GLOBAL,
    META,
    POLICY,
    Q_VALUES,
    SCORES,
    TARGETS,
    VALUES,
    TrainingFile,
)
from actx_katago.go.position import Position
from actx_katago.go.rules import Rules
from actx_katago.go.validate import validate_rows

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "katago"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the KataGo data")
SIZES = [(9, 9), (7, 9), (9, 5), (6, 6)]


def positions(rows, seed=0):
    """Positions of random games on boards of four sizes."""
    rng, found = random.Random(seed), []
    while len(found) < rows:
        position = Position.start(*SIZES[len(found) % 4], Rules())
        for _ in range(rng.randrange(40)):
            legal = [p for p in bits(position.board.empty) if position.legal(p)]
            position = position.play(rng.choice(legal))
        found.append(position)
    return found


def make_arrays(found, side=9, width=64):
    """What KataGo would write of these positions, with made-up targets."""
    rng = np.random.default_rng(0)
    rows = len(found)
    planes, values = zip(*(features_v7(position, side) for position in found))
    planes, on_board = np.array(planes), np.array(planes)[:, 0]
    empty = on_board & ~planes[:, 1:3].any(axis=1) & ~planes[:, 6]
    policy = rng.integers(0, 300, (rows, 2, side * side + 1)).astype("i2")
    policy[:, :, :-1] *= empty.reshape(rows, 1, -1)
    targets = np.zeros((rows, width), "f4")
    targets[:, 25:30] = 1
    targets[:, 0] = 1
    targets[:, 20:22] = rng.normal(0, 10, (rows, 2))
    targets[:, 41:47] = np.arange(rows)[:, None] + np.arange(6)
    targets[:, 47] = [position.self_komi() for position in found]
    targets[:, 51] = [position.turn for position in found]
    targets[:, 60] = 100
    owner = rng.integers(-1, 2, (rows, 5, side, side)).astype("i1") * on_board[:, None]
    return {
        BINARY: np.packbits(planes.reshape(rows, 22, -1), axis=2),
        GLOBAL: np.array(values),
        POLICY: policy,
        TARGETS: targets,
        SCORES: np.zeros((rows, 2 * side * side + 120), "i1"),
        VALUES: owner,
        Q_VALUES: np.zeros((rows, 3, side * side + 1), "i2"),
    }


def write(path, arrays, suffix=".npy", compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(name + suffix, "w") as entry:
                np.lib.format.write_array(entry, array)
    return path


@pytest.fixture(scope="module")
def found():
    return positions(40)


@pytest.fixture(scope="module")
def made(found):
    return make_arrays(found)


@pytest.mark.parametrize("suffix", ["", ".npy"])
@pytest.mark.parametrize("width", [64, 80])
@pytest.mark.parametrize("side", [9, 19])
def test_rows_are_what_was_written(tmp_path, found, suffix, width, side):
    arrays = make_arrays(found, side, width)
    file = TrainingFile(write(tmp_path / "rows.npz", arrays, suffix))
    assert (file.rows, file.board_len) == (40, side)
    rows = file.read()
    assert rows.planes.shape == (40, 22, side, side)
    assert rows.meta is None
    for i, position in enumerate(found):
        planes, values = features_v7(position, side)
        np.testing.assert_array_equal(rows.planes[i], planes)
        np.testing.assert_array_equal(rows.globals[i], values)
        assert (rows.width[i], rows.height[i]) == SIZES[i % 4]
        assert file.column("turn")[i] == position.turn
        assert file.to_move[i] == position.to_move
        assert file.column("self_komi")[i] == position.self_komi()
    part = file.read(5, 9)
    np.testing.assert_array_equal(part.planes, rows.planes[5:9])
    np.testing.assert_array_equal(part.globals, rows.globals[5:9])
    assert validate_rows(file) == []


def test_targets_are_unknown_where_their_weight_is_zero(tmp_path, made):
    arrays = {name: array.copy() for name, array in made.items()}
    arrays[TARGETS][3, 27] = arrays[TARGETS][4, 29] = 0
    arrays[POLICY][5] = 0
    file = TrainingFile(write(tmp_path / "rows.npz", arrays))
    score, lead = file.column("score"), file.column("lead")
    assert np.flatnonzero(np.isnan(score)).tolist() == [3]
    assert np.flatnonzero(np.isnan(lead)).tolist() == [4]
    assert score[0] == made[TARGETS][0, 20]
    assert lead[0] == made[TARGETS][0, 21]
    owner = file.ownership()
    assert np.isnan(owner[3]).all()
    np.testing.assert_array_equal(owner[0], made[VALUES][0, 0])
    policy = file.policy()
    assert np.isnan(policy[5]).all()
    np.testing.assert_allclose(policy[0].sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(policy[0], made[POLICY][0, 0] / made[POLICY][0, 0].sum(), rtol=1e-6)


def test_optional_arrays_may_be_missing_or_there(tmp_path, made):
    few = {name: made[name] for name in (BINARY, GLOBAL, POLICY, TARGETS)}
    file = TrainingFile(write(tmp_path / "few.npz", few))
    assert file.ownership() is None
    assert validate_rows(file) == []
    meta = np.random.default_rng(1).normal(size=(40, 192)).astype("f4")
    file = TrainingFile(write(tmp_path / "meta.npz", few | {META: meta}))
    np.testing.assert_array_equal(file.read(2, 7).meta, meta[2:7])


def test_arrays_of_other_tools_are_left_alone(tmp_path, made):
    more = {"pos_len": np.array(9), "notes": np.array([{}], object)}
    write(tmp_path / "rows.npz", made)
    with zipfile.ZipFile(tmp_path / "rows.npz", "a") as archive:
        for name, array in more.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, array, allow_pickle=True)
    assert set(TrainingFile(tmp_path / "rows.npz").names) == set(made)


def test_the_game_hash_is_read_as_in_the_record(tmp_path, made):
    arrays = {name: array[:1].copy() for name, array in made.items()}
    low, high = 0xC04C42AC6A8E3B52, 0xD2A7F426587598A7
    for place, half in ((41, low), (44, high)):
        parts = half & (1 << 22) - 1, half >> 22 & (1 << 22) - 1, half >> 44
        arrays[TARGETS][0, place : place + 3] = parts
    file = TrainingFile(write(tmp_path / "rows.npz", arrays))
    assert file.hashes == ["D2A7F426587598A7C04C42AC6A8E3B52"]


def damaged(name):
    def change(path, arrays):
        array = arrays[name]
        write(path, arrays | {name: array[:-1] if name != BINARY else array[:, :, :-1]})

    return change


def no_npz(path, arrays):
    path.write_bytes(b"PK\x03\x04 nothing of the kind")


def truncated(path, arrays):
    write(path, arrays)
    path.write_bytes(path.read_bytes()[:-2000])


def bits_changed(path, arrays):
    write(path, arrays)
    data = bytearray(path.read_bytes())
    data[300:340] = bytes(40)
    path.write_bytes(data)


def boundless(path, arrays):
    """A header that claims 2 TB."""
    header = b"\x93NUMPY\x01\x00v\x00" + (
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 512), }".ljust(117) + b"\n"
    )
    write(path, arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metadataInputNC.npy", header + bytes(100))


def a_pickle(path, arrays):
    write(path, arrays)
    with zipfile.ZipFile(path, "a") as archive, archive.open("metadataInputNC.npy", "w") as entry:
        np.lib.format.write_array(entry, np.array([{}], object), allow_pickle=True)


def wrong_type(path, arrays):
    write(path, arrays | {GLOBAL: arrays[GLOBAL].astype("f8")})


def without(path, arrays):
    write(path, {name: array for name, array in arrays.items() if name != POLICY})


def wrong_width(path, arrays):
    write(path, arrays | {TARGETS: np.zeros((40, 65), "f4")})


def no_square(path, arrays):
    write(path, arrays | {POLICY: arrays[POLICY][:, :, :-1]})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            damaged(GLOBAL),
            r"expected globalInputNC as float32 \(40, 19\), found float32 \(39, 19\)",
        ),
        (damaged(BINARY), r"expected binaryInputNCHWPacked as uint8 \(40, 22, 11\)"),
        (damaged(VALUES), r"expected valueTargetsNCHW as int8 \(40, 5, 9, 9\)"),
        (wrong_type, r"expected globalInputNC as float32 .* found float64"),
        (wrong_width, r"found float32 \(40, 65\)"),
        (no_square, "expected a policy over a square of points and pass, found 81"),
        (without, "expected the array policyTargetsNCMove, found binaryInput"),
        (no_npz, "expected an .npz file, found "),
        (truncated, "expected an .npz file, found "),
        (boundless, "expected 2048000000128 bytes of metadataInputNC.npy, found other data"),
        (a_pickle, "expected an .npz file, found an array of object"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, made, make, says):
    make(tmp_path / "rows.npz", made)
    with pytest.raises(SourceError, match=says) as caught:
        TrainingFile(tmp_path / "rows.npz")
    assert caught.value.where == str(tmp_path / "rows.npz")
    assert "\n" not in caught.value.message


def test_damage_inside_an_array_is_found_when_it_is_read(tmp_path, made):
    bits_changed(tmp_path / "rows.npz", made)
    with pytest.raises(SourceError, match="found"):
        TrainingFile(tmp_path / "rows.npz").read()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        TrainingFile(tmp_path / "nothing.npz")


def test_opening_reads_no_payload(tmp_path, made, monkeypatch):
    path = write(tmp_path / "rows.npz", made)
    monkeypatch.setattr(np.lib.format, "read_array", None)
    assert TrainingFile(path).rows == 40


# -- rows that cannot be ---------------------------------------------------------------------------


def spoil(
    arrays,
    row,
    plane=None,
    point=None,
    value=True,
    values=None,
    targets=None,
    policy=None,
    owner=None,
):
    """A copy of the arrays where one thing about one row is changed."""
    new = {name: array.copy() for name, array in arrays.items()}
    if plane is not None:
        planes = np.unpackbits(new[BINARY], axis=2, count=81).reshape(-1, 22, 9, 9)
        planes[(row, plane, *point)] = value
        new[BINARY] = np.packbits(planes.reshape(len(planes), 22, -1), axis=2)
    for name, change in ((GLOBAL, values), (TARGETS, targets), (POLICY, policy), (VALUES, owner)):
        for place, number in (change or {}).items():
            new[name][(row, *np.atleast_1d(place))] = number
    return new


def first(planes, row, *which):
    """A point of the row where the given planes are set."""
    return tuple(np.argwhere(np.logical_and.reduce([planes[row, p] for p in which]))[0])


def test_every_kind_of_impossible_row_is_named(tmp_path, made, found):
    planes = np.array([features_v7(position, 9)[0] for position in found])
    row = max(range(40), key=lambda i: found[i].turn if SIZES[i % 4] == (7, 9) else 0)
    own, opponent = first(planes, row, 1), first(planes, row, 2)
    free = tuple(np.argwhere(planes[row, 0] & ~planes[row, 1:3].any(axis=0))[0])
    flat = own[0] * 9 + own[1]
    cases = {
        "own and opponent stones on one point": spoil(made, row, 2, own),
        "a plane is set off the board": spoil(made, row, 1, (0, 8)),
        "the board is no rectangle in the upper left corner": spoil(made, row, 0, (4, 4), False),
        "the planes of liberties do not fit the stones": spoil(made, row, 3, free),
        "two places for one past move": spoil(made, row, 10, free),
        "the last move is not on the board": spoil(
            made, row, 2, first(planes, row, 9), False, values={8: 0}
        ),
        "a ko on a stone": spoil(made, row, 6, own),
        "a ladder without stones": spoil(made, row, 14, free),
        "a ladder move on a stone": spoil(made, row, 17, opponent),
        "one point in both players' area": spoil(made, row, 19, first(planes, row, 18)),
        "area under territory scoring": spoil(made, row, values={9: 1}),
        "planes of the encore in the main phase": spoil(made, row, 20, free),
        "a global input is not finite": spoil(made, row, values={5: np.nan}),
        "a global switch is neither 0 nor 1": spoil(made, row, values={0: 6.5}),
        "a komi beyond the board": spoil(made, row, values={5: 6.0}),
        "globals 6 and 7 are no ko rule": spoil(made, row, values={7: 0.25}),
        "a parity wave beyond 0.5": spoil(made, row, values={18: 0.75}),
        "a global target is not finite": spoil(made, row, targets={20: np.inf}),
        "a policy target is negative": spoil(made, row, policy={(0, 81): -5}),
        "a policy target off the board": spoil(made, row, policy={(1, 8): 5}),
        "a policy target on a stone": spoil(made, row, policy={(0, flat): 5}),
        "ownership off the board": spoil(made, row, owner={(0, 0, 8): 1}),
        "ownership beyond 1": spoil(made, row, owner={(0, 0, 0): 120}),
    }
    for reason, arrays in cases.items():
        bad = validate_rows(TrainingFile(write(tmp_path / "rows.npz", arrays)))
        assert [found.row for found in bad] == [row], reason
        assert reason in bad[0].reason


def test_a_chain_without_liberties_is_named(tmp_path, made):
    planes = np.zeros((40, 22, 9, 9), np.uint8)
    planes[:, 0] = planes[:, 1] = 1
    planes[:, 18] = 1
    arrays = made | {
        BINARY: np.packbits(planes.reshape(40, 22, -1), axis=2),
        POLICY: np.zeros_like(made[POLICY]),
        VALUES: np.zeros_like(made[VALUES]),
    }
    bad = validate_rows(TrainingFile(write(tmp_path / "rows.npz", arrays)))
    assert [found.reason for found in bad] == ["a chain without liberties"] * 40


def test_a_bad_row_spoils_its_game_and_ranges_are_cut(tmp_path, made):
    arrays = spoil(made, 7, values={5: np.nan})
    arrays[TARGETS][20, 41:47] = arrays[TARGETS][7, 41:47]
    file = TrainingFile(write(tmp_path / "rows.npz", arrays))
    assert [(bad.row, bad.reason) for bad in validate_rows(file)] == [
        (7, "a global input is not finite"),
        (20, "other rows of its game are impossible"),
    ]
    assert [bad.row for bad in validate_rows(file, 10)] == [20]
    assert [bad.row for bad in validate_rows(file, 0, 10)] == [7]
    assert validate_rows(file, 8, 20) == []


@needs_data
def test_the_validator_finds_the_corrupt_files_and_no_good_row():
    flagged, overlaps = {}, 0
    for path in sorted((DATA / "selfplay").rglob("*.npz")):
        file = TrainingFile(path)
        bad = validate_rows(file)
        if path.parent.name != "corrupt":
            assert bad == [], path
            continue
        flagged[path.stem] = (len(bad), file.rows)
        overlaps += sum("own and opponent stones" in row.reason for row in bad)
        assert all(row.reason for row in bad)
        # What is left are rows of true 7x7 games: a larger board spills stones onto A7 and B7.
        spilled = file.planes()[:, 1, 0, :2].all(axis=1)
        good = sorted(set(range(file.rows)) - {row.row for row in bad})
        assert not spilled[good].any()
    assert flagged == {"1F79E0BC9A425DD9": (264, 288), "4A3919085F2F7840": (994, 1000)}
    assert 0.67 < overlaps / 1288 < 0.74


@needs_data
def test_real_files_are_decoded_as_with_numpy_alone():
    for path in sorted((DATA / "selfplay").rglob("*.npz")):
        file, plain = TrainingFile(path), np.load(path)
        rows, side = file.read(), file.board_len
        count = len(plain[GLOBAL])
        assert file.rows == count
        expected = np.unpackbits(plain[BINARY], axis=2)[:, :, : side * side].reshape(
            count, 22, side, side
        )
        np.testing.assert_array_equal(rows.planes, expected)
        np.testing.assert_array_equal(rows.globals, plain[GLOBAL])
        np.testing.assert_array_equal(file.column("turn"), plain[TARGETS][:, 51])
        known = plain[TARGETS][:, 27] > 0
        np.testing.assert_array_equal(file.column("score")[known], plain[TARGETS][known, 20])
        np.testing.assert_array_equal(file.ownership()[known], plain[VALUES][known, 0])
