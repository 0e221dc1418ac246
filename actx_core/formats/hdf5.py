"""The format ``hdf5``: one file with every array and the sample ids of each source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from actx_core.contracts import Config, Format, Input
from actx_core.files import atomic, damaged, sha256_file
from actx_core.formats.common import bare, blocks, check_names, samples
from actx_core.stores.hdf5 import Dataset, Layout
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    from actx_core.results import Run
    from actx_core.tap_array import TapArray


POSITIONS = ".sample"
"""Ending of the dataset that tells the position of each row's sample."""


class Hdf5File(Format[Config]):
    """Datasets ``/source/model/tap``, with their ``axes``, and ``/source/samples``: ids in order.

    Where the rows of a tap are not one per sample, ``/source/model/tap.sample`` holds for each row the
    position of its sample in ``/source/samples``.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        taps = {name: run[name] for name in run.arrays}
        ids = _ids(taps)
        datasets = {name: Dataset(array.shape, array.dtype) for name, array in ids}
        content: dict[str, Iterable[np.ndarray]] = {name: [array] for name, array in ids}
        for name, tap in taps.items():
            datasets[name] = Dataset(tap.shape, tap.dtype, {"axes": tap.axes})
            content[name] = blocks(tap)
        check_names([name for name, _ in ids] + list(taps))
        layout = Layout.of(datasets)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, layout.create(temporary) as file:
            for name, parts in content.items():
                file.seek(layout.offsets[name])
                for part in parts:
                    write_payload(file, part)
        return [path]

    def knows(self, path: Path) -> bool:
        return path.is_file() and h5py.is_hdf5(path)

    def read(self, path: Path) -> Sequence[Input]:
        try:
            file = h5py.File(path, "r")
            found: dict[str, h5py.Dataset] = {}
            file.visititems(lambda name, item: _collect(found, name, item))
        except (OSError, RuntimeError) as error:
            raise damaged(path, f"expected HDF5: {error}") from error
        digest = sha256_file(path)
        return [
            bare(name, Rows(dataset), digest, _sample_ids(file, name), _axes(dataset))
            for name, dataset in found.items()
            if not (name.endswith(POSITIONS) and name.removesuffix(POSITIONS) in found)
        ]


class Rows:
    """A dataset that gives rows in any order, as numpy does."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self.shape, self.dtype = dataset.shape, dataset.dtype

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice) or rows is Ellipsis or np.ndim(rows) == 0:
            return np.asarray(self._dataset[rows])
        wanted, places = np.unique(np.arange(len(self._dataset))[rows], return_inverse=True)
        return np.asarray(self._dataset[wanted])[places]


def _collect(found: dict[str, h5py.Dataset], name: str, item: object) -> None:
    """Keep datasets of numbers that have rows."""
    if isinstance(item, h5py.Dataset) and item.shape and item.dtype.kind in "fiub":
        found[name] = item


def _axes(dataset: h5py.Dataset) -> Sequence[str]:
    """The names that a dataset has for its axes: an attribute, as actx writes it, or labels."""
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in dataset.attrs.get("axes", ())]
    names = names or [dimension.label for dimension in dataset.dims]
    return ("row", *names[1:]) if len(names) == dataset.ndim and all(names[1:]) else ()


def _sample_ids(file: h5py.File, name: str) -> Sequence[str] | None:
    """The sample of each row in a file that ``write`` made."""
    samples = file.get(f"{name.partition('/')[0]}/samples")
    if samples is None or h5py.check_string_dtype(samples.dtype) is None:
        return None
    ids, own = samples.asstr()[:], f"{name}{POSITIONS}"
    ids = ids[file[own][:]] if own in file else ids
    return list(ids) if len(ids) == len(file[name]) else None


def _ids(taps: Mapping[str, TapArray]) -> list[tuple[str, np.ndarray]]:
    """Arrays of each source's sample ids (UTF-8), and of the rows' positions where they are needed."""
    positions: dict[str, dict[str, int]] = {}
    rows: list[tuple[str, np.ndarray]] = []
    for name, tap in taps.items():
        known = positions.setdefault(tap.spec.source, {})
        places = [known.setdefault(sample, len(known)) for sample in samples(tap)]
        rows.append((name, np.array(places, np.int64)))
    ids = []
    for source, known in positions.items():
        texts = [sample.encode() for sample in known]
        dtype = h5py.string_dtype("utf-8", max([1, *map(len, texts)]))
        ids.append((f"{source}/samples", np.array(texts, dtype)))
    for name, found in rows:
        if not np.array_equal(found, np.arange(len(positions[taps[name].spec.source]))):
            ids.append((f"{name}{POSITIONS}", found))
    return ids
