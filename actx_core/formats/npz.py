"""The format ``npz``: one ``.npz`` file with every array and its sample ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np

from actx_core.contracts import Config, Format, Input
from actx_core.files import atomic, claim, damaged, sha256_file
from actx_core.formats.common import bare, blocks, check_names, samples
from actx_core.stores.npy import npy_header
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    from actx_core.results import Run

ROWS = ".sample"
"""Ending of the array that tells the sample of each row."""


class Npz(Format[Config]):
    """Arrays ``source/model/tap``, and ``source/model/tap.sample``: the sample id of each row."""

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        taps = {name: run[name] for name in run.arrays}
        ids = {name: np.array(samples(tap), np.str_) for name, tap in taps.items()}
        check_names([*taps, *(f"{name}{ROWS}" for name in taps)])
        payload = sum(array.nbytes for array in ids.values())
        payload += sum(math.prod(tap.shape) * tap.dtype.itemsize for tap in taps.values())
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, temporary.open("wb") as file:
            claim(file, payload)
            with ZipFile(file, "w") as archive:
                for name, tap in taps.items():
                    _add(archive, name, tap.shape, tap.dtype, blocks(tap))
                    _add(archive, f"{name}{ROWS}", ids[name].shape, ids[name].dtype, [ids[name]])
            file.truncate(file.tell())
        return [path]

    def knows(self, path: Path) -> bool:
        return path.suffix == ".npz" and path.is_file()

    def read(self, path: Path) -> Sequence[Input]:
        try:
            with ZipFile(path) as archive:
                names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
                heads = {name: _head(archive, name) for name in names}
        except (BadZipFile, ValueError, OSError) as error:
            raise damaged(path, f"expected arrays in a zip archive: {error}") from error
        digest = sha256_file(path)
        found = []
        for name, (shape, dtype) in heads.items():
            if dtype.kind in "fiub" and shape:
                own = f"{name}{ROWS}"
                ids = _Member(path, own, *heads[own])[:].tolist() if own in heads else None
                found.append(bare(name, _Member(path, name, shape, dtype), digest, ids))
        return found


class _Member:
    """An array of an archive, read when it is first asked."""

    def __init__(
        self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]
    ) -> None:
        self._path, self._name = path, name
        self.shape, self.dtype = shape, dtype

    @cached_property
    def _array(self) -> np.ndarray:
        with np.load(self._path, allow_pickle=False) as archive:
            return np.asarray(archive[self._name])

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.asarray(self._array[rows])


def _head(archive: ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and dtype of a member."""
    with archive.open(f"{name}.npy") as file:
        major, _ = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if major == 1
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return shape, dtype


def _add(
    archive: ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    parts: Iterable[np.ndarray],
) -> None:
    entry = ZipInfo(f"{name}.npy")  # of 1980: the same run gives the same bytes
    with archive.open(entry, "w", force_zip64=True) as file:
        file.write(npy_header(shape, dtype))
        for part in parts:
            write_payload(file, part)
