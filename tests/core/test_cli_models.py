"""``actx models``, and the models that a name means to ``actx layers``."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from actx_core.cli.group import actx

PLUGIN = """
from actx_core import Component, hookimpl

@hookimpl
def actx_models():
    yield Component("zoo", "zoo_parts:Zoo", "Has many.", config="zoo_parts:ZooConfig")
    yield Component("few", "zoo_parts:Few", "Has two.", config="zoo_parts:FewConfig")
    yield Component("plain", "zoo_parts:Plain", "Publishes nothing.")
    yield Component("herd", "zoo_parts:Herd", "Names for others.", config="zoo_parts:HerdConfig")
    yield Component("lacks", "no_such_package_here:Model", "Needs an extra.", extra="far")
    yield Component("fails", "zoo_parts:Fails", "Is broken.")
"""
PARTS = """
from actx_core import Checkpoint, Model, ModelConfig, ModelError, Tap

class ZooConfig(ModelConfig):
    name: str
    weights: str
    width: int = 2

class FewConfig(ModelConfig):
    name: str

    def label(self):
        return self.name

class HerdConfig(ModelConfig):
    name: str
    weights: str
    width: int = 2

    def expand(self, given):
        assert given["type"] == "zoo/herd"
        if self.name not in ("All", "Lion"):
            raise ModelError(f"no herd is called '{self.name}'")
        rest = {k: v for k, v in given.items() if k not in ("type", "name")}
        lion = {**rest, "type": "zoo", "name": "zoonet1", "as": "Lion", "taps": ["preset:x"]}
        cat = {"type": "few", "name": "Cat"}
        return [lion, cat] if self.name == "All" else [lion]

class Plain(Model):
    def taps(self, example=None):
        known = [f"zoonet{n}" for n in range(3)] + ["Cat"]
        if self.config.name not in known:
            raise ModelError(f"nobody is called '{self.config.name}'")
        return [Tap("a", ("sample", "channel"), (getattr(self.config, "width", 1),))]
    def aliases(self):
        return {"first": "a"}
    def prepare(self, samples): ...
    def open(self, taps): ...
    def extract(self, batch, pool): ...

class Zoo(Plain):
    @classmethod
    def checkpoints(cls):
        for n in range(60):
            for tag in ("v1", "v2"):
                file = f"{n}-{tag}.pth"
                yield Checkpoint(f"zoonet{n}", tag, "MIT", f"https://zoo/{file}", file, 25_600_000)

class Herd(Plain):
    pass

class Few(Plain):
    @classmethod
    def checkpoints(cls):
        yield Checkpoint("Cat", "one", parameters=400)
        yield Checkpoint("Dog", "one", licence="CC-BY-NC-4.0")

class Fails(Plain):
    @classmethod
    def checkpoints(cls):
        yield Checkpoint("half", "one")
        raise ZeroDivisionError("oops")
"""


@pytest.fixture(autouse=True)
def zoo(plugin_on_path: Any) -> None:
    plugin_on_path("zoo", PLUGIN, zoo_parts=PARTS)


def invoke(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(actx, list(args), prog_name="actx")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_name_shows_its_weights() -> None:
    code, out, err = invoke("models", "zoonet7", "--type", "zoo")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["type", "name", "weights", "licence", "parameters", "file", "address"],
        ["zoo/zoo", "zoonet7", "v1", "MIT", "25.6", "M", "7-v1.pth", "https://zoo/7-v1.pth"],
        ["zoo/zoo", "zoonet7", "v2", "MIT", "25.6", "M", "7-v2.pth", "https://zoo/7-v2.pth"],
        ["2", "weights", "of", "1", "models"],
    ]


@pytest.mark.parametrize(
    ("patterns", "count"),
    [
        (["zoonet5?"], 20),
        (["ZOONET5", "cat"], 3),
        (["*O*"], 121),
        (["[cd]*"], 2),
        (["zoonet[1-3]"], 6),
    ],
)
def test_patterns_are_globs_without_case(patterns: list[str], count: int) -> None:
    found = json.loads(invoke("models", *patterns, "--json")[1])["models"]
    assert len(found) == count
    assert set(found[0]) == {"type", "name", "weights", "licence", "address", "file", "parameters"}


def test_everything_has_totals_and_a_hint() -> None:
    code, out, _ = invoke("models", "--type", "zoo")
    assert code == 0
    assert out.splitlines()[-2:] == [
        "120 weights of 60 models", "`actx models 'resnet*'` shows fewer, `--type NAME` one type",
    ]  # fmt: skip
    lines = invoke("models")[1].splitlines()
    assert "zoo/zoo: 120 weights of 60 models" in lines
    assert "zoo/few: 2 weights of 2 models" in lines
    assert "shows fewer" not in invoke("models", "*", "--type", "zoo")[1]


def test_what_cannot_be_listed_is_said_and_the_rest_is_there() -> None:
    code, out, err = invoke("models", "cat")
    assert (code, err) == (0, "")
    notes = [line for line in out.splitlines() if line.startswith("note: ")]
    assert re.fullmatch(
        r"note: zoo/lacks is not listed: .*no_such_package_here.*\(pip install 'zoo\[far\]'\)",
        notes[0],
    )
    assert notes[1] == "note: zoo/fails is not listed: ZeroDivisionError: oops"
    assert len(notes) == 2
    assert len(json.loads(invoke("models", "cat", "--json")[1])["notes"]) == 2


def test_a_broken_plugin_is_said(plugin_on_path: Any) -> None:
    plugin_on_path("torn", "import no_such_module")
    assert (
        "note: torn is broken: ModuleNotFoundError: No module named 'no_such_module'"
        in invoke("models")[1]
    )


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [("zonet7", "did you mean 'zoonet7'"), ("dogg", "did you mean 'Dog'"), ("dogs*", "did you mean 'Dog'"),
     ("net4", "did you mean 'zoonet4'"), ("###", "`actx models` lists all")],
)  # fmt: skip
def test_near_misses(pattern: str, hint: str) -> None:
    code, out, err = invoke("models", "cat", pattern)
    assert (code, out) == (2, "")
    assert err.startswith(
        f"error: no model with published weights matches '{pattern}'  hint: {hint}"
    )
    assert "zoo/lacks is not listed" in err  # perhaps it is one of those
    assert err.count("\n") == 1


def test_types_that_do_not_exist_or_publish_nothing() -> None:
    assert invoke("models", "--type", "zo")[0] == 3
    assert invoke("models", "--type", "plain")[:2] == (0, "0 weights of 0 models\n")


def listed(*args: str) -> list[dict[str, Any]]:
    code, out, err = invoke("layers", *args, "--json")
    assert code == 0, out + err
    models: list[dict[str, Any]] = json.loads(out)["models"]
    return models


def test_a_name_that_stands_for_another_model() -> None:
    [found] = listed("Lion")
    assert (found["model"], found["type"], found["aliases"]) == ("Lion", "zoo/zoo", {"first": "a"})
    [found] = listed("herd/Lion", "--set", "width=7")
    assert found["taps"][0]["shape"] == [7]


def test_a_name_that_stands_for_several_models() -> None:
    found = listed("All")
    assert [(each["model"], each["type"]) for each in found] == [
        ("Lion", "zoo/zoo"),
        ("Cat", "zoo/few"),
    ]
    out = invoke("layers", "All", "--match", "first")[1]
    assert [line for line in out.splitlines() if "taps" in line] == [
        "Lion (zoo/zoo): 1 taps", "Cat (zoo/few): 1 taps",
    ]  # fmt: skip
    assert out.count("note: 'first' means the tap 'a'") == 2


def test_a_name_that_nobody_knows_says_who_was_asked() -> None:
    code, _, err = invoke("layers", "Tiger")
    assert code == 5
    assert "zoo/herd: no herd is called 'Tiger'" in err
    assert "zoo/zoo: nobody is called 'Tiger'" in err
    assert invoke("layers", "Tiger", "--type", "herd")[2].startswith(
        "error: no herd is called 'Tiger'"
    )
    code, _, err = invoke("layers", "Lion", "--type", "herd", "--set", "widht=7")
    assert code == 2
    assert "did you mean 'width'" in err


def test_save_belongs_to_pick() -> None:
    assert invoke("layers", "Lion", "--save", "p.toml") == (
        2, "", "error: --save writes what --pick chooses  hint: add --pick\n",
    )  # fmt: skip
