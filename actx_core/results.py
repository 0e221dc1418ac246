"""Reading a run: lazy arrays with their rows, joins, xarray and pandas."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from actx_core import dtypes
from actx_core.contracts import LazyArray, Store
from actx_core.errors import StoreError
from actx_core.files import damaged, read_json
from actx_core.joins import Join, read_join
from actx_core.layout import HINT, ROWS, Layout, load_receipts, scales
from actx_core.plan import CellPlan, TapPlan
from actx_core.registry import registry
from actx_core.replicates import Replicates
from actx_core.shuffle import Shuffle
from actx_core.stores.payload import read_rows
from actx_core.tables import read_table
from actx_core.types import ArraySpec, Receipt, Skipped

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


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


class Run(Mapping[str, TapArray]):
    """A run folder: ``run["source/model/tap"]`` is a lazy array."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.layout = Layout(path)
        if not self.layout.plan.exists():
            raise StoreError(
                "this folder holds no run (no plan.json)",
                where=str(path),
                hint="give the folder that the pipeline names as run.out",
            )
        plan = read_json(self.layout.plan, hint=HINT)
        try:
            self.cells = {cell.id: cell for cell in map(CellPlan.from_json, plan["cells"])}
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(self.layout.plan, f"{error}", HINT) from error
        self.receipts = load_receipts(self.layout)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """run.json; empty while the run has not been finished."""
        path = self.layout.manifest
        return dict(read_json(path, hint=HINT)) if path.exists() else {}

    @property
    def complete(self) -> bool:
        """Whether every shard of every cell is there for every tap."""
        return not any(self.missing(cell) for cell in self.cells.values())

    @property
    def arrays(self) -> list[str]:
        """Names of the arrays of which anything is stored, ``source/model/tap``."""
        return [
            f"{cell.id}/{tap.name}"
            for cell in self.cells.values()
            for tap in cell.taps
            if self.digests(cell, tap.name)
        ]

    def __getitem__(self, name: str) -> TapArray:
        for cell in self.cells.values():
            for tap in cell.taps:
                if name == f"{cell.id}/{tap.name}":
                    return TapArray(self, cell, tap)
        from difflib import get_close_matches

        close = get_close_matches(name, self.arrays, n=3, cutoff=0.4) or self.arrays[:5]
        raise KeyError(f"no array '{name}' in {self.path}; there are {', '.join(close)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        lines = "\n".join(f"  {self[name]!r}" for name in self.arrays)
        return f"<Run {self.path}\n{lines}\n>"

    @cached_property
    def suffix(self) -> str:
        """File ending of the arrays."""
        return self.store.suffix

    @cached_property
    def store(self) -> Store[Any]:
        """The store that wrote the arrays."""
        options = next(iter(self.cells.values())).request["store"]
        component = registry().find("store", options["type"])
        config = registry().load_config(component)
        store: Store[Any] = registry().load(component)(
            config(**{k: v for k, v in options.items() if k != "type"})
        )
        return store

    def samples(self, source: str) -> pa.Table:
        """Every sample of a source in frozen order, with its columns; a stream's come from the rows."""
        path = self.layout.samples(source)
        if path.exists():
            return self.join(read_table(path))
        cell = next((c for c in self.cells.values() if c.source == source), None)
        if cell is None:
            raise StoreError(f"no source '{source}' in this run", where=str(self.path))
        return self.join(self.rows(cell, "sample"))

    @property
    def skipped(self) -> list[tuple[str, Skipped]]:
        """(cell, sample) of what was left out, and why."""
        left: dict[tuple[str, int], Skipped] = {}
        for cell in self.cells.values():
            picked = {s.index: s.cursor["positions"] for s in cell.shards if _picks(s.cursor)}
            for receipt in self.receipts:
                if receipt.cell != cell.id:
                    continue
                for position in picked.get(receipt.shard, ()):
                    left.pop((cell.id, position), None)
                left |= {(cell.id, s.position): s for s in receipt.skipped}
        return [(cell, skipped) for (cell, _), skipped in left.items()]

    def of(self, cell: CellPlan, array: str) -> dict[int, Receipt]:
        """The receipt of each shard in which an array is committed."""
        return {r.shard: r for r in self.receipts if r.cell == cell.id and array in r.digests}

    def digests(self, cell: CellPlan, array: str) -> dict[int, str]:
        return {shard: receipt.digests[array] for shard, receipt in self.of(cell, array).items()}

    def missing(self, cell: CellPlan) -> dict[int, list[str]]:
        """Taps that each shard still lacks."""
        have = {tap.name: self.digests(cell, tap.name) for tap in cell.taps}
        lacks = {s.index: [t for t in have if s.index not in have[t]] for s in cell.shards}
        return {shard: taps for shard, taps in lacks.items() if taps}

    def sidecar(self, cell: CellPlan, array: str) -> dict[str, Any]:
        """What is known of an array's joined file; ``shards`` is empty while there is none."""
        path = self.layout.sidecar(cell.id, array)
        if not path.exists():
            return {"shards": [], "rows": 0}
        about = dict(read_json(path, hint=HINT))
        if not {"shards", "rows", "file", "sha256", "size"} <= about.keys():
            raise damaged(path, f"found only the keys {sorted(about)}", HINT)
        return about

    def segments(self, cell: CellPlan, array: str, suffix: str) -> list[Segment]:
        """The files of an array, in the order of shards."""
        joined = self.sidecar(cell, array)
        kind = array.removeprefix(ROWS)
        if not array.startswith(ROWS):
            kind = next(t.stored.row_kind for t in cell.taps if t.name == array)
        found = []
        if joined["shards"]:
            path = self.layout.joined(cell.id, array, suffix)
            pending = path.with_name(f"{path.name}.next")
            found.append(
                Segment(
                    pending if pending.exists() else path, tuple(joined["shards"]), joined["rows"]
                )
            )
        for shard, receipt in sorted(self.of(cell, array).items()):
            if shard not in joined["shards"]:
                path = self.layout.part(cell.id, array, shard, suffix)
                found.append(Segment(path, (shard,), receipt.rows[kind]))
        return found

    def offsets(self, cell: CellPlan, kind: str) -> dict[int, tuple[int, int]]:
        """First row and number of rows of each shard in the table of a kind."""
        found, first = {}, 0
        for shard, receipt in sorted(self.of(cell, f"{ROWS}{kind}").items()):
            found[shard] = (first, receipt.rows[kind])
            first += receipt.rows[kind]
        return found

    def rows(self, cell: CellPlan, kind: str) -> pa.Table:
        """The table of all rows of a kind, without joins."""
        parts = [read_table(s.path) for s in self.segments(cell, f"{ROWS}{kind}", ".parquet")]
        return pa.concat_tables(parts, promote_options="permissive")

    def join(self, table: pa.Table) -> pa.Table:
        """Add the columns of the pipeline's ``[[join]]`` tables; row order stays."""
        for join in self._joins:
            table = join.add_to(table)
        return table

    @cached_property
    def _joins(self) -> list[Join]:
        base = self.path / self.manifest.get("base", ".")
        wishes = self.manifest.get("pipeline", {}).get("join", [])
        wishes = [wishes] if isinstance(wishes, dict) else wishes
        return [read_join(base / wish["path"], wish.get("on", "sample")) for wish in wishes]


def open_run(path: str | Path) -> Run:
    """Open a run folder for reading; it may still be growing. Raises StoreError if it holds no run."""
    return Run(Path(path))


def _picks(cursor: Any) -> bool:
    return isinstance(cursor, dict) and "positions" in cursor
