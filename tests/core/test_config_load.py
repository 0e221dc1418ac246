"""Right pipelines through ``load_file`` and ``load_dict``: defaults, ids, paths, what [run] hands down."""

from __future__ import annotations

import copy
import datetime
import json
import time
from pathlib import Path

import pytest

from actx_core.config.load import load_dict, load_file

GOOD = (Path(__file__).parent / "toy" / "pipeline.toml").read_text()

pytestmark = pytest.mark.usefixtures("toy")


def test_a_file(write, tmp_path):
    path = write(GOOD)
    pipeline = load_file(path)
    assert pipeline.file == path
    assert pipeline.base == tmp_path
    assert pipeline.run.out == tmp_path / "runs/a"
    (source,), (model,), (analysis,) = pipeline.sources, pipeline.models, pipeline.analyses
    assert (source.id, source.limit, source.fraction) == ("rotated", None, 1.0)
    assert source.config.path == tmp_path / "data/rotated.d"
    assert (source.component.plugin, source.component.kind) == ("toy", "source")
    assert source.given == {"type": "files", "path": "data/rotated.d"}
    assert (model.id, model.taps[0].match, model.taps[0].pool) == ("small", ("layer*",), None)
    assert (analysis.id, analysis.on) == ("groups", ("rotated/*/layer1",))
    assert (pipeline.store.component.name, pipeline.store.join, pipeline.store.dtype) == (
        "npy",
        True,
        "",
    )
    assert pipeline.executor.component.name == "serial"
    assert (pipeline.pool, pipeline.joins, pipeline.exports) == ((), (), ())
    assert (pipeline.rows.keep, pipeline.rows.sample) == ("", 1.0)
    assert pipeline.given["run"]["seed"] == 5


def test_every_table(write, tmp_path):
    pipeline = load_file(
        write("""\
        actx = 1
        run.out = "/abs/out"
        pool = [{ type = "average", over = "x" }, { type = "toy/average", over = ["y"], seed = 9 }]
        [source]
        type = "toy/files"
        path = "a"
        as = "Pictures 1"
        limit = 10
        fraction = 0.5
        [model]
        type = "toy"
        taps = ["a"]
        resize.size = 3
        [[model.tap]]
        match = ["b", "c*"]
        store_dtype = "float16"
        axes = ["sample", "token"]
        [model.tap.pool]
        type = "average"
        over = ["token"]
        [[model.tap]]
        match = ["d"]
        pool = []
        [rows]
        keep = "not special"
        sample = 0.5
        [store]
        type = "hdf5"
        join = false
        dtype = "float32"
        [executor]
        type = "farm"
        workers = 3
        [[join]]
        path = "ratings.csv"
        [[analyze]]
        type = "groups"
        as = "first"
        [[analyze]]
        type = "groups"
        on = ["first", "Pictures 1/small/a"]
        k = [2, 3]
        [export]
        format = "csv"
        path = "out/{source}.csv"
        digits = 2
        """)
    )
    (source,), (model,) = pipeline.sources, pipeline.models
    assert (source.id, source.limit, source.fraction) == ("Pictures 1", 10, 0.5)
    assert [tap.match for tap in model.taps] == [("a",), ("b", "c*"), ("d",)]
    own, empty = model.taps[1], model.taps[2]
    assert (own.store_dtype, own.axes, own.pool[0].over) == (
        "float16",
        ("sample", "token"),
        ("token",),
    )
    assert (empty.pool, model.taps[0].pool) == ((), None)
    assert model.config.resize.size == 3
    assert [(p.over, p.seed) for p in pipeline.pool] == [(("x",), 0), (("y",), 9)]
    assert (pipeline.store.join, pipeline.store.dtype) == (False, "float32")
    assert pipeline.executor.config.workers == 3
    assert pipeline.joins[0].path == tmp_path / "ratings.csv"
    assert [a.id for a in pipeline.analyses] == ["first", "groups"]
    assert pipeline.analyses[0].on == ("**",)
    assert pipeline.analyses[1].config.k == [2, 3]
    assert pipeline.exports[0].path == tmp_path / "out/{source}.csv"
    assert pipeline.exports[0].config.digits == 2
    assert pipeline.run.out == Path("/abs/out")


def test_run_hands_seed_device_and_batch_size_to_who_has_them(plain):
    data = plain
    data["run"] |= {"seed": 7, "device": "cuda:1", "batch_size": 4}
    data["model"] = [data["model"], {**data["model"], "as": "own", "seed": 1, "batch_size": 2}]
    data["pool"] = {"type": "average", "over": "x"}
    data["analyze"] = {"type": "groups"}
    data["store"] = {"type": "npy"}
    pipeline = load_dict(data)
    first, own = (m.config for m in pipeline.models)
    assert (first.seed, first.device, first.batch_size) == (7, "cuda:1", 4)
    assert (own.seed, own.device, own.batch_size) == (1, "cuda:1", 2)
    assert (pipeline.sources[0].config.seed, pipeline.pool[0].seed) == (7, 7)
    assert pipeline.analyses[0].config.seed == 7
    assert pipeline.models[0].given == {"type": "toy", "taps": ["layer*"]}


def test_without_run_options_their_defaults_are_handed(plain):
    (model,) = load_dict(plain).models
    assert (model.config.seed, model.config.device, model.config.batch_size) == (0, "auto", 32)


def test_a_handed_value_that_does_not_fit_is_shown_in_run(wrong):
    text = GOOD.replace("seed = 5", "seed = 5000")
    assert wrong(text) == ["5:1: 'seed' must be below 1000, found 5000"]


def test_dict_paths_start_from_the_base(tmp_path, monkeypatch, plain):
    monkeypatch.chdir(tmp_path)
    assert load_dict(plain).sources[0].config.path == tmp_path / "data/x"
    pipeline = load_dict(plain, base=tmp_path / "b")
    assert pipeline.sources[0].config.path == tmp_path / "b/data/x"
    assert (pipeline.base, pipeline.file) == (tmp_path / "b", None)


def test_dict_is_left_alone_and_may_hold_paths_and_tuples(tmp_path, plain):
    data = plain
    data["source"]["path"] = tmp_path
    data["model"]["taps"] = ("a", "b")
    before = copy.deepcopy(data)
    pipeline = load_dict(data, overrides=["run.seed=3"])
    assert data == before
    assert pipeline.given["run"]["seed"] == 3
    assert pipeline.given["source"]["path"] == str(tmp_path)
    assert json.loads(json.dumps(pipeline.given)) == pipeline.given
    assert pipeline.overrides == ("run.seed=3",)


def test_what_is_given_loads_again_to_the_same(write):
    first = load_file(write(GOOD), ["model.width=9"])
    again = load_dict(first.given, base=first.base)
    assert again.models == first.models
    assert again.sources == first.sources
    assert again.run == first.run


def test_dates_reach_the_config(plain):
    data = plain
    data["model"]["free"] = datetime.date(2020, 1, 2)
    assert load_dict(data).models[0].config.free == datetime.date(2020, 1, 2)


def test_validation_imports_no_torch_and_takes_less_than_a_second(write, toy, run_python):
    path = write(GOOD + '[pool]\ntype = "mean"\nover = ["y", "x"]\n[rows]\nkeep = "a > 1"\n')
    code = f"""
import sys, time
began = time.process_time()
from actx_core.config.load import load_file
load_file({str(path)!r})
print(time.process_time() - began < 1, "torch" in sys.modules)
"""
    assert run_python(code, toy) == "True False"


def test_loading_again_is_quick(write):
    path = write(GOOD)
    load_file(path)
    began = time.process_time()
    for _ in range(20):
        load_file(path)
    assert time.process_time() - began < 20 * 0.05
