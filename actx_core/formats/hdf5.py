"""The format ``hdf5``: one file with every array and the sample ids of each source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from actx_core.contracts import Config, Format
from actx_core.files import atomic
from actx_core.formats.common import blocks, check_names, samples
from actx_core.stores.hdf5 import Dataset, Layout
from actx_core.stores.payload import write_payload

if TYPE_CHECKING:
    from actx_core.results import Run, TapArray


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
            ids.append((f"{name}.sample", found))
    return ids
