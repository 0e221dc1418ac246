"""What has arrived of a shard that is not yet written: rows of every tap, tables, counts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from actx_core.dtypes import gathered
from actx_core.extract import Columns, Rows
from actx_core.types import SAMPLE, ArraySpec, Shard, Skipped


class Stack:
    """The rows of one tap as they arrive; at most ``room`` of them, where that is known.

    Then they are written where they will stay, and a shard is not held twice.
    """

    def __init__(self, row_shape: tuple[int, ...], dtype: str, room: int | None) -> None:
        self._empty = np.empty((0, *row_shape), gathered(dtype))
        self._whole = None if room is None else np.empty((room, *row_shape), gathered(dtype))
        self._parts: list[np.ndarray] = []
        self._rows = 0

    def add(self, rows: np.ndarray) -> None:
        if self._whole is None:
            self._parts.append(rows)
        else:
            self._whole[self._rows : self._rows + len(rows)] = rows
        self._rows += len(rows)

    def take(self) -> np.ndarray:
        """All rows, contiguous."""
        if self._whole is not None:
            return self._whole[: self._rows]
        return np.ascontiguousarray(np.concatenate([self._empty, *self._parts]))


@dataclass
class Buffer:
    """What has arrived of a shard that is not yet written."""

    arrays: dict[str, Stack]
    tables: dict[str, list[Columns]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    samples: int = 0
    batch: int = 0
    halved: int = 0
    began: float = field(default_factory=time.perf_counter)

    @classmethod
    def of(cls, shard: Shard, specs: Mapping[str, ArraySpec]) -> Buffer:
        """Room for one shard; a row per sample at most, unless rows are points."""
        room = None if shard.stop is None else shard.stop - shard.start
        return cls(
            {
                name: Stack(spec.row_shape, spec.dtype, room if spec.kind == SAMPLE else None)
                for name, spec in specs.items()
            }
        )

    def add(self, rows: Rows) -> int:
        """Take what one batch gave; its payload bytes."""
        for name, array in rows.arrays.items():
            self.arrays[name].add(array)
        for kind, table in rows.tables.items():
            self.tables.setdefault(kind, []).append(table)
        self.batch = max(self.batch, rows.batch)
        return sum(array.nbytes for array in rows.arrays.values())

    def table(self, kind: str) -> Columns:
        """All rows of a kind."""
        return _concatenate(self.tables.get(kind, []))


def _concatenate(parts: Sequence[Columns]) -> Columns:
    """Tables below each other; a column that a part lacks is None there."""
    names = dict.fromkeys(name for part in parts for name in part)
    if not parts:
        return {"sample": np.array([], dtype=object), "replicate": np.array([], dtype=np.int64)}
    return {
        name: np.concatenate(
            [
                part[name] if name in part else np.full(len(part["sample"]), None, dtype=object)
                for part in parts
            ]
        )
        for name in names
    }
