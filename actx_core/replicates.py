"""The replicates of each sample as an axis of their own, and their mean where it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from actx_core.errors import StoreError
from actx_core.types import SAMPLE

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

    from actx_core.tap_array import TapArray

BLOCK = 2**26
"""Bytes of rows that are in memory at a time while means are taken."""


class Replicates:
    """A stored array as samples x replicates x row, read lazily; see ``TapArray.replicates``.

    ``samples`` are the ids in stored order, ``dropped`` those left out because a replicate is missing.
    """

    def __init__(self, array: TapArray, missing: Literal["raise", "drop"] = "raise") -> None:
        if array.spec.kind != SAMPLE:
            raise StoreError(
                f"expected one row per replicate, found a row per {array.spec.kind}",
                where=array.name,
                hint="pool that axis",
            )
        self.array = array
        found = _rows_of(array.rows)
        self.replicates = sorted({replicate for rows in found.values() for replicate in rows})
        """Their numbers; 0 is the clean one."""
        holes = {s: rows for s, rows in found.items() if len(rows) < len(self.replicates)}
        if holes and missing == "raise":
            sample, rows = next(iter(holes.items()))
            lacks = next(r for r in self.replicates if r not in rows)
            raise StoreError(
                f"sample '{sample}' has no replicate {lacks} ({len(holes)} samples lack one)",
                where=array.name,
                hint='leave such samples out with missing = "drop"',
            )
        self.dropped = list(holes)
        self.samples = [sample for sample in found if sample not in holes]
        self._index = np.array(
            [[found[s][r] for r in self.replicates] for s in self.samples], np.int64
        ).reshape(len(self.samples), len(self.replicates))

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self._index.shape, *self.array.spec.row_shape)

    @property
    def axes(self) -> tuple[str, ...]:
        return (SAMPLE, "replicate", *self.array.axes[1:])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Samples by number, slice, list or mask; then as numpy indexes replicates and what follows."""
        samples, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if samples is Ellipsis:
            return np.asarray(self.numpy()[key])
        index = self._index[samples]
        rows = self.array[index.reshape(-1)].reshape(*index.shape, *self.array.spec.row_shape)
        return rows[(*[slice(None)] * (index.ndim - 1), *rest)] if rest else rows

    def numpy(self) -> np.ndarray:
        """All in memory: samples x replicates x row."""
        return self[:]

    def mean(self) -> np.ndarray:
        """The mean over replicates, float32 or the stored type where that is wider: samples x row."""
        dtype = np.result_type(self.array.dtype, np.float32)
        means = np.empty((len(self), *self.shape[2:]), dtype)
        step = max(1, BLOCK // max(1, self.array.spec.row_bytes * len(self.replicates)))
        for start in range(0, len(self), step):
            means[start : start + step] = self[start : start + step].mean(1, np.float64)
        return means

    @cached_property
    def rows(self) -> pa.Table:
        """One line per sample: the columns of its first replicate."""
        return self.array.rows.take(self._index[:, 0] if len(self.replicates) else [])

    def xarray(self) -> xr.DataArray:
        """A DataArray with the axes ``sample``, ``replicate`` and those of a row."""
        import xarray as xr

        coordinates = {SAMPLE: self.samples, "replicate": self.replicates}
        return xr.DataArray(self.numpy(), dims=self.axes, coords=coordinates, name=self.array.name)


def _rows_of(table: pa.Table) -> dict[str, dict[int, int]]:
    """{sample: {replicate: row}}, samples in stored order."""
    found: dict[str, dict[int, int]] = {}
    columns = zip(table[SAMPLE].to_pylist(), table["replicate"].to_pylist(), strict=True)
    for row, (sample, replicate) in enumerate(columns):
        found.setdefault(sample, {})[replicate] = row
    return found
