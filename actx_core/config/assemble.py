"""Checks the tables of a pipeline one after the other and puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path as FilePath
from typing import Any

from actx_core.config import tables
from actx_core.config.check import Checked, Checker
from actx_core.config.keep import KeepError, parse_keep
from actx_core.config.locate import Path
from actx_core.config.names import Wanted, check_ids, check_on
from actx_core.config.pipeline import (
    AnalysisEntry,
    Entry,
    ExportEntry,
    JoinOptions,
    ModelEntry,
    PipelineConfig,
    RowOptions,
    RunOptions,
    SourceEntry,
    StoreEntry,
    TapRequest,
)
from actx_core.config.problems import Places, Problems, did_you_mean
from actx_core.config.translate import show
from actx_core.errors import ActxError


def assemble(
    data: dict[str, Any],
    problems: Problems,
    base: FilePath,
    file: FilePath | None,
    overrides: Sequence[str],
) -> PipelineConfig:
    """Check all of ``data``. Raises ConfigError with every mistake noted here or before."""
    _check_top(data, problems, ("run", "source", "model"))
    check = Checker(problems, base)
    run = _run(check, data)
    sources = tuple(chain.from_iterable(_each(check, data, "source", _sources)))
    models = tuple(chain.from_iterable(_each(check, data, "model", _models)))
    store, executor = _store(check, data), _executor(check, data)
    pool = check.poolers(data.get("pool"), ("pool",))
    rows = _rows(check, data)
    joins = _each(check, data, "join", lambda c, table, at: c.options(JoinOptions, table, at))
    analyses = _each(check, data, "analyze", _analysis)
    exports = _each(check, data, "export", _export)
    for section in ("source", "model", "analyze"):
        check_ids(section, check.seen[section], problems)
    check_on(_wanted(check), _cells(check), problems)
    problems.raise_any()
    assert run is not None
    assert rows is not None
    assert store is not None
    assert executor is not None
    return PipelineConfig(
        given=data,
        run=run,
        sources=sources,
        models=models,
        store=store,
        executor=executor,
        pool=pool,
        rows=rows,
        joins=joins,
        analyses=analyses,
        exports=exports,
        base=base,
        file=file,
        overrides=tuple(overrides),
    )


def assemble_analyses(
    data: dict[str, Any], problems: Problems, base: FilePath
) -> tuple[AnalysisEntry, ...]:
    """Check the analyses alone, in a file that may say nothing else. Raises ConfigError as `assemble`."""
    _check_top(data, problems, ("analyze",))
    check = Checker(problems, base)
    _run(check, data)
    analyses = _each(check, data, "analyze", _analysis)
    check_ids("analyze", check.seen["analyze"], problems)
    check_on(_wanted(check), None, problems)
    problems.raise_any()
    return analyses


def assemble_sources(data: dict[str, Any], base: FilePath) -> tuple[SourceEntry, ...]:
    """The sources whose plugins and files are here, of a pipeline that was checked elsewhere."""
    check = Checker(Problems(Places.of_dict(data)), base)
    _run(check, data)
    return tuple(chain.from_iterable(_each(check, data, "source", _sources)))


def _check_top(data: dict[str, Any], problems: Problems, needed: Sequence[str]) -> None:
    version = data.get("actx")
    first = f"the first line is actx = {tables.VERSION}"
    if version is None:
        problems.add((), "'actx', the version of the file's format, is missing", first)
    elif type(version) is not int:
        problems.add(("actx",), f"'actx' must be a whole number, found {show(version)}", first)
    elif version != tables.VERSION:
        message = f"the file has format {version}, this actx reads format {tables.VERSION}"
        problems.add(
            ("actx",), message, "install the version of actx-core that the file was made for"
        )
        problems.raise_any()  # what else looks wrong may be right in that format
    for name in data.keys() - set(tables.TABLES):
        problems.add((name,), f"unknown key '{name}'", did_you_mean(name, tables.TABLES))
    for name in needed:
        if not data.get(name):
            need = "out" if name == "run" else "type"
            problems.add((name,), f"there is no [{name}]", f'add [{name}] with {need} = "…"')


def _each(check: Checker, data: dict[str, Any], name: str, read: Any) -> tuple[Any, ...]:
    """What ``read`` makes of each table of a section, without those that have mistakes."""
    read_all = [read(check, table, at) for at, table in check.tables(data.get(name), (name,))]
    return tuple(entry for entry in read_all if entry is not None)


def _single(check: Checker, data: dict[str, Any], name: str) -> dict[str, Any] | None:
    value = data.get(name)
    return {} if value is None else check.table(value, (name,))


def _run(check: Checker, data: dict[str, Any]) -> RunOptions | None:
    """The table ``[run]``; what it hands to components is known to ``check`` from here on."""
    table = _single(check, data, "run")
    run = check.options(RunOptions, table, ("run",)) if table else None
    known = run or RunOptions(out=FilePath())
    check.handed = {"seed": known.seed, "device": known.device}
    if known.batch_size is not None:
        check.handed["batch_size"] = known.batch_size
    return run


def _rows(check: Checker, data: dict[str, Any]) -> RowOptions | None:
    table = _single(check, data, "rows")
    if table is None:
        return None
    if isinstance(keep := table.get("keep"), str) and keep:
        try:
            parse_keep(keep)
        except KeepError as error:
            check.problems.add(("rows", "keep"), error.message, error.hint, inside=error.column)
    return check.options(RowOptions, table, ("rows",))


def _sources(check: Checker, table: dict[str, Any], path: Path) -> list[SourceEntry]:
    return [
        SourceEntry(*found.entry, limit=found.keys.limit, fraction=found.keys.fraction)
        for found in _expanded(check, tables.SOURCE, table, path)
    ]


def _models(check: Checker, table: dict[str, Any], path: Path) -> list[ModelEntry]:
    long = [_tap(check, t, at) for at, t in check.tables(table.get("tap"), (*path, "tap"))]
    entries = _expanded(check, tables.MODEL, table, path)
    models = []
    for found in entries:
        own = found.entry[3].get("tap")  # an entry that stands for others may bring their taps
        read = long if "tap" in table else [_tap(check, t, at) for at, t in check.tables(own, path)]
        short = [TapRequest(found.keys.taps)] if found.keys.taps else []
        models.append(ModelEntry(*found.entry, taps=(*short, *(tap for tap in read if tap))))
    if not (table.get("tap") or "taps" in table or (models and all(m.taps for m in models))):
        hint = 'such as taps = ["layer*"]; `actx layers` lists them'
        check.problems.add(path, "the model has no 'taps'", hint)
    return models


def _expanded(
    check: Checker, section: tables.Section[tables.K], table: dict[str, Any], path: Path
) -> list[Checked[tables.K]]:
    """The entry of a table, or those that it stands for."""
    found = check.entry(section, table, path)
    if found is None:
        return []
    try:
        stands_for = found.entry[2].expand(table)
    except ActxError as error:
        check.problems.add(path, error.message, error.hint)
        return []
    if not stands_for:
        return [found]
    check.seen[section.name].pop()
    own = {key: table[key] for key in (*section.named, *section.apart) if key in table}
    if "as" in own and len(stands_for) > 1:
        message = f"'as' cannot name {len(stands_for)} of '{section.name}' at once"
        check.problems.add((*path, "as"), message, "leave it out: each has a name of its own")
    entries = [check.entry(section, {**each, **own}, path) for each in stands_for]
    return [entry for entry in entries if entry is not None]


def _tap(check: Checker, table: dict[str, Any], path: Path) -> TapRequest | None:
    own = {k: v for k, v in table.items() if k != "pool"}
    keys = check.options(tables.TapKeys, own, path, ("pool",))
    pool = check.poolers(table["pool"], (*path, "pool")) if "pool" in table else None
    return TapRequest(keys.match, pool, keys.store_dtype, keys.axes) if keys else None


def _store(check: Checker, data: dict[str, Any]) -> StoreEntry | None:
    table = _single(check, data, "store")
    found = None if table is None else check.entry(tables.STORE, table, ("store",))
    if found is None:
        return None
    return StoreEntry(*found.entry, join=found.keys.join, dtype=found.keys.dtype)


def _executor(check: Checker, data: dict[str, Any]) -> Entry | None:
    table = _single(check, data, "executor")
    found = None if table is None else check.entry(tables.EXECUTOR, table, ("executor",))
    return Entry(*found.entry) if found else None


def _analysis(check: Checker, table: dict[str, Any], path: Path) -> AnalysisEntry | None:
    found = check.entry(tables.ANALYZE, table, path)
    return AnalysisEntry(*found.entry, on=found.keys.on) if found else None


def _export(check: Checker, table: dict[str, Any], path: Path) -> ExportEntry | None:
    found = check.entry(tables.EXPORT, table, path)
    return ExportEntry(*found.entry, path=found.keys.path) if found else None


def _wanted(check: Checker) -> list[Wanted]:
    """What each analysis works on, as written, whatever else is wrong with it."""
    wanted = []
    for path, name, table in check.seen["analyze"]:
        on = table.get("on", ["**"])
        patterns = on if isinstance(on, list) else []
        wanted.append(Wanted(path, name, tuple(p for p in patterns if isinstance(p, str))))
    return wanted


def _cells(check: Checker) -> list[str] | None:
    """``source/model`` of every cell; None where a mistake hides some."""
    sources, models = (
        [name for _, name, _ in check.seen[section]] for section in ("source", "model")
    )
    if not sources or not models or None in sources or None in models:
        return None
    return [f"{source}/{model}" for source in sources for model in models]
