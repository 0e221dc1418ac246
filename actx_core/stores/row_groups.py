"""Rows of a Parquet file by number, read row group by row group."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core.files import damaged

if TYPE_CHECKING:
    import pyarrow.parquet as pq


class RowGroups(ABC):
    """Rows of a Parquet file; reads the row groups that a selection touches and keeps the last one."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], starts: np.ndarray) -> None:
        self.shape, self.dtype, self._starts = shape, dtype, starts
        self._last: tuple[int, np.ndarray] | None = None

    @abstractmethod
    def read_group(self, index: int) -> np.ndarray:
        """The rows of one row group, read-only."""

    @property
    def groups(self) -> int:
        """The number of row groups."""
        return len(self._starts) - 1

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        if rows is Ellipsis:
            rows = slice(None)
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._range(start, max(start, stop))
            return self._take(np.arange(start, stop, step))
        if np.ndim(rows) == 0 and not isinstance(rows, (bool, np.bool_)):
            place = int(self._places([operator.index(rows)])[0])
            row: np.ndarray = self._range(place, place + 1)[0]
            return row
        return self._take(self._places(rows))

    def _places(self, rows: Any) -> np.ndarray:
        """Row numbers, 0 to n - 1, of integers that may count from the end, or of booleans."""
        rows = np.asarray(rows)
        if rows.dtype == bool and rows.shape == (len(self),):
            return np.flatnonzero(rows)
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise IndexError(
                f"expected integers or {len(self)} booleans, found {rows.dtype} of {rows.shape}"
            )
        rows = rows.astype(np.int64)
        outside = (rows < -len(self)) | (rows >= len(self))
        if outside.any():
            raise IndexError(f"row {rows[outside][0]} is out of range for {len(self)} rows")
        places: np.ndarray = rows + len(self) * (rows < 0)
        return places

    def _range(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        place = start
        while place < stop:
            first, rows = self._group(place)
            end = min(stop, first + len(rows))
            out[place - start : end - start] = rows[place - first : end - first]
            place = end
        return out

    def _take(self, places: np.ndarray) -> np.ndarray:
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        order = np.argsort(places, kind="stable")
        done = 0
        while done < len(order):
            first, rows = self._group(int(places[order[done]]))
            end = int(np.searchsorted(places, first + len(rows), sorter=order))
            mine = order[done:end]
            out[mine] = rows[places[mine] - first]
            done = end
        return out

    def _group(self, place: int) -> tuple[int, np.ndarray]:
        """First row number and rows of the row group that holds a row; the last one read is kept."""
        index = int(np.searchsorted(self._starts, place, side="right")) - 1
        if self._last is None or self._last[0] != self._starts[index]:
            self._last = int(self._starts[index]), self.read_group(index)
        return self._last


def row_groups(path: Path, metadata: pq.FileMetaData) -> np.ndarray:
    """First row number of each row group, and the number of rows. Raises StoreError where they disagree."""
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    if min(sizes, default=0) < 0 or sum(sizes) != metadata.num_rows:
        raise damaged(path, f"expected {metadata.num_rows} rows, found row groups of {sizes}")
    return np.cumsum([0, *sizes])
