"""The driver: plan, freeze, extract what is missing, join, analyse, report. Also the public Pipeline."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from actx_core.analyze import analyze, export_run, inputs_of, stale
from actx_core.config.load import load_dict, load_file
from actx_core.config.pipeline import ModelEntry, PipelineConfig
from actx_core.errors import ActxError, ConfigError, ExecutionError, StoreError
from actx_core.files import damaged, read_json, write_json
from actx_core.finish import join_run, recover
from actx_core.forecast import refuse
from actx_core.joins import read_join
from actx_core.layout import HINT, Layout, load_receipts
from actx_core.lock import lock
from actx_core.manifest import reopen_manifest, write_manifest
from actx_core.order import Order, freeze, picked
from actx_core.plan import (
    CellPlan,
    Plan,
    Resolved,
    free_disk,
    plan_cell,
    resolve,
)
from actx_core.registry import registry
from actx_core.results import Run, open_run, order_of
from actx_core.summary import report_run, troubles
from actx_core.types import Job, Progress, Receipt, Shard, Stage
from actx_core.units import size

Watch = Callable[[Progress | Stage], None]


class Pipeline:
    """A checked pipeline that can be planned and run."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.layout = Layout(config.run.out)

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> Pipeline:
        """Read a TOML file; ``overrides`` are ``key=value``. Raises ConfigError with every mistake."""
        return cls(load_file(Path(path), overrides))

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], base: Path | None = None, overrides: Sequence[str] = ()
    ) -> Pipeline:
        """Take a plain dict; paths start from ``base``, the working directory by default."""
        return cls(load_dict(data, base, overrides))

    def plan(self) -> Plan:
        """What the pipeline will do. Loads no weights, writes nothing."""
        config = self.config
        stored = self._stored()
        orders = {s.id: order_of(config, s) for s in config.sources}
        found: dict[str, Resolved] = {}

        def once(model: ModelEntry) -> Resolved:
            if model.id not in found:
                found[model.id] = resolve(config, model)
            return found[model.id]

        self._expect_tables(stored, orders)
        cells = [
            plan_cell(config, s, m, orders[s.id], stored.get(f"{s.id}/{m.id}"), once)
            for s in config.sources
            for m in config.models
        ]
        return Plan(config.run.out, tuple(cells), free_disk(config.run.out), orders)

    def run(
        self,
        *,
        only: Sequence[str] = (),
        slice: tuple[int, int] | None = None,
        retry_skipped: bool = False,
        confirm: Callable[[Plan], bool] | None = None,
        watch: Watch | None = None,
    ) -> Iterator[Receipt]:
        """Do what is missing, and yield a receipt for each shard.

        ``only`` are globs on ``source/model``. ``slice = (i, n)`` does the i-th of n parts (from 1) and
        leaves joining to ``finish``. ``confirm`` is asked when more than ``run.confirm_above`` would be
        written; without it, such a run is refused.
        """
        watch = watch or (lambda _: None)
        with lock(self.layout.root, shared=slice is not None):
            _OFF.clear()
            error: BaseException | None = None
            try:
                watch(Stage("plan", "resolving taps"))
                if slice is None:
                    self._forget()
                plan = self.plan()
                self._check_joins(plan)
                _observe("on_plan", plan=plan)
                plan = self._commit(plan, retry_skipped, slice is not None)
                done = open_run(self.layout.root) if slice else recover(self.layout.root)
                todo = list(self._todo(plan, done, only, slice))
                self._check_disk(plan, todo, confirm)
                if todo:
                    reopen_manifest(done)
                if todo and slice is None:
                    refuse(plan, self.config.analyses)
                yield from self._extract(plan, todo, watch)
                if slice is None:
                    self._finish(watch)
            except BaseException as failure:
                error = failure
                raise
            finally:
                if (
                    slice is None
                    and not isinstance(error, GeneratorExit)
                    and self.layout.plan.exists()
                ):
                    _observe("on_finish", run=open_run(self.layout.root), error=error)

    def finish(self, watch: Watch | None = None) -> Run:
        """After slices: check that every shard is there, join, analyse, report."""
        open_run(self.layout.root)  # the lock would make the folder
        with lock(self.layout.root):
            run = open_run(self.layout.root)
            for cell in run.cells.values():
                missing = run.missing(cell)
                if missing:
                    raise ExecutionError(
                        f"{len(missing)} of {len(cell.shards)} shards are missing,"
                        f" the first is {min(missing)}",
                        where=cell.id,
                        hint="run the slices that did not end, or run the pipeline without --slice",
                    )
            return self._finish(watch or (lambda _: None))

    def _finished(self, run: Run) -> bool:
        """Whether everything that follows extraction has been done too."""
        manifest = run.manifest
        return (
            bool(manifest.get("complete"))
            and manifest.get("pipeline") == self.config.given
            and self.layout.report.exists()
            and not stale(run, self.config)
        )

    def _stored(self) -> dict[str, CellPlan]:
        """The cells that the run has. Raises StoreError where their plan is lost."""
        if not self.layout.plan.exists():
            if any(load_receipts(self.layout)):
                raise damaged(self.layout.plan, "the file is missing", HINT)
            return {}
        cells = read_json(self.layout.plan, hint=HINT)["cells"]
        return {cell.id: cell for cell in map(CellPlan.from_json, cells)}

    def _forget(self) -> None:
        """Drop cells that were only planned: nothing is stored that another wish could contradict."""
        if not self.layout.plan.exists():
            return
        run = open_run(self.layout.root)
        begun = {receipt.cell for receipt in run.receipts}
        cells = [cell for cell in run.cells.values() if cell.id in begun]
        if len(cells) == len(run.cells):
            return
        for source in {c.source for c in run.cells.values()} - {c.source for c in cells}:
            for suffix in (".parquet", ".csv"):
                self.layout.samples(source).with_suffix(suffix).unlink(missing_ok=True)
        for cell in run.cells.keys() - begun:
            self.layout.model(cell).unlink(missing_ok=True)
        write_json(self.layout.plan, Plan(self.layout.root, tuple(cells), 0).to_json())

    def _expect_tables(self, stored: Mapping[str, CellPlan], orders: Mapping[str, Order]) -> None:
        """Without its table, the samples of a source that the run holds might come in another order."""
        for source in {cell.source for cell in stored.values()}:
            table = self.layout.samples(source)
            if source in orders and orders[source].frozen is not None and not table.exists():
                raise damaged(table, "the file is missing", HINT)

    def _commit(self, plan: Plan, retry_skipped: bool, sliced: bool) -> Plan:
        """Freeze the order of samples and store the plan, with the cells of earlier pipelines."""
        if retry_skipped and self.layout.plan.exists():
            plan = _retry(plan, open_run(self.layout.root))
        with lock(self.layout.root, name=".plan.lock"):
            if sliced and self.layout.plan.exists():  # another slice was first
                plan = self.plan()
            own = {cell.id: cell for cell in plan.cells}
            cells = {**own, **self._stored(), **own}  # in the order of the pipeline
            stored = replace(plan, cells=tuple(cells.values())).to_json()
            known = self.layout.plan.exists()
            renewed = any(each.renewed for each in plan.orders.values())
            if known and not renewed and read_json(self.layout.plan) == _as_json(stored):
                return plan
            if known:
                reopen_manifest(open_run(self.layout.root))
            for source, frozen in plan.orders.items():
                freeze(frozen, self.layout.samples(source))
            write_json(self.layout.plan, stored)
        return plan

    def _todo(
        self, plan: Plan, run: Run, only: Sequence[str], part: tuple[int, int] | None
    ) -> Iterator[tuple[CellPlan, tuple[str, ...], list[Shard]]]:
        """(cell, taps, shards) that are missing: shards that lack the same taps go together."""
        chosen = [c for c in plan.cells if not only or any(fnmatchcase(c.id, o) for o in only)]
        if not chosen:
            raise ConfigError(
                f"no cell matches {list(only)}",
                hint=f"there are: {', '.join(c.id for c in plan.cells)}",
            )
        for cell in chosen:
            groups: dict[tuple[str, ...], list[Shard]] = {}
            missing = run.missing(cell)
            for shard in cell.shards:
                if shard.index in missing and (
                    part is None or shard.index % part[1] == part[0] - 1
                ):
                    groups.setdefault(tuple(missing[shard.index]), []).append(shard)
            for taps, shards in groups.items():
                yield cell, taps, shards

    def _check_joins(self, plan: Plan) -> None:
        """Find out now, not after hours, that a table cannot be joined."""
        for wish in self.config.joins:
            join = read_join(wish.path, wish.on)
            for samples in plan.orders.values():
                if samples.frozen:
                    join.add_to(samples.table())

    def _check_disk(
        self,
        plan: Plan,
        todo: Sequence[tuple[CellPlan, tuple[str, ...], list[Shard]]],
        confirm: Callable[[Plan], bool] | None,
    ) -> None:
        """Refuse what does not fit; ask before much is written."""
        coming = sum(_share(cell, taps, shards) for cell, taps, shards in todo)
        needed = coming + (plan.needed - plan.bytes if todo else 0)
        if needed > plan.free:
            raise StoreError(
                f"the run needs {size(needed)} ({size(coming)} of activations and room to join), the"
                f" disk has {size(plan.free)} free",
                where=str(plan.out),
                hint="pool more, take fewer taps, store float16, or set run.out to a larger disk",
            )
        limit = self.config.run.confirm_bytes
        if coming > limit and (confirm is None or not confirm(plan)):
            raise ExecutionError(
                f"the run would write {size(coming)}, more than run.confirm_above = {size(limit)}",
                hint="look at `actx plan`, then repeat with --yes",
            )

    def _extract(
        self,
        plan: Plan,
        todo: Sequence[tuple[CellPlan, tuple[str, ...], list[Shard]]],
        watch: Watch,
    ) -> Iterator[Receipt]:
        executor = registry().load(self.config.executor.component)(self.config.executor.config)
        for name in dict.fromkeys(cell.id for cell, *_ in todo):
            for note in next(c for c in plan.cells if c.id == name).notes:
                watch(Stage("note", f"{name}: {note}"))
        for cell, taps, shards in todo:
            watch(Stage("extract", cell.id, _count(shards)))
            said: set[str] = set()
            events = executor.run(self._job(cell, taps), shards)
            try:
                for event in events:
                    if isinstance(event, Progress):
                        watch(event)
                        continue
                    for subject, text in troubles(cell, event).items():
                        if subject not in said:
                            said.add(subject)
                            watch(Stage("note", text))
                    _observe("on_shard", receipt=event)
                    yield event
            finally:
                events.close()

    def _job(self, cell: CellPlan, taps: tuple[str, ...]) -> Job:
        given = self.config.given
        source = next(s for s in self.config.sources if s.id == cell.source)
        model = next(m for m in self.config.models if m.id == cell.model)
        kinds = [source, model, self.config.store]
        names = {e.component.plugin for e in kinds}
        names |= {p["type"].partition("/")[0] for tap in cell.taps for p in tap.pool}
        return Job(
            root=str(self.layout.root.absolute()),
            base=str(self.config.base.absolute()),
            pipeline={
                "actx": 1,
                "run": given["run"],
                "source": {**source.given, "as": source.id},
                "model": {**model.given, "as": model.id},
                **{key: given[key] for key in ("rows", "store") if key in given},
            },
            cell=_as_json(cell.to_json()),
            taps=taps,
            plugins={n: v for n, v in registry().versions().items() if n in names},
            on_error=self.config.run.on_error,
        )

    def _finish(self, watch: Watch) -> Run:
        """Everything after extraction; what is up to date is left alone."""
        run = join_run(self.layout.root, self.config.store.join, watch)
        if not run.complete or not run.arrays:
            return run
        if self._finished(run):
            watch(Stage("done", "nothing to do"))
            return run
        write_manifest(run, self.config, self.config.base, complete=False)
        run = open_run(self.layout.root)
        analyze(inputs_of(run, self.config.sources), run.layout, self.config.analyses, watch)
        for export in self.config.exports:
            watch(Stage("export", export.id))
            export_run(run, export.component, export.config, export.path)
        write_manifest(run, self.config, self.config.base, complete=True)
        watch(Stage("report", str(self.layout.report)))
        run = open_run(self.layout.root)
        file = self.config.file
        command = f"actx run {file.name}" if file else ""
        report_run(run, self.config.sources, self.config.analyses, command)
        return run


def _retry(plan: Plan, run: Run) -> Plan:
    """Add to each cell a shard of the samples that were skipped before, and are not in one already."""
    left: dict[str, set[int]] = {}
    for name, skipped in run.skipped:
        left.setdefault(name, set()).add(skipped.position)
    cells = []
    for cell in plan.cells:
        done = {r.shard for r in run.receipts if r.cell == cell.id}
        waiting = {n for s in cell.shards if s.index not in done for n in picked(s)}
        if again := sorted(left.get(cell.id, set()) - waiting):
            index = max(s.index for s in cell.shards) + 1
            shard = plan.orders[cell.source].again(cell.id, index, again)
            cell = replace(cell, shards=(*cell.shards, shard))
        cells.append(cell)
    return replace(plan, cells=tuple(cells))


def _share(cell: CellPlan, taps: Sequence[str], shards: Sequence[Shard]) -> int:
    """Payload bytes that these taps and shards will add, as far as they are bounded."""
    total = sum(cell.bytes(tap) or 0 for tap in cell.taps if tap.name in taps)
    return total * len(shards) // max(1, len(cell.shards))


def _count(shards: Sequence[Shard]) -> int | None:
    """Samples in some shards, where that is known."""
    if any(s.stop is None for s in shards):
        return None
    return sum((s.stop or 0) - s.start for s in shards)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


_OFF: set[str] = set()


def _observe(hook: str, **facts: Any) -> None:
    """Tell every plugin; one that fails is switched off, unless it raises ActxError on purpose."""
    for impl in getattr(registry().hooks.hook, f"actx_{hook}").get_hookimpls():
        if impl.plugin_name in _OFF:
            continue
        try:
            impl.function(**{name: facts[name] for name in impl.argnames})
        except ActxError:
            raise
        except Exception as error:
            _OFF.add(impl.plugin_name)
            warnings.warn(
                f"plugin '{impl.plugin_name}' failed in actx_{hook} and is not called again: {error}",
                stacklevel=2,
            )
