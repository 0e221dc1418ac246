"""What a pipeline will do: cells, taps, rows, bytes, shards. Stored in a run as plan.json."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, cast

from actx_core.config.pipeline import Entry, ModelEntry, PipelineConfig, SourceEntry, TapRequest
from actx_core.contracts import Model, Pooler, Source
from actx_core.errors import ConfigError, ExecutionError, SourceError, TapError
from actx_core.order import Order
from actx_core.registry import registry
from actx_core.select_taps import select
from actx_core.types import ArraySpec, Shard, Tap

SHARD_BYTES = 128 * 2**20
MOST_SAMPLES = 4096


@dataclass(frozen=True, slots=True)
class TapPlan:
    """One tap of a cell: what is taken, how it is pooled, what is stored.

    ``pool`` are the poolers as they stand in a pipeline, with their ``type``. ``renamed`` says that the
    pipeline gave the axes their names.
    """

    tap: Tap
    pool: tuple[Mapping[str, Any], ...]
    stored: Tap
    dtype: str
    renamed: bool = False

    @property
    def name(self) -> str:
        return self.tap.name

    def poolers(self) -> tuple[Pooler, ...]:
        """The poolers, ready to be called."""
        return tuple(_pooler(options) for options in self.pool)

    def spec(self, cell: CellPlan, rows: int | None = None) -> ArraySpec:
        """The stored array."""
        stored = self.stored
        return ArraySpec(
            cell.source,
            cell.model,
            self.name,
            ("row", *stored.row_axes),
            stored.row_shape,
            self.dtype,
            rows,
            stored.row_kind,
        )


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One source x one model.

    ``request`` is everything but the taps that decides the stored numbers; two requests that differ may
    not share a cell. ``asked`` are the taps as the pipeline asks for them. ``samples`` is None for
    a stream of unknown length, ``shard_size`` stays what
    it was at first, ``narrowed`` says that ``[rows]`` leaves some rows out.
    """

    source: str
    model: str
    request: Mapping[str, Any]
    asked: Mapping[str, Any]
    taps: tuple[TapPlan, ...]
    shards: tuple[Shard, ...]
    samples: int | None
    batch_size: int
    shard_size: int
    narrowed: bool = False
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``source/model``."""
        return f"{self.source}/{self.model}"

    def rows(self, tap: TapPlan) -> tuple[int | None, bool]:
        """Rows that will be stored for a tap, and whether that is exact rather than an upper bound."""
        each = 1 if not tap.stored.varying else tap.stored.rows_at_most
        if self.samples is None or each is None:
            return None, False
        return self.samples * each, not tap.stored.varying and not self.narrowed

    def bytes(self, tap: TapPlan) -> int | None:
        """Payload bytes of a tap; None where even a bound is unknown."""
        rows = self.rows(tap)[0]
        return None if rows is None else rows * tap.spec(self).row_bytes

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CellPlan:
        return cls(
            **{
                **data,
                "taps": tuple(_tap_plan(t) for t in data["taps"]),
                "shards": tuple(Shard(**s) for s in data["shards"]),
                "notes": tuple(data["notes"]),
            }
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """All cells of a pipeline, and the disk they need."""

    out: Path
    cells: tuple[CellPlan, ...]
    free: int
    orders: Mapping[str, Order] = field(default_factory=dict, repr=False)

    @property
    def bytes(self) -> int:
        """Payload bytes of all cells, as far as they are bounded."""
        return sum(b for _, _, b, _ in self.arrays() if b is not None)

    @property
    def exact(self) -> bool:
        """Whether ``bytes`` is what will be written, rather than an upper bound."""
        return all(exact for *_, exact in self.arrays())

    @property
    def needed(self) -> int:
        """Disk that a run needs at its fullest: all arrays, and a second copy of one while it is joined."""
        sizes = [b or 0 for _, _, b, _ in self.arrays()]
        return sum(sizes) + max(sizes, default=0)

    def arrays(self) -> Iterator[tuple[CellPlan, TapPlan, int | None, bool]]:
        """(cell, tap, payload bytes, exact) of every array."""
        for cell in self.cells:
            for tap in cell.taps:
                yield cell, tap, cell.bytes(tap), cell.rows(tap)[1]

    def to_json(self) -> dict[str, Any]:
        return {"actx": 1, "cells": [cell.to_json() for cell in self.cells]}


def build_source(entry: SourceEntry) -> Source[Any]:
    return cast("Source[Any]", registry().load(entry.component)(entry.config))


def build_model(entry: ModelEntry) -> Model[Any]:
    return cast("Model[Any]", registry().load(entry.component)(entry.config))


def request(
    config: PipelineConfig, source: SourceEntry, model: ModelEntry, fingerprint: str
) -> dict[str, Any]:
    """What decides the numbers of a cell beside its taps; paths as given, so that a run can be moved.

    ``fingerprint`` is the source's; the model's is known when its weights are loaded, and a worker checks it.
    """
    return {
        "source": {**_options(source), **({"fingerprint": fingerprint} if fingerprint else {})},
        "model": _options(model),
        "rows": config.rows.model_dump(mode="json"),
        "seed": config.run.seed,
        "store": {"type": _type(config.store)},
    }


def asked(config: PipelineConfig, model: ModelEntry) -> dict[str, Any]:
    """The taps as they were asked for; while this stays the same, they need not be resolved again."""
    return {
        "pool": [_dump(p) for p in config.pool],
        "dtype": config.store.dtype,
        "taps": [
            {
                "match": list(wanted.match),
                "pool": None if wanted.pool is None else [_dump(p) for p in wanted.pool],
                "store_dtype": wanted.store_dtype,
                "axes": None if wanted.axes is None else list(wanted.axes),
            }
            for wanted in model.taps
        ],
    }


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a model says about the taps asked of it, before any weights are loaded."""

    taps: tuple[TapPlan, ...]
    notes: tuple[str, ...]
    accepts: str


def resolve(config: PipelineConfig, model: ModelEntry) -> Resolved:
    """The taps asked of a model with their pooling, in forward order, and what a reader should know."""
    network = build_model(model)
    taps = list(network.taps())
    chosen: dict[str, TapPlan] = {}
    notes: list[str] = []
    whole: dict[str, list[str]] = {}
    for wanted in model.taps:
        found, more = select(taps, wanted.match, network.presets(), network.aliases())
        notes += more
        for tap in found:
            planned = _pooled(config, wanted, tap, whole)
            if chosen.setdefault(tap.name, planned) != planned:
                raise ConfigError(
                    f"model '{model.id}': tap '{tap.name}' is matched twice, with different options",
                    hint="narrow one of the patterns, so that each tap is matched once",
                )
    notes += [f"not pooled: {', '.join(names)}: {why}" for why, names in whole.items()]
    ordered = tuple(chosen[tap.name] for tap in taps if tap.name in chosen)
    return Resolved(ordered, tuple(dict.fromkeys(notes)), network.accepts)


def plan_cell(
    config: PipelineConfig,
    source: SourceEntry,
    model: ModelEntry,
    order: Order,
    known: CellPlan | None,
    resolve: Callable[[ModelEntry], Resolved],
) -> CellPlan:
    """One cell; where the run knows it already, it is extended, or the change is refused."""
    samples = order.samples
    if samples == 0:
        raise SourceError(
            "the source holds no samples", where=source.id, hint="look at its path and its filters"
        )
    wish = request(config, source, model, order.source.fingerprint())
    wanted = asked(config, model)
    if known is not None:
        _refuse_change(known.id, known.request, wish)
    if known is not None and known.asked == wanted:
        taps, notes = known.taps, known.notes
    else:
        found = resolve(model)
        if order.gives != found.accepts:
            raise ConfigError(
                f"source '{source.id}' gives {order.gives}, model '{model.id}' accepts {found.accepts}",
                hint="pair a source and a model of the same kind",
            )
        taps = _extended(known, found.taps) if known else found.taps
        notes = found.notes
    batch = int(getattr(model.config, "batch_size", 0) or config.run.batch_size or 32)
    size = config.run.shard_size or _shard_size(taps, batch)
    if known is not None:
        size = known.shard_size
    cell = f"{source.id}/{model.id}"
    return CellPlan(
        source.id,
        model.id,
        wish,
        wanted,
        taps,
        order.shards(cell, size, known.shards if known else ()),
        samples,
        batch,
        size,
        bool(config.rows.keep) or config.rows.sample < 1,
        tuple(dict.fromkeys([*notes, *_fewer(source, samples)])),
    )


def _fewer(source: SourceEntry, samples: int | None) -> Iterator[str]:
    """Say that a source has fewer samples than ``limit`` asks for."""
    if source.limit and samples is not None and source.fraction >= 1 and samples < source.limit:
        yield f"'{source.id}' ends after {samples:,} samples; limit asks for {source.limit:,}"


def _extended(known: CellPlan, taps: Sequence[TapPlan]) -> tuple[TapPlan, ...]:
    """The taps that a cell has and those newly asked for; one may not change."""
    have = {tap.name: tap for tap in known.taps}
    for tap in taps:
        if tap.name in have:
            before, now = (json.loads(json.dumps(asdict(t))) for t in (have[tap.name], tap))
            _refuse_change(f"{known.id}/{tap.name}", before, now)
    return (*known.taps, *(tap for tap in taps if tap.name not in have))


def _refuse_change(where: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise if two requests differ, naming the keys."""
    changed = list(_differences(before, json.loads(json.dumps(now))))
    if changed:
        keys = "; ".join(f"{key}: {old!r} -> {new!r}" for key, old, new in changed)
        raise ExecutionError(
            f"the run holds numbers made with other options: {keys}",
            where=where,
            hint="undo the change, or give the new version another 'as' or another run.out",
        )


def _differences(before: Any, now: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            path = f"{key}.{name}" if key else str(name)
            yield from _differences(before.get(name), now.get(name), path)
    elif before != now:
        yield key, before, now


def _pooled(
    config: PipelineConfig, wanted: TapRequest, tap: Tap, whole: dict[str, list[str]]
) -> TapPlan:
    if wanted.axes is not None:
        if len(wanted.axes) != len(tap.axes):
            raise TapError(
                f"axes {list(wanted.axes)} do not fit shape {list(tap.shape)} of one sample",
                where=tap.name,
                hint=f"give {len(tap.axes)} names, the first 'sample'",
            )
        tap = replace(tap, axes=wanted.axes)
    pool = config.pool if wanted.pool is None else wanted.pool
    try:
        stored = reduce(lambda t, pooler: pooler.tap(t), pool, tap)
    except TapError as error:
        if wanted.pool is not None:
            raise
        whole.setdefault(error.message, []).append(tap.name)
        pool, stored = (), tap
    dtype = wanted.store_dtype or config.store.dtype or stored.dtype
    return TapPlan(tap, tuple(_dump(p) for p in pool), stored, dtype, wanted.axes is not None)


def _shard_size(taps: Sequence[TapPlan], batch: int) -> int:
    """As many samples as keep a shard below SHARD_BYTES, in whole batches."""
    cell = CellPlan("", "", {}, {}, tuple(taps), (), 1, batch, batch)
    each = sum(cell.bytes(tap) or 2**18 for tap in taps)
    return max(batch, min(MOST_SAMPLES, SHARD_BYTES // max(each, 1)) // batch * batch)


def free_disk(path: Path) -> int:
    """Bytes free where ``path`` is, or will be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _type(entry: Entry) -> str:
    return f"{entry.component.plugin}/{entry.component.name}"


def _options(entry: Entry) -> dict[str, Any]:
    """The checked options, with paths as they were given and a digest of the files they name."""
    options = entry.config.model_dump(mode="json")
    for name in type(entry.config).model_fields:
        value = getattr(entry.config, name)
        if isinstance(value, Path):
            options[name] = str(entry.given.get(name, options[name]))
            if value.is_file():
                options[f"{name} (content)"] = _identity(value)
    return {"type": _type(entry), **options}


def _identity(path: Path) -> str:
    """Size and digest of a file's first 64 MB: cheap, and a worker checks the weights themselves."""
    with path.open("rb") as file:
        return f"{path.stat().st_size} bytes, {hashlib.sha256(file.read(2**26)).hexdigest()[:16]}"


def _dump(pooler: Pooler) -> dict[str, Any]:
    for component in registry().all("pooler"):
        if component.target == f"{type(pooler).__module__}:{type(pooler).__qualname__}":
            name = f"{component.plugin}/{component.name}"
            return {"type": name, **pooler.model_dump(mode="json")}
    raise ConfigError(f"no plugin offers the pooler {type(pooler).__qualname__}")


def _pooler(options: Mapping[str, Any]) -> Pooler:
    component = registry().find("pooler", options["type"])
    rest = {name: value for name, value in options.items() if name != "type"}
    return cast("Pooler", registry().load(component)(**rest))


def _tap(data: Mapping[str, Any]) -> Tap:
    return Tap(**{**data, "axes": tuple(data["axes"]), "shape": tuple(data["shape"])})


def _tap_plan(data: Mapping[str, Any]) -> TapPlan:
    return TapPlan(
        **{
            **data,
            "tap": _tap(data["tap"]),
            "pool": tuple(data["pool"]),
            "stored": _tap(data["stored"]),
        }
    )
