"""Reading a run: its arrays and row tables, what is complete, skipped and joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from actx_core.config.pipeline import PipelineConfig, SourceEntry
from actx_core.contracts import Store
from actx_core.errors import StoreError
from actx_core.files import damaged, read_json, sha256_file
from actx_core.joins import Join, read_join
from actx_core.layout import HINT, ROWS, Layout, load_receipts
from actx_core.order import Order, order, picked
from actx_core.plan import CellPlan, build_source
from actx_core.registry import registry
from actx_core.tables import read_table
from actx_core.tap_array import Segment, TapArray
from actx_core.types import Receipt, Skipped


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
            again = {s.index: picked(s) for s in cell.shards}
            for receipt in self.receipts:
                if receipt.cell != cell.id:
                    continue
                for position in again[receipt.shard]:
                    left.pop((cell.id, position), None)
                left |= {(cell.id, s.position): s for s in receipt.skipped}
        return [(cell, skipped) for (cell, _), skipped in left.items()]

    def held(self, source: str) -> set[int]:
        """Positions of the samples of a source of which activations are stored."""
        found: set[int] = set()
        for cell in (c for c in self.cells.values() if c.source == source):
            shards = {s.index: picked(s) or range(s.start, s.stop or 0) for s in cell.shards}
            for receipt in (r for r in self.receipts if r.cell == cell.id):
                found.update(set(shards[receipt.shard]) - {s.position for s in receipt.skipped})
        return found

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
    def joined(self) -> list[tuple[str, str]]:
        """Column and digest of each ``[[join]]`` table, whose columns are among those of the rows."""
        return [(join.on, sha256_file(join.path)) for join in self._joins]

    @cached_property
    def _joins(self) -> list[Join]:
        base = self.path / self.manifest.get("base", ".")
        wishes = self.manifest.get("pipeline", {}).get("join", [])
        wishes = [wishes] if isinstance(wishes, dict) else wishes
        return [read_join(base / wish["path"], wish.get("on", "sample")) for wish in wishes]


def order_of(config: PipelineConfig, source: SourceEntry) -> Order:
    """The samples of a source in the order of the pipeline's run, which may not have begun."""
    layout, seed = Layout(config.run.out), config.run.seed

    def held() -> set[int]:
        return open_run(layout.root).held(source.id) if layout.plan.exists() else set()

    table = layout.samples(source.id)
    return order(build_source(source), source.id, table, source.limit, source.fraction, seed, held)


def open_run(path: str | Path) -> Run:
    """Open a run folder for reading; it may still be growing. Raises StoreError if it holds no run."""
    return Run(Path(path))
