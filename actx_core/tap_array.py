"""One stored array, read lazily: rows by number, in their stored precision or as float32."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from actx_core import dtypes
from actx_core.contracts import LazyArray
from actx_core.errors import StoreError
from actx_core.layout import ROWS, scales
from actx_core.plan import CellPlan, TapPlan
from actx_core.replicates import Replicates
from actx_core.shuffle import Shuffle
from actx_core.stores.payload import read_rows
from actx_core.types import ArraySpec

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from actx_core.results import Run


@dataclass(frozen=True)
class Segment:
    """Some shards of an array that lie in one file."""

    path: Path
    shards: tuple[int, ...]
    rows: int


class TapArray:
    """One stored array, read lazily; its first axis is rows. bfloat16 and int8 are read as float32."""

    def __init__(self, run: Run, cell: CellPlan, tap: TapPlan) -> None:
        self.run = run
        self.cell = cell
        self.tap = tap
        self.segments = run.segments(cell, tap.name, run.suffix)
        self.spec: ArraySpec = tap.spec(cell, sum(s.rows for s in self.segments))
        self._opened: dict[Path, LazyArray] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without open files: pickled, a mapped one would be a copy of all that it holds."""
        return {**self.__dict__, "_opened": {}}

    @property
    def name(self) -> str:
        """``source/model/tap``."""
        return self.spec.name

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.spec.rows or 0, *self.spec.row_shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.spec.dtype == dtypes.BFLOAT16:
            return np.dtype(np.float32)
        return dtypes.gathered(self.spec.dtype)

    @property
    def axes(self) -> tuple[str, ...]:
        return self.spec.axes

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{a}: {n}" for a, n in zip(self.axes, self.shape, strict=True))
        return f"<TapArray {self.name} ({sizes}) {self.spec.dtype}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows by number, slice, list or mask, and then as numpy indexes what follows."""
        rows, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if rows is Ellipsis:
            return np.asarray(self.numpy()[key])
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            found = (
                self._range(start, stop) if step == 1 else self._pick(np.arange(start, stop, step))
            )
        elif np.ndim(rows) == 0:
            index = range(len(self))[int(rows)]
            return np.asarray(self._range(index, index + 1)[(0, *rest)])
        else:
            found = self._pick(self._numbers(np.asarray(rows)))
        return found[(slice(None), *rest)] if rest else found

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        """Row numbers from a mask or from numbers that may count from the end."""
        if rows.dtype == bool:
            if len(rows) != len(self):
                raise IndexError(f"a mask of {len(rows)} for {len(self)} rows")
            return np.flatnonzero(rows)
        return np.where(rows < 0, rows + len(self), rows).astype(np.int64)

    def numpy(self) -> np.ndarray:
        """All rows in memory."""
        return self._range(0, len(self))

    def blocks(self, size: int = 2**26) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows in order, in blocks of about ``size`` bytes."""
        step = max(1, size // max(1, self.spec.row_bytes))
        for start in range(0, len(self), step):
            stop = min(start + step, len(self))
            yield slice(start, stop), self._range(start, stop)

    @cached_property
    def rows(self) -> pa.Table:
        """One line per row: sample, replicate, coordinates, the source's columns, joined columns."""
        table = self.run.rows(self.cell, self.spec.kind)
        mine = {shard for segment in self.segments for shard in segment.shards}
        offsets = self.run.offsets(self.cell, self.spec.kind)
        if mine != offsets.keys():
            parts = [table.slice(*offsets[shard]) for shard in sorted(mine)]
            table = pa.concat_tables(parts) if parts else table.slice(0, 0)
        return self.run.join(table)

    def replicates(self, missing: Literal["raise", "drop"] = "raise") -> Replicates:
        """The same numbers with an axis of replicates: samples x replicates x row; ``.mean()`` averages.

        Raises StoreError where a sample lacks a replicate that others have, unless such are dropped.
        """
        return Replicates(self, missing)

    def shuffled(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        memory: int = 1 << 28,
        part: tuple[int, int] = (0, 1),
    ) -> Shuffle:
        """All rows once, in a seeded random order, in batches of (row numbers, values).

        Blocks of rows are read at random and ``memory`` bytes of them shuffled together, so that it is as
        fast as reading in order; ``.mixing`` says how many rows that is. ``part = (i, n)`` is every n-th
        block. For torch: ``actx_core.torch.ShuffledDataset``.
        """
        return Shuffle(self, batch_size, seed, epoch, memory, part)

    def table(self) -> pd.DataFrame:
        """Row columns and, for rows with one axis, a column per value (``channel0`` …)."""
        import pandas as pd

        if len(self.spec.row_shape) > 1:
            raise StoreError(
                f"a table holds one axis per row, this has {list(self.axes[1:])}",
                where=self.name,
                hint="use .xarray() or .numpy(), or pool",
            )
        values = self.numpy().reshape(len(self), -1)
        axis = self.axes[1] if len(self.axes) > 1 else "value"
        names = [f"{axis}{i}" for i in range(values.shape[1])]
        columns = pd.DataFrame(self.rows.to_pydict())
        return pd.concat([columns, pd.DataFrame(values, columns=names)], axis=1)

    def xarray(self) -> xr.DataArray:
        """A DataArray with named axes and the row columns as coordinates."""
        import xarray as xr

        columns = self.rows.to_pydict()
        coordinates = {name: ("row", np.asarray(values)) for name, values in columns.items()}
        return xr.DataArray(self.numpy(), dims=self.axes, coords=coordinates, name=self.name)

    @cached_property
    def digest(self) -> str:
        """Identifies the content: the digests of all shards, in order."""
        known = self.run.digests(self.cell, self.tap.name)
        rows = self.run.digests(self.cell, f"{ROWS}{self.spec.kind}")
        shards = [shard for segment in self.segments for shard in segment.shards]
        text = "\n".join(f"{known[shard]} {rows[shard]}" for shard in shards)
        return hashlib.sha256(text.encode()).hexdigest()

    def stored(self, segment: Segment) -> LazyArray:
        """The open file of a segment, in the stored dtype."""
        if segment.path not in self._opened:
            spec = self.tap.spec(self.cell, segment.rows)
            self._opened[segment.path] = self.run.store.open(segment.path, spec)
        return self._opened[segment.path]

    def read(self, start: int, out: np.ndarray) -> None:
        """Read ``len(out)`` rows from the row ``start`` on into ``out``, with as few copies as can be."""
        for segment, at, rows in self._spans(start, start + len(out)):
            stored, target = self.stored(segment), out[at : at + rows.stop - rows.start]
            if isinstance(stored, np.memmap) and stored.dtype == out.dtype:
                read_rows(segment.path, stored, rows.start, target)
            else:
                values = self._decoded(
                    stored[rows], np.arange(start + at, start + at + len(target))
                )
                target[...] = values

    def _spans(self, start: int, stop: int) -> Iterator[tuple[Segment, int, slice]]:
        """(file, place among the rows asked for, rows in the file) of a range of rows."""
        first = 0
        for segment in self.segments:
            low, high = max(start - first, 0), min(stop - first, segment.rows)
            if low < high:
                yield segment, first + low - start, slice(low, high)
            first += segment.rows

    def _range(self, start: int, stop: int) -> np.ndarray:
        pieces = [np.asarray(self.stored(s)[rows]) for s, _, rows in self._spans(start, stop)]
        if not pieces:
            return np.empty((0, *self.spec.row_shape), self.dtype)
        whole = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        return self._decoded(whole, np.arange(start, start + len(whole)))

    def _decoded(self, stored: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Stored values of some rows as numbers."""
        if self.spec.dtype != dtypes.INT8:
            return dtypes.decode(np.asarray(stored), self.spec.dtype)
        starts, scales = self._scales
        scale = scales[np.searchsorted(starts, rows, "right") - 1]
        shape = [1] * np.ndim(stored)
        shape[self.spec.channel or 0] = -1
        shape[0] = len(rows)
        found: np.ndarray = np.asarray(stored, np.float32) * scale.reshape(shape)
        return found

    @cached_property
    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        """First row of each shard, and its scales (shards, channels)."""
        kind, shards = self.spec.kind, [s for segment in self.segments for s in segment.shards]
        receipts = self.run.of(self.cell, self.tap.name)
        counts = [receipts[shard].rows[kind] for shard in shards]
        table = self.run.rows(self.cell, scales(self.tap.name))
        values = table["scale"].to_numpy().reshape(-1, len(table) // len(receipts))
        places = {shard: i for i, shard in enumerate(table["shard"].to_numpy()[:: values.shape[1]])}
        return np.cumsum([0, *counts[:-1]]), values[[places[shard] for shard in shards]]

    def _pick(self, index: np.ndarray) -> np.ndarray:
        if len(index) and (index.min() < 0 or index.max() >= len(self)):
            raise IndexError(f"row {index.max()} of {len(self)}")
        found = np.empty((len(index), *self.spec.row_shape), self.dtype)
        first = 0
        for segment in self.segments:
            mine = np.flatnonzero((index >= first) & (index < first + segment.rows))
            if len(mine):
                found[mine] = self._decoded(self.stored(segment)[index[mine] - first], index[mine])
            first += segment.rows
        return found
