"""Whole runs with the toy plugin: numbers against a plain loop, resume, growth, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from actx_core import (
    ConfigError,
    ExecutionError,
    ModelError,
    OutOfMemory,
    Pipeline,
    Sample,
    SourceError,
    StoreError,
    TapError,
    open_run,
)
from actx_core.types import Progress, Receipt, Stage
from actx_core.verify import verify


def pipeline(out: Path, **changes: Any) -> dict[str, Any]:
    return {
        "actx": 1,
        "run": {"out": str(out), "batch_size": 4, "shard_size": 6, **changes.pop("run", {})},
        "source": {"type": "numbers", "as": "s", "n": 20, **changes.pop("source", {})},
        "model": {
            "type": "toy",
            "as": "m",
            "taps": ["last", "embed", "hidden", "length"],
            **changes.pop("model", {}),
        },
        "store": {"type": "npy", **changes.pop("store", {})},
        **changes,
    }


def run(spec: Mapping[str, Any], **options: Any) -> list[Receipt]:
    return list(Pipeline.from_dict(spec).run(**options))


def sequences(n: int = 20) -> list[np.ndarray]:
    return [np.random.default_rng(i).standard_normal(1 + i % 9) for i in range(n)]


def reference(n: int = 20, width: int = 6) -> dict[str, np.ndarray]:
    """The toy network, one sequence at a time, without actx."""
    rng = np.random.default_rng(0)
    up, mix = rng.standard_normal(width), rng.standard_normal((width, width))
    embed = [x[:, None] * up for x in sequences(n)]
    hidden = [np.tanh(e @ mix) for e in embed]
    return {
        "embed": np.concatenate(embed),
        "hidden": np.concatenate(hidden),
        "last": np.stack([h[-1] for h in hidden]),
        "length": np.array([len(e) for e in embed], float),
    }


def files(folder: Path) -> dict[str, bytes]:
    """Content of every file that must not depend on how the run went."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name.startswith(".") or name in ("receipts.jsonl", "report.html"):
            continue
        content = path.read_bytes()
        if name == "run.json":
            content = json.dumps(
                {k: v for k, v in json.loads(content).items() if k != "timings"}
            ).encode()
        if name.endswith("result.json"):
            content = json.dumps(
                {k: v for k, v in json.loads(content).items() if k not in ("seconds", "sha256")}
            ).encode()
        found[name] = content
    return found


@pytest.mark.parametrize("store", ["npy", "hdf5", "parquet"])
@pytest.mark.parametrize("join", [True, False])
def test_stored_numbers_equal_a_plain_loop(tmp_path: Path, store: str, join: bool) -> None:
    receipts = run(pipeline(tmp_path / "run", store={"type": store, "join": join}))
    assert [r.shard for r in receipts] == [0, 1, 2, 3]
    found, expected = open_run(tmp_path / "run"), reference()
    assert found.complete
    for tap, values in expected.items():
        array = found[f"s/m/{tap}"]
        assert array.shape == values.shape
        np.testing.assert_allclose(array.numpy(), values, rtol=1e-6)
        assert array.dtype == np.float32
    rows = found["s/m/embed"].rows.to_pydict()
    lengths = [len(x) for x in sequences()]
    assert rows["sample"] == [f"n{i:03}" for i, n in enumerate(lengths) for _ in range(n)]
    assert rows["token"] == [t for n in lengths for t in range(n)]
    np.testing.assert_allclose(rows["value"], np.concatenate(sequences()))
    whole = found["s/m/last"].rows.to_pydict()
    assert whole["number"] == list(range(20))
    assert whole["n_tokens"] == lengths
    assert verify(tmp_path / "run") == []


def test_plain_numpy_and_pyarrow_read_the_files(tmp_path: Path) -> None:
    run(pipeline(tmp_path))
    np.testing.assert_allclose(np.load(tmp_path / "s/m/last.npy"), reference()["last"], rtol=1e-6)
    assert pq.read_table(tmp_path / "s/m/rows.token.parquet").num_rows == len(reference()["embed"])
    assert pq.read_table(tmp_path / "s/samples.parquet").column_names[:2] == ["sample", "replicate"]
    about = json.loads((tmp_path / "s/m/last.json").read_text())
    assert about["stats"]["mean"] == pytest.approx(reference()["last"].mean(), rel=1e-6)
    assert about["stats"]["variance"] == pytest.approx(reference()["last"].var(), rel=1e-6)


def test_indexing_equals_numpy(tmp_path: Path) -> None:
    run(pipeline(tmp_path, store={"join": False}))
    array = open_run(tmp_path)["s/m/embed"]
    whole = array.numpy()
    rng = np.random.default_rng(0)
    mask = rng.random(len(whole)) < 0.3
    picks = rng.integers(-len(whole), len(whole), 30)
    for key in (
        3,
        -1,
        slice(5, 50),
        slice(None, None, 7),
        slice(60, 2, -3),
        mask,
        picks,
        [1, 2],
        (slice(2, 9), 3),
        (4, 1),
        ...,
    ):
        np.testing.assert_array_equal(array[key], whole[key])
    np.testing.assert_array_equal(np.concatenate([b for _, b in array.blocks(500)]), whole)
    with pytest.raises(IndexError):
        array[len(whole)]
    with pytest.raises(IndexError):
        array[[len(whole)]]


def test_pandas_and_xarray(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "sample,colour\n"
        + "".join(f"n{i:03},{'red' if i < 5 else 'blue'}\n" for i in reversed(range(20)))
    )
    run(pipeline(tmp_path / "run", join={"path": str(labels)}))
    array = open_run(tmp_path / "run")["s/m/last"]
    table = array.table()
    assert list(table["colour"])[:6] == ["red"] * 5 + ["blue"]
    np.testing.assert_array_equal(
        table[[f"channel{i}" for i in range(6)]].to_numpy(), array.numpy()
    )
    found = array.xarray()
    assert found.dims == ("row", "channel")
    assert list(found.coords["sample"].values[:2]) == ["n000", "n001"]


def test_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    spec = pipeline(tmp_path)
    run(spec)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    stages: list[Any] = []
    assert run(spec, watch=stages.append) == []
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    assert stages[-1] == Stage("done", "nothing to do")


def test_growth_extends_a_run_to_what_one_run_gives(tmp_path: Path) -> None:
    small = pipeline(tmp_path / "a", source={"limit": 12}, model={"taps": ["last"]})
    run(small)
    run({**small, "source": {**small["source"], "limit": 20}})
    grown = pipeline(tmp_path / "a", source={"limit": 20}, model={"taps": ["last", "embed"]})
    grown["source"] = [grown["source"], {"type": "numbers", "as": "t", "n": 5, "first": 40}]
    grown["model"] = [grown["model"], {"type": "toy", "as": "m2", "width": 3, "taps": ["last"]}]
    grown["analyze"] = [{"type": "norms", "on": ["s/m/last"]}]
    receipts = run(grown)
    assert {r.cell for r in receipts} == {"s/m", "s/m2", "t/m", "t/m2"}
    assert run(grown) == []
    found = open_run(tmp_path / "a")
    np.testing.assert_allclose(found["s/m/embed"].numpy(), reference()["embed"], rtol=1e-6)
    np.testing.assert_allclose(found["s/m/last"].numpy(), reference()["last"], rtol=1e-6)
    assert (tmp_path / "a/analyses/norms").is_dir()
    assert verify(tmp_path / "a") == []


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        ({"model": {"width": 7}}, ["model.width: 6 -> 7"]),
        ({"run": {"batch_size": 5}}, ["model.batch_size: 4 -> 5"]),
        ({"source": {"flat": False}}, ["source.flat: True -> False"]),
        ({"rows": {"keep": "number > 3"}}, ["rows.keep"]),
        ({"store": {"type": "hdf5"}}, ["store.type"]),
        (
            {"model": {"width": 7}, "run": {"seed": 3}},
            ["model.width", "seed: 0 -> 3", "model.seed"],
        ),
        ({"pool": {"type": "mean", "over": ["token"]}}, ["s/m/embed", "pool"]),
        ({"store": {"dtype": "float16"}}, ["dtype"]),
    ],
)
def test_a_change_that_alters_numbers_is_refused_by_name(
    tmp_path: Path, change: dict[str, Any], keys: list[str]
) -> None:
    run(pipeline(tmp_path))
    before = files(tmp_path)
    with pytest.raises(ExecutionError) as caught:
        run(pipeline(tmp_path, **change))
    for key in keys:
        assert key in str(caught.value)
    assert files(tmp_path) == before


def test_only_and_slices_and_finish_equal_one_run(tmp_path: Path) -> None:
    def spec(out: str) -> dict[str, Any]:
        both = pipeline(
            tmp_path / out,
            analyze=[
                {"type": "norms", "on": ["*/*/last"], "as": "n"},
                {"type": "norms", "on": ["n"], "as": "nn"},
            ],
        )
        both["model"] = [both["model"], {"type": "toy", "as": "m2", "width": 3, "taps": ["last"]}]
        return both

    run(spec("run-w"))
    expected = files(tmp_path / "run-w")
    run(spec("run-o"), only=["*/m2"])
    assert not open_run(tmp_path / "run-o").complete
    run(spec("run-o"))
    for part in (2, 3, 1):
        assert run(spec("run-s"), slice=(part, 3))
        if part != 1:
            with pytest.raises(ExecutionError, match="shards are missing"):
                Pipeline.from_dict(spec("run-s")).finish()
    Pipeline.from_dict(spec("run-s")).finish()
    for other in ("run-o", "run-s"):
        found = files(tmp_path / other)
        assert found.keys() == expected.keys()
        for name, content in found.items():
            assert content.replace(other.encode(), b"run-w") == expected[name], name
    with pytest.raises(ConfigError, match="no cell matches"):
        run(spec("run-o"), only=["nope"])


def test_the_local_executor_equals_the_serial_one(tmp_path: Path) -> None:
    run(pipeline(tmp_path / "serial"))
    run(pipeline(tmp_path / "local", executor={"type": "local", "workers": 2}))
    expected, found = files(tmp_path / "serial"), files(tmp_path / "local")
    for name in expected.keys() - {"run.json"}:
        assert found[name] == expected[name], name


def test_bad_samples_raise_by_name_or_are_listed_and_retried(tmp_path: Path) -> None:
    bad = {"source": {"bad": [3, 11], "folder": str(tmp_path / "fix")}}
    with pytest.raises(SourceError, match="sample 3 is broken"):
        run(pipeline(tmp_path / "run", **bad))
    skip = pipeline(tmp_path / "run", **bad, run={"on_error": "skip"})
    run(skip)
    found = open_run(tmp_path / "run")
    assert [(s.sample, s.position) for _, s in found.skipped] == [("n003", 3), ("n011", 11)]
    keep = [i for i in range(20) if i not in (3, 11)]
    np.testing.assert_allclose(found["s/m/last"].numpy(), reference()["last"][keep], rtol=1e-6)
    assert run(skip, retry_skipped=True)
    assert len(open_run(tmp_path / "run").skipped) == 2
    (tmp_path / "fix").mkdir()
    (tmp_path / "fix/good").touch()
    assert run(skip, retry_skipped=True)
    found = open_run(tmp_path / "run")
    assert found.skipped == []
    np.testing.assert_allclose(
        found["s/m/last"].numpy(), reference()["last"][[*keep, 3, 11]], rtol=1e-6
    )
    assert found["s/m/last"].rows["number"].to_pylist()[-2:] == [3, 11]
    assert verify(tmp_path / "run") == []


def test_an_error_of_the_interpreter_is_no_fault_of_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11.7 raises it by chance where threads parse: python/cpython#106905."""
    load, seen = Sample.load, set()

    def once(sample: Sample) -> Any:
        if sample.id not in seen:
            seen.add(sample.id)
            raise SystemError("AST constructor recursion depth mismatch (before=57, after=53)")
        return load(sample)

    monkeypatch.setattr(Sample, "load", once)
    run(pipeline(tmp_path / "run", run={"on_error": "skip"}))
    found = open_run(tmp_path / "run")
    assert (len(seen), found.skipped) == (20, [])
    np.testing.assert_allclose(found["s/m/last"].numpy(), reference()["last"], rtol=1e-6)


def test_a_retry_that_was_cut_short_takes_no_sample_twice(tmp_path: Path) -> None:
    bad = {"source": {"bad": [3, 11], "folder": str(tmp_path / "fix")}}
    skip = pipeline(tmp_path / "run", **bad, run={"on_error": "skip"})
    run(skip)
    for _ in range(2):  # the shard is planned, and fails
        with pytest.raises(SourceError, match="sample 3 is broken"):
            run(pipeline(tmp_path / "run", **bad), retry_skipped=True)
    (tmp_path / "fix").mkdir()
    (tmp_path / "fix/good").touch()
    run(skip, retry_skipped=True)
    rows = open_run(tmp_path / "run")["s/m/last"].rows
    keep = [i for i in range(20) if i not in (3, 11)]
    assert rows["number"].to_pylist() == [*keep, 3, 11]


def test_taps_added_later_skip_what_the_first_have_skipped(tmp_path: Path) -> None:
    bad = {"bad": [3, 11], "folder": str(tmp_path / "fix")}
    skip = {"source": bad, "run": {"on_error": "skip"}}
    run(pipeline(tmp_path / "run", **skip, model={"taps": ["last"]}))
    (tmp_path / "fix").mkdir()
    (tmp_path / "fix/good").touch()  # they could be read now
    run(pipeline(tmp_path / "run", **skip))
    found = open_run(tmp_path / "run")
    keep = [i for i in range(20) if i not in (3, 11)]
    assert found["s/m/length"].rows["number"].to_pylist() == keep
    for tap in ("last", "length"):
        np.testing.assert_allclose(found[f"s/m/{tap}"], reference()[tap][keep], rtol=1e-6)


def test_taps_with_other_rows_than_the_first_are_not_stored(tmp_path: Path) -> None:
    (tmp_path / "fix").mkdir()
    (tmp_path / "fix/good").touch()
    skip = {
        "source": {"bad": [13], "folder": str(tmp_path / "fix")},
        "run": {"on_error": "skip"},
    }
    run(pipeline(tmp_path / "run", **skip, model={"taps": ["last"]}))
    (tmp_path / "fix/good").unlink()  # one of them cannot be read any more
    for _ in range(2):  # it is no better if the command is repeated
        with pytest.raises(ExecutionError, match="shard 2: the rows are not those"):
            run(pipeline(tmp_path / "run", **skip))
    assert len(open_run(tmp_path / "run")["s/m/length"]) == 12
    (tmp_path / "fix/good").touch()
    run(pipeline(tmp_path / "run", **skip))
    assert len(open_run(tmp_path / "run")["s/m/length"]) == 20
    assert verify(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda batch: batch[:-1], "m: batches gave 3 samples for 6 in shard 0"),
        (lambda batch: batch * 2, "m: batches gave 8 samples for 6 in shard 0"),
    ],
)
def test_batches_that_lose_or_repeat_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, message: str
) -> None:
    from actx_toy.model import Toy

    monkeypatch.setattr(Toy, "batches", lambda self, samples: map(given, pairs(samples)))
    with pytest.raises(ModelError, match=message):
        run(pipeline(tmp_path / "a"))
    assert open_run(tmp_path / "a").receipts == []


def pairs(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    given = list(samples)
    return (given[i : i + 2] for i in range(0, len(given), 2))


def test_a_stream_that_repeats_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from actx_toy.source import Stream

    read = Stream.read
    monkeypatch.setattr(Stream, "read", lambda self, s: chain(read(self, s), read(self, s)))
    spec = pipeline(tmp_path / "a", source={"type": "stream", "first": 1})
    with pytest.raises(SourceError, match="s: two samples of shard 0 are called 'n000'"):
        run(spec)


def test_a_sample_that_cannot_be_prepared_is_found_in_its_batch(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match="'n000' cannot be prepared: ValueError: expected one axis, got 2"
    ):
        run(pipeline(tmp_path, source={"flat": False}))


def test_out_of_memory_halves_the_batch_and_says_so(tmp_path: Path) -> None:
    receipts = run(pipeline(tmp_path / "a", model={"fail_above": 2}))
    assert {r.batch for r in receipts} == {2}
    np.testing.assert_allclose(
        open_run(tmp_path / "a")["s/m/embed"].numpy(), reference()["embed"], rtol=1e-6
    )
    assert "run.batch_size=2" in (tmp_path / "a/report.html").read_text().replace("<wbr>", "")
    with pytest.raises(
        OutOfMemory,
        match="a batch of one sample does not fit in memory; the largest tap is 'embed'",
    ):
        run(pipeline(tmp_path / "b", model={"fail_above": 0}))


def test_keep_narrows_rows_and_what_is_pooled(tmp_path: Path) -> None:
    run(pipeline(tmp_path / "a", rows={"keep": "not special and number > 3"}))
    found = open_run(tmp_path / "a")
    keep = np.concatenate(
        [
            np.arange(len(x)) > 0 if i > 3 else np.zeros(len(x), bool)
            for i, x in enumerate(sequences())
        ]
    )
    np.testing.assert_allclose(found["s/m/embed"].numpy(), reference()["embed"][keep], rtol=1e-6)
    pooled = pipeline(
        tmp_path / "b",
        rows={"keep": "not special"},
        pool={"type": "mean", "over": ["token"]},
        source={"first": 1, "n": 7},
    )
    run(pooled)
    rng = np.random.default_rng(0)
    up = rng.standard_normal(6)
    expected = [
        (np.random.default_rng(i).standard_normal(1 + i % 9)[1:, None] * up).mean(0)
        for i in range(1, 8)
    ]
    np.testing.assert_allclose(open_run(tmp_path / "b")["s/m/embed"].numpy(), expected, rtol=1e-6)
    run(pipeline(tmp_path / "c", rows={"keep": "parity == 'odd'"}, model={"taps": ["last"]}))
    np.testing.assert_allclose(
        open_run(tmp_path / "c")["s/m/last"].numpy(), reference()["last"][1::2], rtol=1e-6
    )


def test_a_share_of_rows_is_seeded_and_independent_of_batches(tmp_path: Path) -> None:
    for out, size in (("a", 4), ("b", 7)):
        run(
            pipeline(
                tmp_path / out, rows={"sample": 0.4}, run={"batch_size": size, "shard_size": size}
            )
        )
    a, b = (open_run(tmp_path / out) for out in "ab")
    for tap in ("embed", "last"):
        np.testing.assert_allclose(a[f"s/m/{tap}"].numpy(), b[f"s/m/{tap}"].numpy(), rtol=1e-6)
        assert a[f"s/m/{tap}"].rows.to_pydict() == b[f"s/m/{tap}"].rows.to_pydict()
        assert 0.2 < len(a[f"s/m/{tap}"]) / len(reference()[tap]) < 0.6


def test_the_plan_predicts_the_payload(tmp_path: Path) -> None:
    spec = pipeline(tmp_path, store={"dtype": "float16"})
    plan = Pipeline.from_dict(spec).plan()
    assert not (tmp_path / "plan.json").exists()
    run(spec)
    found = open_run(tmp_path)
    for cell, tap, size, exact in plan.arrays():
        array = found[f"{cell.id}/{tap.name}"]
        written = len(array) * array.spec.row_bytes
        assert exact == (tap.name in ("last", "length"))
        assert size is not None
        assert size == written if exact else size > written


@pytest.mark.parametrize("known", [0, 1])
def test_streams(tmp_path: Path, known: int) -> None:
    spec = pipeline(tmp_path, source={"type": "stream", "first": known})
    run(spec)
    found = open_run(tmp_path)
    np.testing.assert_allclose(found["s/m/hidden"].numpy(), reference()["hidden"], rtol=1e-6)
    assert found.samples("s")["sample"].to_pylist() == [f"n{i:03}" for i in range(20)]
    assert run(spec) == []


def test_a_full_disk_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actx_core.run.free_disk", lambda path: 100)
    with pytest.raises(StoreError, match="100 B free"):
        run(pipeline(tmp_path / "run"))
    assert not list((tmp_path / "run").rglob("*.npy"))


def test_much_is_confirmed_first(tmp_path: Path) -> None:
    spec = pipeline(tmp_path, run={"confirm_above": "1kB"})
    with pytest.raises(ExecutionError, match=r"run.confirm_above = 1.00 kB"):
        run(spec)
    asked: list[Any] = []
    assert run(spec, confirm=lambda plan: bool(asked.append(plan)) or True)
    assert asked[0].bytes > 1000
    assert run(spec) == []


def test_the_same_tap_asked_twice_differently_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'last' is matched twice"):
        run(
            pipeline(
                tmp_path,
                model={"taps": ["last"], "tap": [{"match": ["l*"], "store_dtype": "float16"}]},
            )
        )
    with pytest.raises(TapError, match="silent"):
        run(pipeline(tmp_path, model={"taps": ["silent"]}))


def test_a_pipeline_may_name_the_axes_itself(tmp_path: Path) -> None:
    """Names follow the order of the model's axes, and poolers use them."""
    axes = ["sample", "unit", "step"]
    tap = {"match": ["hidden"], "axes": axes, "pool": [{"type": "mean", "over": ["step"]}]}
    spec = pipeline(tmp_path, model={"tap": [tap]})
    del spec["model"]["taps"]
    run(spec)
    array = open_run(tmp_path)["s/m/hidden"]
    assert array.axes == ("row", "unit")
    rng = np.random.default_rng(0)
    up, mix = rng.standard_normal(6), rng.standard_normal((6, 6))
    expected = [np.tanh(x[:, None] * up @ mix).mean(0) for x in sequences()]
    np.testing.assert_allclose(array.numpy(), expected, rtol=1e-5)
    tap["axes"] = axes[:2]
    with pytest.raises(TapError, match="do not fit shape"):
        run({**spec, "run": {"out": str(tmp_path / "b")}})


@pytest.mark.parametrize("store", ["npy", "hdf5", "parquet"])
def test_verify_finds_a_flipped_bit_in_any_file(tmp_path: Path, store: str) -> None:
    """One bit, in every file of a run; then each file cut short, then gone."""
    run(
        pipeline(
            tmp_path,
            store={"type": store},
            analyze=[{"type": "norms", "on": ["s/m/last"]}],
        )
    )
    assert verify(tmp_path) == []
    rng = np.random.default_rng(0)
    checked = [p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size]
    checked.remove(tmp_path / "report.html")
    assert len(checked) > 15
    for path in checked:
        good = path.read_bytes()
        position = int(rng.integers(len(good)))
        flipped = bytes([good[position] ^ (1 << int(rng.integers(8)))])
        for damage in (
            good[:position] + flipped + good[position + 1 :],
            good[: len(good) // 2],
            None,
        ):
            path.unlink()
            if damage is not None:
                path.write_bytes(damage)
            assert damages(tmp_path), f"{path.name} at {position}"
            path.write_bytes(good)
    assert verify(tmp_path) == []


def damages(folder: Path) -> list[str]:
    """What verify says, be it about files or that it cannot even begin."""
    try:
        return verify(folder)
    except StoreError as error:
        return [str(error)]


def test_verify_in_the_middle_of_growth(tmp_path: Path) -> None:
    """run.json vouches for nothing while the run grows."""
    run(pipeline(tmp_path, source={"limit": 8}))
    driver = Pipeline.from_dict(pipeline(tmp_path)).run()
    next(driver)
    driver.close()
    assert verify(tmp_path) == []
    assert not open_run(tmp_path).manifest["complete"]
    run(pipeline(tmp_path))
    assert verify(tmp_path) == []


def test_two_drivers_may_not_share_a_run(tmp_path: Path) -> None:
    pipe = Pipeline.from_dict(pipeline(tmp_path)).run()
    next(pipe)
    with pytest.raises(ExecutionError, match="another actx process"):
        run(pipeline(tmp_path))
    pipe.close()
    assert run(pipeline(tmp_path))


def test_progress_counts_every_sample_and_byte(tmp_path: Path) -> None:
    seen: list[Any] = []
    run(pipeline(tmp_path), watch=seen.append)
    progress = [p for p in seen if isinstance(p, Progress)]
    assert sum(p.samples for p in progress) == 20
    assert sum(p.bytes for p in progress) == sum(a.nbytes // 2 for a in reference().values())


def test_weights_that_change_under_a_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline(tmp_path, source={"limit": 8}))
    from actx_toy.model import Toy

    monkeypatch.setattr(Toy, "fingerprint", lambda self: "other")
    with pytest.raises(ExecutionError, match="weights have changed"):
        run(pipeline(tmp_path, source={"limit": 12}))


def test_observers_see_the_run_and_a_failing_one_is_switched_off(
    tmp_path: Path, fake: Callable[..., Any]
) -> None:
    seen = fake()
    with pytest.warns(UserWarning, match="failed in actx_on_shard"):
        run(pipeline(tmp_path))
    assert seen == ["plan", "shard"]  # not called again, and the run ended well
    assert open_run(tmp_path).complete


def test_joins_are_checked_before_the_work(tmp_path: Path) -> None:
    def spec(text: str) -> dict[str, Any]:
        (tmp_path / "t.csv").write_text(text)
        return pipeline(tmp_path / "run", join={"path": str(tmp_path / "t.csv")})

    for text, message in (
        ("sample,parity\nn000,1\n", r"columns \['parity'\] already"),
        ("name,x\nn000,1\n", "expected a column 'sample'"),
        ("sample,x\nn000,1\nn000,2\n", "two lines have sample = 'n000'"),
        ("sample,x\n", "no lines"),
        ("sample,x\n007,1\n", "no line fits any row: expected sample such as 'n000', found '007'"),
    ):
        with pytest.raises(StoreError, match=message):
            run(spec(text))
        assert not (tmp_path / "run" / "receipts").exists()


def test_slices_may_run_at_the_same_time(tmp_path: Path) -> None:
    spec = tmp_path / "p.toml"
    spec.write_text(
        'actx = 1\n[run]\nout = "run"\nbatch_size = 4\nshard_size = 3\n'
        '[source]\ntype = "numbers"\nas = "s"\nn = 90\n'
        '[model]\ntype = "toy"\nas = "m"\ntaps = ["last"]\n'
    )
    command = [sys.executable, "-m", "actx_core", "run", str(spec), "--slice"]
    both = [subprocess.Popen([*command, f"{i}/2"], stdout=subprocess.DEVNULL) for i in (1, 2)]
    assert [process.wait(120) for process in both] == [0, 0]
    Pipeline.from_file(spec).finish()
    np.testing.assert_allclose(
        open_run(tmp_path / "run")["s/m/last"].numpy(), reference(90)["last"], rtol=1e-6
    )
    assert verify(tmp_path / "run") == []
