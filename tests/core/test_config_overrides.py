"""``--set PATH=VALUE``: what it changes, and where its mistakes are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from actx_core.config.load import load_dict, load_file

GOOD = (Path(__file__).parent / "toy" / "pipeline.toml").read_text()

pytestmark = pytest.mark.usefixtures("toy")


@pytest.mark.parametrize(
    ("override", "look"),
    [
        ("run.seed=3", lambda p: p.run.seed == 3),
        ("model.0.name=vit_b_16", lambda p: p.models[0].config.name == "vit_b_16"),
        ("model.name=vit=b", lambda p: p.models[0].config.name == "vit=b"),
        ("model.name='50'", lambda p: p.models[0].config.name == "50"),
        (" model . 0 . width = 3 ", lambda p: p.models[0].config.width == 3),
        ('model.taps=["a", "b"]', lambda p: p.models[0].taps[0].match == ("a", "b")),
        ("model.taps.0=b", lambda p: p.models[0].taps[0].match == ("b",)),
        ("model.resize.size=7", lambda p: p.models[0].config.resize.size == 7),
        ("source.0.limit=7", lambda p: p.sources[0].limit == 7),
        ("rows.keep=label == 'x'", lambda p: p.rows.keep == "label == 'x'"),
        ("store.type=hdf5", lambda p: p.store.component.name == "hdf5"),
        ("model.free.'a b'.c=1", lambda p: p.models[0].config.free == {"a b": {"c": 1}}),
        ("pool={type='average', over='x'}", lambda p: p.pool[0].over == ("x",)),
        ("model.0={type='toy', taps=['z'], as='new'}", lambda p: p.models[0].id == "new"),
        ("analyze.0.on=['**']", lambda p: p.analyses[0].on == ("**",)),
        ("run.out=", lambda p: p.run.out == p.base),
        ("model.free=a\nb=1", lambda p: p.models[0].config.free == "a\nb=1"),
    ],
)
def test_overrides(write, override, look):
    pipeline = load_file(write(GOOD), [override])
    assert look(pipeline)
    assert pipeline.overrides == (override,)


def test_overrides_of_a_dict_with_single_tables(plain):
    pipeline = load_dict(
        plain, overrides=["model.0.name=a", "model.width=3", "rows.sample=0.5", "rows.keep=a"]
    )
    assert (pipeline.models[0].id, pipeline.models[0].config.width) == ("a", 3)
    assert (pipeline.rows.sample, pipeline.rows.keep) == (0.5, "a")
    assert pipeline.given["model"]["name"] == "a"


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("model.0.nme=vit", "unknown key 'nme'", "did you mean 'name' or 'names'?"),
        ("model.0.width=0", "'width' must be at least 1, found 0", ""),
        ("model.0.type=tpy", "no model is called 'tpy'", "did you mean 'toy'?"),
        ("model.1.name=x", "'model' has 1 entries, counted from 0; there is no 1", ""),
        ("model.resize={size=1, mod=2}", "unknown key 'mod'", "did you mean 'mode'?"),
        ("modl.name=x", "unknown key 'modl'", "did you mean 'model'?"),
        ("run.seed.x=1", "'run.seed' is not a table, it has no 'x'", ""),
        ("join.0.on=x", "there is no 'join' in the pipeline", "add it there"),
        ("model.0", "expected PATH=VALUE", "such as model.0.name=resnet50"),
        ("=3", "expected PATH=VALUE", "such as model.0.name=resnet50"),
        ("a b=3", "expected PATH=VALUE", "such as model.0.name=resnet50"),
        ("rows.kep=x", "unknown key 'kep'", "did you mean 'keep'?"),
        (
            "analyze.0.on=['y/*/z']",
            "'y/*/z' can match nothing: neither source/model/tap nor another analysis",
            "there are: rotated/small/z",
        ),
    ],
)
def test_impossible_overrides(wrong, override, message, hint):
    advice = f"  hint: {hint}" if hint else ""
    assert wrong(GOOD, override) == [f"--set {override}: {message}{advice}"]


def test_an_override_that_could_mean_several(problems):
    def change(data):
        data["model"] = [data["model"], {**data["model"], "as": "two"}]

    found = problems(change, overrides=["model.width=3"])
    assert found == [("--set model.width=3", "there are 2 of 'model'", "say which: model.0.width")]


def test_mistakes_of_overrides_come_after_those_of_the_file(wrong):
    text = GOOD.replace("seed = 5", "sed = 5").replace("taps", "tips")
    found = wrong(text, "model.taps=3", "run.out=7", "x")
    assert [line.split(" ")[0] if line[0] != "-" else line for line in found] == [
        "5:1:",
        "14:1:",
        "--set x: expected PATH=VALUE  hint: such as model.0.name=resnet50",
        "--set model.taps=3: 'taps' must be a list, found 3",
        "--set run.out=7: 'out' must be a path in quotes, found 7",
    ]


def test_an_override_mends_the_file(write):
    path = write(GOOD.replace('type = "toy"', 'type = "tpy"'))
    assert load_file(path, ["model.type=toy"]).models[0].component.name == "toy"


def test_a_long_override_is_shortened(wrong):
    (problem,) = wrong(GOOD, f"model.nme={'x' * 200}")
    assert problem.startswith(f"--set model.nme={'x' * 69}…: unknown")
