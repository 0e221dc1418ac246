"""Exports of a run that any tool reads: one HDF5 file or one .npz with all arrays and their sample ids.

Both are written in blocks beside the target on claimed space, and renamed; bfloat16 becomes float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile, ZipInfo

import numpy as np

from actx_core.contracts import Config, Format
from actx_core.errors import StoreError
from actx_core.files import atomic, claim
from actx_core.stores.npy import npy_header
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    from actx_core.results import Run, TapArray

ROWS = ".sample"
"""Ending of the array that tells the sample of each row."""


class Hdf5File(Format[Config]):
    """Datasets ``/source/model/tap``, with their ``axes``, and ``/source/samples``: ids in order.

    Where the rows of a tap are not one per sample, ``/source/model/tap.sample`` holds for each row the
    position of its sample in ``/source/samples``.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        from actx_core.stores.hdf5 import Dataset, Layout

        taps = {name: run[name] for name in run.arrays}
        ids = _ids(taps)
        datasets = {name: Dataset(array.shape, array.dtype) for name, array in ids}
        content: dict[str, Iterable[np.ndarray]] = {name: [array] for name, array in ids}
        for name, tap in taps.items():
            datasets[name] = Dataset(tap.shape, tap.dtype, {"axes": tap.axes})
            content[name] = _blocks(tap)
        _check_names([name for name, _ in ids] + list(taps))
        layout = Layout.of(datasets)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, layout.create(temporary) as file:
            for name, blocks in content.items():
                file.seek(layout.offsets[name])
                for block in blocks:
                    write_payload(file, block)
        return [path]


def _ids(taps: Mapping[str, TapArray]) -> list[tuple[str, np.ndarray]]:
    """Arrays of each source's sample ids (UTF-8), and of the rows' positions where they are needed."""
    import h5py

    positions: dict[str, dict[str, int]] = {}
    rows: list[tuple[str, np.ndarray]] = []
    for name, tap in taps.items():
        known = positions.setdefault(tap.spec.source, {})
        places = [known.setdefault(sample, len(known)) for sample in _samples(tap)]
        rows.append((name, np.array(places, np.int64)))
    ids = []
    for source, known in positions.items():
        texts = [sample.encode() for sample in known]
        dtype = h5py.string_dtype("utf-8", max([1, *map(len, texts)]))
        ids.append((f"{source}/samples", np.array(texts, dtype)))
    for name, found in rows:
        if not np.array_equal(found, np.arange(len(positions[taps[name].spec.source]))):
            ids.append((f"{name}{ROWS}", found))
    return ids


class Npz(Format[Config]):
    """Arrays ``source/model/tap``, and ``source/model/tap.sample``: the sample id of each row."""

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        taps = {name: run[name] for name in run.arrays}
        ids = {name: np.array(_samples(tap), np.str_) for name, tap in taps.items()}
        _check_names([*taps, *(f"{name}{ROWS}" for name in taps)])
        payload = sum(array.nbytes for array in ids.values())
        payload += sum(math.prod(tap.shape) * tap.dtype.itemsize for tap in taps.values())
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, temporary.open("wb") as file:
            claim(file, payload)
            with ZipFile(file, "w") as archive:
                for name, tap in taps.items():
                    _add(archive, name, tap.shape, tap.dtype, _blocks(tap))
                    _add(archive, f"{name}{ROWS}", ids[name].shape, ids[name].dtype, [ids[name]])
            file.truncate(file.tell())
        return [path]


def _add(
    archive: ZipFile,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    blocks: Iterable[np.ndarray],
) -> None:
    entry = ZipInfo(f"{name}.npy")  # of 1980: the same run gives the same bytes
    with archive.open(entry, "w", force_zip64=True) as file:
        file.write(npy_header(shape, dtype))
        for block in blocks:
            write_payload(file, block)


def _samples(tap: TapArray) -> list[str]:
    ids: list[str] = tap.rows["sample"].to_pylist()
    return ids


def _blocks(tap: TapArray) -> Iterator[np.ndarray]:
    return (block for _, block in tap.blocks())


def _check_names(names: Sequence[str]) -> None:
    """Raise StoreError where two arrays want one place, or one lies where another wants a folder."""
    taken: set[str] = set()
    for name in sorted(names):
        parts = name.split("/")
        above = {"/".join(parts[:i]) for i in range(1, len(parts) + 1)}
        if above & taken:
            hint = "name the model or source differently, with as = ..."
            raise StoreError(f"{name} and {min(above & taken)} cannot be in one file", hint=hint)
        taken.add(name)
