"""The format ``npz``: one ``.npz`` file with every array and its sample ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

import numpy as np

from actx_core.contracts import Config, Format
from actx_core.files import atomic, claim
from actx_core.formats.common import blocks, check_names, samples
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
