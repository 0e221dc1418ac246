"""Commits a shard: arrays, row tables and scales under their names, and the receipt last."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from actx_core.buffer import Buffer
from actx_core.contracts import Store
from actx_core.dtypes import INT8, quantize
from actx_core.errors import ExecutionError
from actx_core.extract import Columns
from actx_core.files import atomic, sha256_file
from actx_core.layout import ROWS, Layout, save_receipt, scales
from actx_core.stats import first_nonfinite, relative_error, shard_stats
from actx_core.tables import table_digest, write_table
from actx_core.types import SAMPLE, ArraySpec, Receipt, Shard


@dataclass
class _Made:
    """What has been written of a shard, as its receipt says it."""

    shard: Shard
    rows: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    stats: dict[str, dict[str, float]] = field(default_factory=dict)
    nonfinite: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Committer:
    """Writes the shards of one cell.

    ``rows`` are the digests of the row tables that other taps have, by shard and name: taps that come later
    must have their rows.
    """

    layout: Layout
    cell: str
    store: Store[Any]
    specs: Mapping[str, ArraySpec]
    rows: Mapping[tuple[int, str], str] = field(default_factory=dict)

    def __call__(self, shard: Shard, buffer: Buffer) -> Receipt:
        """Write arrays and row tables, then the receipt."""
        made = _Made(shard)
        kinds = {SAMPLE, *(spec.kind for spec in self.specs.values())}
        tables = {kind: buffer.table(kind) for kind in sorted(kinds)}
        for kind, columns in tables.items():
            self._write_table(made, kind, columns)
        for name, spec in self.specs.items():
            spec = replace(spec, rows=made.rows[spec.kind])
            array = buffer.arrays.pop(name).take()
            if len(array) != spec.rows:
                raise ExecutionError(
                    f"{len(array)} rows for a table of {spec.rows}", where=spec.name
                )
            made.stats[name] = shard_stats(array, spec.dtype)
            if made.stats[name]["nonfinite"]:
                made.nonfinite[name] = _first_nonfinite(array, spec, tables)
            if spec.dtype == INT8:
                array = self._quantize(made, name, spec, array)
            made.digests[name] = hashlib.sha256(array.reshape(-1).data).hexdigest()
            path = self.layout.part(self.cell, name, shard.index, self.store.suffix)
            self._write(made, path, partial(self.store.write, array=array, spec=spec))
        receipt = Receipt(
            cell=self.cell,
            shard=shard.index,
            rows=made.rows,
            digests=made.digests,
            files=made.files,
            stats=made.stats,
            nonfinite=made.nonfinite,
            skipped=tuple(buffer.skipped),
            samples=buffer.samples,
            batch=buffer.batch,
            halved=buffer.halved,
            seconds=round(time.perf_counter() - buffer.began, 3),
            host=platform.node(),
        )
        save_receipt(self.layout, receipt)
        return receipt

    def _quantize(self, made: _Made, name: str, spec: ArraySpec, array: np.ndarray) -> np.ndarray:
        """The rows of a shard as int8; the scales become a table of their own."""
        if name in made.nonfinite:
            raise ExecutionError(
                f"expected finite values for {INT8}, found another at {made.nonfinite[name]}",
                where=spec.name,
                hint="store the tap as bfloat16 or float32",
            )
        stored, scale = quantize(array, spec.channel)
        made.stats[name]["error"] = relative_error(array, stored, scale)
        columns = {
            "shard": np.full(scale.size, made.shard.index),
            "channel": np.arange(scale.size),
            "scale": scale.ravel(),
        }
        self._write_table(made, scales(name), columns)
        return stored

    def _write_table(self, made: _Made, kind: str, columns: Columns) -> None:
        made.rows[kind] = len(next(iter(columns.values())))
        name = f"{ROWS}{kind}"
        made.digests[name] = digest = table_digest(columns)
        if self.rows.get((made.shard.index, name), digest) != digest:
            raise ExecutionError(
                f"shard {made.shard.index}: the rows are not those of the taps extracted before",
                where=self.cell,
                hint="the data or the columns have changed: start a new run.out",
            )
        path = self.layout.part(self.cell, name, made.shard.index, ".parquet")
        self._write(made, path, lambda temporary: write_table(temporary, columns))

    def _write(self, made: _Made, path: Path, write: Callable[[Path], None]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            write(temporary)
        made.files[path.relative_to(self.layout.root).as_posix()] = sha256_file(path)


def _first_nonfinite(array: np.ndarray, spec: ArraySpec, tables: Mapping[str, Columns]) -> str:
    """Which value it is, in words: sample 'a.jpg', token 4, channel 17."""
    row, place = first_nonfinite(array, spec.dtype)
    columns = tables[spec.kind]
    own = [
        name for name in columns if name not in tables[SAMPLE] and columns[name].dtype.kind == "i"
    ]
    words = [f"sample '{columns[SAMPLE][row]}'"]
    words += [f"replicate {n}" for n in [columns["replicate"][row]] if n]
    words += [f"{name} {columns[name][row]}" for name in own[:3]]
    where = np.unravel_index(place, spec.row_shape) if spec.row_shape else ()
    return ", ".join([*words, *(f"{a} {n}" for a, n in zip(spec.axes[1:], where, strict=True))])
