"""KataGo's self-play and training rows: ``.npz`` files read lazily and decoded as whole arrays.

Formats 2 and 3 (64 and 80 global targets). Everything in a row is seen from the player to move; which
colour that is stands nowhere in the file. Source: KataGo's description of its training data.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core import SourceError
from actx_katago.go.features import GLOBALS, PLANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINARY, GLOBAL, POLICY = "binaryInputNCHWPacked", "globalInputNC", "policyTargetsNCMove"
TARGETS, VALUES, META = "globalTargetsNC", "valueTargetsNCHW", "metadataInputNC"
Q_VALUES, SCORES = "qValueTargetsNCMove", "scoreDistrN"

REQUIRED = {BINARY: "u1", GLOBAL: "f4", POLICY: "i2", TARGETS: "f4"}
OPTIONAL = {VALUES: "i1", SCORES: "i1", Q_VALUES: "i2", META: "f4"}

TARGET_WIDTHS = (64, 80)
META_WIDTH = 192
MAX_LEN = 19
_MAX_RATIO = 1100
"""No deflated entry holds more than this for each of its bytes."""

COLUMNS = {
    "win": 0,
    "loss": 1,
    "no_result": 2,
    "row_weight": 25,
    "policy_weight": 26,
    "self_komi": 47,
    "turn": 51,
    "first_turn": 52,
    "game_type": 55,
    "visits": 60,
}
"""Global targets that hold for every row, by their place in ``globalTargetsNC``."""

WEIGHTED = {"score": (20, 27), "lead": (21, 29)}
"""Global targets that are known only where their weight (second place) is not zero."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Decoded rows of one file; the first axis of every array is the row.

    ``planes`` (N, 22, L, L) bool, ``globals`` (N, 19) float32, ``meta`` (N, 192) float32 or None;
    ``width`` and ``height`` of each row's board, int64, which lies in the upper left corner.
    """

    planes: NDArray[np.bool_]
    globals: NDArray[np.float32]
    meta: NDArray[np.float32] | None
    width: NDArray[np.int64]
    height: NDArray[np.int64]


class TrainingFile:
    """One ``.npz`` of KataGo's. Opening it reads only headers; arrays are read when they are asked for.

    ``rows`` is their number N, ``board_len`` the side L of the tensors. Raises SourceError naming the
    file for one that is damaged, claims more than it holds, or is no training file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._headers = self._read_headers()
        for name in REQUIRED:
            if name not in self._headers:
                raise self._error(
                    f"expected the array {name}, found {', '.join(self._headers) or 'none'}"
                )
        self.rows: int = self._headers[BINARY][0][0]
        self.impossible: dict[int, str] | None = None
        """What is wrong with which rows, once ``validate_rows`` has looked."""
        self.board_len = self._board_len()
        self._check_shapes()

    @property
    def names(self) -> tuple[str, ...]:
        """KataGo's arrays in the file; others are never read."""
        return tuple(self._headers)

    def _error(self, message: str) -> SourceError:
        hint = "this is no training file of KataGo's, or it is damaged: take it out"
        return SourceError(message, where=str(self.path), hint=hint)

    def _read_headers(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any], str]]:
        """Shape, type and zip entry of every array we know; names with and without ``.npy``."""
        headers = {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for info in archive.infolist():
                    name = info.filename.removesuffix(".npy")
                    if name not in REQUIRED | OPTIONAL:
                        continue
                    with archive.open(info) as entry:
                        shape, dtype = _npy_header(entry)
                        size = prod(shape) * dtype.itemsize + entry.tell()
                    if size != info.file_size or size > _MAX_RATIO * info.compress_size + 4096:
                        raise self._error(
                            f"expected {size} bytes of {info.filename}, found other data"
                        )
                    headers[name] = shape, dtype, info.filename
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
            raise self._error(f"expected an .npz file, found {_short(error)}") from error
        return headers

    def _board_len(self) -> int:
        points = self._headers[POLICY][0][-1] - 1
        side = int(max(points, 0) ** 0.5)
        if side * side != points or not 2 <= side <= MAX_LEN:
            raise self._error(
                f"expected a policy over a square of points and pass, found {points + 1}"
            )
        return side

    def _check_shapes(self) -> None:
        rows, side = self.rows, self.board_len
        expected: Mapping[str, tuple[Any, ...]] = {
            BINARY: (rows, len(PLANES), -(-side * side // 8)),
            GLOBAL: (rows, len(GLOBALS)),
            POLICY: (rows, 2, side * side + 1),
            TARGETS: (rows, TARGET_WIDTHS),
            VALUES: (rows, 5, side, side),
            SCORES: (rows, 2 * side * side + 120),
            Q_VALUES: (rows, 3, side * side + 1),
            META: (rows, META_WIDTH),
        }
        for name, kind in (REQUIRED | OPTIONAL).items():
            if name not in self._headers:
                continue
            shape, dtype, _ = self._headers[name]
            fits = len(shape) == len(expected[name]) and all(
                n in want if isinstance(want, tuple) else n == want
                for n, want in zip(shape, expected[name], strict=True)
            )
            if not fits or dtype.newbyteorder("=") != np.dtype(kind):
                raise self._error(
                    f"expected {name} as {np.dtype(kind)} {expected[name]}, found {dtype} {shape}"
                )

    def array(self, name: str) -> NDArray[Any]:
        """One array as it is stored; kept. Raises SourceError where it cannot be read."""
        if name not in self._arrays:
            entry = self._headers[name][2]
            try:
                with zipfile.ZipFile(self.path) as archive, archive.open(entry) as stream:
                    self._arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
            except OSError as error:
                raise self._error(f"cannot be read: {error.strerror or error}") from error
            except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError) as error:
                raise self._error(f"expected {name}, found {_short(error)}") from error
        return self._arrays[name]

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def read(self, start: int = 0, stop: int | None = None) -> Rows:
        """Network inputs of a range of rows."""
        planes = self.planes(start, stop)
        meta = self.array(META)[start:stop] if META in self._headers else None
        inputs = np.asarray(self.array(GLOBAL)[start:stop], np.float32)
        width, height = board_sizes(planes[:, 0])
        return Rows(planes, inputs, meta, width, height)

    def planes(self, start: int = 0, stop: int | None = None) -> NDArray[np.bool_]:
        """The 22 planes (N, 22, L, L) of a range of rows."""
        side = self.board_len
        packed = self.array(BINARY)[start:stop]
        flat = np.unpackbits(packed, axis=2, count=side * side)
        return flat.view(np.bool_).reshape(len(packed), len(PLANES), side, side)

    def column(self, name: str) -> NDArray[np.float32]:
        """A global target of every row (N,), float32; NaN where the row does not know it.

        ``win, loss, no_result`` add up to 1; ``score`` and ``lead`` are points, ``self_komi`` is what the
        network was told; ``turn`` counts moves, ``visits`` those of the search.
        """
        targets = self.array(TARGETS)
        if name in COLUMNS:
            return np.asarray(targets[:, COLUMNS[name]], np.float32)
        value, weight = WEIGHTED[name]
        return np.where(targets[:, weight] > 0, targets[:, value], np.float32(np.nan))

    @cached_property
    def to_move(self) -> NDArray[np.int64]:
        """Whose move it is (N,): 1 Black, 2 White, by the parity of the turn; 0 where that says nothing.

        The file does not tell: self-play begins with Black, but for games of type 1, which begin in the
        encore. Handicap stones are set up before turn 0.
        """
        return np.where(self.column("game_type") == 1, 0, 1 + self.turns % 2)

    @cached_property
    def turns(self) -> NDArray[np.int64]:
        """How many moves were played before each row (N,); meaningless in rows that are damaged."""
        with np.errstate(invalid="ignore"):
            return self.column("turn").astype(np.int64)

    def ownership(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32] | None:
        """Who owned each point in the end (N, L, L): 1 the player to move, -1 the other; NaN where unknown.

        None where the file has no such array. Points off the board are 0.
        """
        if VALUES not in self._headers:
            return None
        owner = self.array(VALUES)[start:stop, 0].astype(np.float32)
        owner[self.array(TARGETS)[start:stop, 27] <= 0] = np.nan
        return owner

    def policy(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The search's policy (N, L*L + 1), pass last, as shares of the visits; NaN where there is none."""
        visits = self.array(POLICY)[start:stop, 0].astype(np.float32)
        with np.errstate(invalid="ignore"):
            shares: NDArray[np.float32] = visits / visits.sum(axis=1, keepdims=True)
        return shares

    @cached_property
    def hashes(self) -> list[str]:
        """Each row's game as 32 hexadecimal digits, as in the ``gameHash`` of its SGF."""
        low = np.asarray(self.array(TARGETS)[:, 41:47], np.float64)
        if not np.all((low >= 0) & (low < 1 << 22)):
            return [""] * self.rows
        parts = low.astype(np.uint64)
        shifts = np.array([0, 22, 44], np.uint64)
        h0 = np.bitwise_or.reduce(parts[:, :3] << shifts, axis=1)
        h1 = np.bitwise_or.reduce(parts[:, 3:] << shifts, axis=1)
        return [f"{b:016X}{a:016X}" for a, b in zip(h0.tolist(), h1.tolist(), strict=True)]


def board_sizes(on_board: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Width and height of boards from plane 0 (N, L, L): how far the first row and column reach."""
    return on_board[:, 0, :].sum(axis=1), on_board[:, :, 0].sum(axis=1)


def _npy_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of the .npy format")
    if dtype.hasobject or fortran or not shape or min(shape) < 0:
        raise ValueError(f"an array of {dtype} {shape}")
    return shape, dtype


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]
