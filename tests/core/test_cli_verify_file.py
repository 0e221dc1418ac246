"""`actx verify` of files that are no run's, by the formats of plugins; `actx convert --set`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from actx_core import Pipeline
from actx_core.cli.group import actx
from actx_core.registry import registry

PLUGIN = """
from actx_core import Component, hookimpl

@hookimpl
def actx_formats():
    yield Component("deaf", "notes_format:Deaf", "Knows nothing.")
    yield Component("torn", "notes_torn:Torn", "Cannot be imported.")
    yield Component("choosy", "notes_format:Choosy", "Needs an option.", config="notes_config:Needs")
    yield Component("notes", "notes_format:Notes", "Text.", config="notes_config:NotesConfig")
    yield Component("late", "notes_format:Late", "Knows what notes knows.")
"""
CONFIG = """
from actx_core import Config

class NotesConfig(Config):
    bad: str = "wrong"
    times: int = 1

class Needs(Config):
    key: str
"""
FORMAT = """
from actx_core import Format

class Deaf(Format):
    def write(self, run, path):
        return []

class Choosy(Deaf):
    def knows(self, path):
        return True

class Notes(Deaf):
    def write(self, run, path):
        path.write_text(f"{self.config.bad} " * self.config.times)
        return [path]

    def knows(self, path):
        return path.suffix == ".note" or (path / "index.note").exists()

    def check(self, path):
        file = path if path.is_file() else path / "index.note"
        return [f"{word} is wrong" for word in file.read_text().split() if word == self.config.bad]

class Late(Notes):
    def check(self, path):
        raise AssertionError("an earlier format knows this file")
"""


TOY = Path(__file__).parents[1] / "end_to_end" / "toy"


@pytest.fixture(autouse=True)
def plugin(plugin_on_path, monkeypatch) -> None:
    torn = "raise ImportError('no such thing')"
    plugin_on_path("notes", PLUGIN, notes_config=CONFIG, notes_format=FORMAT, notes_torn=torn)
    monkeypatch.syspath_prepend(TOY)
    monkeypatch.setenv("ACTX_PLUGINS", "notes,toy")
    registry.cache_clear()


@pytest.fixture
def run(tmp_path) -> Path:
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run")},
        "source": {"type": "numbers", "as": "s", "n": 4},
        "model": {"type": "toy", "as": "m", "taps": ["last"]},
    }
    for _ in Pipeline.from_dict(spec).run():
        pass
    return tmp_path / "run"


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(actx, [str(a) for a in arguments], prog_name="actx")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_file_goes_to_the_first_format_that_knows_it(tmp_path):
    path = tmp_path / "a.note"
    path.write_text("fine fine")
    assert invoke("verify", path) == (0, "ok: 1 file, 9 B\n", "")
    path.write_text("fine wrong fine wrong")
    assert invoke("verify", path) == (6, "", "error: wrong is wrong\n" * 2)


def test_as_json(tmp_path):
    path = tmp_path / "a.note"
    path.write_text("wrong")
    code, out, err = invoke("verify", path, "--json")
    assert (code, err) == (6, "")
    expected = {"run": str(path), "ok": False, "files": 1, "bytes": 5}
    assert json.loads(out) == {**expected, "problems": ["wrong is wrong"]}


def test_a_folder_of_another_tool(tmp_path):
    folder = tmp_path / "notes"
    (folder / "below").mkdir(parents=True)
    (folder / "index.note").write_text("fine")
    (folder / "below" / "more").write_text("1234")
    assert invoke("verify", folder) == (0, "ok: 2 files, 8 B\n", "")


def test_what_no_format_knows(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    code, out, err = invoke("verify", tmp_path / "a.txt")
    assert (code, out) == (6, "")
    assert err.startswith(
        f"error: {tmp_path}/a.txt: this is no run, and no format knows it  hint: "
    )
    asked = re.search("formats asked: ([^;]*); ", err)[1].split(", ")
    assert asked[-2:] == ["notes", "late"]
    assert not {"deaf", "torn", "choosy"} & set(asked)
    assert "format 'notes/torn' failed to import: no such thing" in err
    code, out, err = invoke("verify", tmp_path)
    assert (code, out) == (6, "")
    assert "this folder holds no run (no plan.json), and no format knows it" in err
    code, out, err = invoke("verify", tmp_path / "nowhere.note")
    assert (code, out) == (6, "")
    assert err == f"error: {tmp_path}/nowhere.note: there is no such file or folder\n"


@pytest.mark.parametrize("name", ["plan.json", "run.json"])
def test_a_run_is_a_run_whatever_else_lies_there(run, name):
    (run / "index.note").write_text("wrong")
    assert invoke("verify", run)[0] == 0
    (run / name).unlink()
    code, _, err = invoke("verify", run)
    assert code == 6
    assert "wrong is wrong" not in err


def test_convert_takes_options_of_the_format(run, tmp_path):
    out = tmp_path / "new.note"
    done = invoke("convert", run, out, "--to", "notes", "--set", "bad=oh", "--set", "times=3")
    assert done == (0, f"{out}\n", "")
    assert out.read_text() == "oh oh oh "
    assert invoke("convert", run, out, "--to", "notes")[0] == 0
    assert out.read_text() == "wrong "


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("bda=x", "unknown key 'bda'  hint: did you mean 'bad'?"),
        ("times=often", "'times' must be a whole number, found 'often'"),
        ("times", "expected PATH=VALUE"),
    ],
)
def test_convert_checks_options(run, tmp_path, given, message):
    code, out, err = invoke("convert", run, tmp_path / "x", "--to", "notes", "--set", given)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "x").exists()


def test_convert_names_every_option_that_is_missing(run, tmp_path):
    code, _, err = invoke("convert", run, tmp_path / "x", "--to", "choosy")
    assert code == 2
    assert "'key'" in err
