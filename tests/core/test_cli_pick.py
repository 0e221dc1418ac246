"""The picker: every command of its state machine, what it writes, and the whole of it at a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

import pytest

from actx_core.cli.command import Output
from actx_core.cli.pick import Picker, pick
from actx_core.errors import Interrupted
from actx_core.types import Tap

CHANNEL = ("sample", "channel")


def tap(name: str, size: int = 4, problem: str = "") -> Tap:
    return Tap(name, () if problem else CHANNEL, () if problem else (size,), problem=problem)


TAPS = [
    tap("features.0@in", 3),
    *(tap(f"features.{n}", n + 1) for n in range(12)),
    tap("features", 12),
    *(tap(f"block.relu:{n}") for n in range(2)),
    Tap("block.attn", ("sample", "token", "channel"), (None, 4), rows_at_most=7),
    tap("block.list"),
    tap("fc", 1000),
    tap("done"),
    tap("output"),
    tap("silent", problem="it is never called"),
]


@pytest.fixture
def picker() -> Picker:
    presets = {"two": ("features.1", "fc"), "none": ("gone",)}
    return Picker(TAPS, presets, {"head": "fc"})


def chosen(picker: Picker) -> list[str]:
    return [tap.name for tap in picker.chosen]


def test_levels_in_forward_order(picker: Picker) -> None:
    top = {".".join(item.path): (item.number, item.parts) for item in picker.items()}
    assert list(top.values()) == [(0, 12), (1, 4), (2, 0), (3, 0), (4, 0), (5, 0)]
    assert list(top) == ["features", "block", "fc", "done", "output", "silent"]
    assert picker.items()[1].tap is None  # a group that is no tap
    assert picker.items()[0].tap == tap("features", 12)
    assert picker.answer("1") == ""
    assert [item.path[-1] for item in picker.items()] == ["relu:0", "relu:1", "attn", "list"]
    assert picker.answer("..") == ""
    assert picker.answer("..") == "this is the top"


def test_in_a_list_of_modules_a_number_is_a_name() -> None:
    picker = Picker([tap(f"layers.{n}") for n in (3, 7, 10)], {}, {})
    picker.answer("0")
    assert [item.number for item in picker.items()] == [3, 7, 10]
    assert picker.answer("7") == "chosen: layers.7"
    assert picker.answer("0") == "there is no 0 here; the numbers are 3 to 10"


def test_choosing_by_number_and_the_open_part(picker: Picker) -> None:
    assert picker.answer(".") == "nothing is open"
    picker.answer("0")
    assert picker.open == ("features",)
    assert picker.answer("11") == "chosen: features.11"
    assert picker.answer("11") == "chosen already"
    assert picker.answer(".") == "chosen: features"
    assert picker.open == ("features",)
    assert chosen(picker) == ["features.11", "features"]
    picker.answer("..")
    picker.answer("1")
    assert "no such tap" in picker.answer(".")  # the group 'block' is none


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("features.11", ["features.11"]),
        ("  fc ", ["fc"]),
        ("features.1?", ["features.10", "features.11"]),
        ("block.relu", []),
        ("block.relu:*", ["block.relu:0", "block.relu:1"]),
        ("features.0@in", ["features.0@in"]),
        ("preset:two", ["features.1", "fc"]),
        ("head", ["fc"]),
        ("block.list", ["block.list"]),
    ],
)
def test_what_is_typed_is_chosen(typed: str, names: list[str], picker: Picker) -> None:
    said = picker.answer(typed)
    assert chosen(picker) == names
    assert said.startswith(f"chosen: {', '.join(names)}") == bool(names)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("features.99", "features.99: no such tap  hint: did you mean 'features.9'"),
        ("fcc", "did you mean 'fc'"),
        ("preset:three", "preset:three: no such preset  hint: there are: none, two"),
        ("preset:none", "preset:none: gone: no such tap"),
        ("block.relu", "called 2 times in one forward pass"),
        ("silent", "silent: it is never called"),
        ("5", "silent: it is never called"),
        ("9", "there is no 9 here; the numbers are 0 to 5"),
        ("-1", "-1: no such tap"),
        ("type:Conv2d", "type:Conv2d: no module of this class"),
        ("remove", "nothing is chosen"),
        ("done", "nothing is chosen"),
        ("head", "note: 'head' means the tap 'fc'"),
    ],
)
def test_what_it_says(typed: str, said: str, picker: Picker) -> None:
    assert said in picker.answer(typed)
    assert not picker.done


def test_a_glob_says_what_it_leaves_out(picker: Picker) -> None:
    assert "note: * leaves out silent: it is never called" in picker.answer("*")
    assert "silent" not in chosen(picker)


def test_list_remove_done(picker: Picker) -> None:
    assert picker.answer("list") == "0 taps chosen"
    picker.answer("features.*")
    picker.answer("block.attn")
    assert picker.answer("remove") == "remove what? a name or a glob, such as 'remove features.*'"
    assert "'features.11'?" in picker.answer("remove features.12")
    assert "no such tap" in picker.answer("remove fc")  # a tap, but not chosen
    assert picker.answer("remove features.1?") == "removed: features.10, features.11"
    assert picker.answer("remove features.[2-9]").count(",") == 7
    lines = picker.answer("list").splitlines()
    assert lines == [
        "features.0  channel 1  4 B", "features.1  channel 2  8 B",
        "block.attn  token *, channel 4  16 B a token", "3 taps chosen, 12 B a sample, 16 B a token",
    ]  # fmt: skip
    assert picker.answer("done") == ""
    assert picker.done


def test_commands_win_over_taps_of_that_name(picker: Picker) -> None:
    picker.answer("done")
    assert not picker.done
    assert picker.answer("3") == "chosen: done"


def test_help_names_every_command(picker: Picker) -> None:
    text = picker.answer("?")
    for word in ("NUMBER", "..", "list", "remove", "done", "Ctrl-C", "preset:"):
        assert word in text
    assert picker.answer("") == ""


def reader(*lines: str, end: type[BaseException] = EOFError) -> Callable[[str], str]:
    """Types these lines, then ends the input."""
    left = list(lines)

    def read(prompt: str) -> str:
        if not left:
            raise end
        return left.pop(0)

    return read


def test_a_level_is_drawn_when_it_opens(picker: Picker, capsys: pytest.CaptureFixture[str]) -> None:
    assert pick(Output(False), "net", picker, reader("fc", "0", "2", "..", "done")) == [
        "features.2", "fc",
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("parts") == 3
    assert re.search(r"^ 1  block +4$", out, re.M)
    assert re.search(r"^ *\+0  features +channel 12 +48 B +12$", out, re.M)
    assert re.search(r"^ *\*2  fc +channel 1000 +4.00 kB$", out, re.M)
    assert re.search(r"^ *\.  features +channel 12 +48 B$", out, re.M)
    assert re.search(r"none: it is never called", out)


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_leaving(end: type[BaseException], picker: Picker) -> None:
    with pytest.raises(Interrupted, match="nothing is written"):
        pick(Output(False), "net", picker, reader("fc", end=end))


# At a terminal

PLUGIN = """
from actx_core import Component, hookimpl

@hookimpl
def actx_models():
    yield Component("net", "picky_parts:Net", "Has a name.", config="picky_parts:NetConfig")
"""
PARTS = """
import json
from actx_core import Batch, Model, ModelConfig, ModelError, Tap

class NetConfig(ModelConfig):
    name: str

    def label(self):
        return self.name

    def expand(self, given):
        both = ({"type": "net", "name": name} for name in ("alexnet", "vgg"))
        return list(both) if self.name == "both" else ()

class Net(Model[NetConfig]):
    def taps(self, example=None):
        if self.config.name not in ("alexnet", "vgg"):
            raise ModelError(f"no net is called '{self.config.name}'")
        names = [*(f"features.{n}" for n in range(13)), "features", "avgpool", "output"]
        return [Tap(name, ("sample", "channel"), (4,), module="Conv2d") for name in names]
    def presets(self):
        return {"ann_pipe": ["features.3", "avgpool"]}
    def save_taps(self, path, taps):
        if path.suffix != ".json":
            super().save_taps(path, taps)
        path.write_text(json.dumps(taps))
    def prepare(self, samples): ...
    def open(self, taps): ...
    def extract(self, batch, pool): ...
"""
PIPELINE = """actx = 1
[run]
out = "out"
[source]
type = "arrays"
path = "x.npy"
[[model]] # mine
type = "net"
name = "alexnet"
taps = ["features.0"]
"""


@pytest.fixture
def desk(plugin_on_path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = plugin_on_path("picky", PLUGIN, picky_parts=PARTS)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    )
    (tmp_path / "p.toml").write_text(PIPELINE)
    return tmp_path


# stdin becomes the terminal that rules the process, so that Ctrl-C reaches it
AT_TERMINAL = "import os; os.login_tty(os.dup(0)); from actx_core.cli import main; main()"


def terminal(desk: Path, *args: str, typed: str, key: str = "") -> tuple[int, list[str]]:
    """Exit code and lines of a command at a terminal, where this is typed, and then a key until it ends."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", AT_TERMINAL, *args]
    process = subprocess.Popen(command, cwd=desk, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = _until(ours, b"> ")
    os.write(ours, typed.encode())
    if key:
        seen += _until(ours, b"> ")
    while key and process.poll() is None:  # Ctrl-C between prompt and reading waits for another key
        with suppress(OSError):
            os.write(ours, key.encode())
        seen += _drained(ours, 0.5)  # a terminal that nobody reads is soon full, and then all wait
    seen += _until(ours, None)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    return process.wait(30), text.split("\r\n")


def _until(ours: int, mark: bytes | None) -> bytes:
    seen = b""
    while mark is None or not seen.endswith(mark):
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        seen += piece
    return seen


def _drained(ours: int, seconds: float) -> bytes:
    """What comes until nothing has come for a while."""
    seen = b""
    with suppress(OSError):  # the other side is closed
        while select([ours], [], [], seconds)[0] and (piece := os.read(ours, 4096)):
            seen += piece
    return seen


def test_a_tree_to_walk_at_a_terminal(desk: Path) -> None:
    code, lines = terminal(
        desk, "layers", "alexnet", "--pick", typed="0\n11\n..\npreset:ann_pipe\ndone\n"
    )
    assert code == 0, lines
    assert lines[-2].endswith('taps = ["features.3", "features.11", "avgpool"]')
    assert any(re.fullmatch(r" ?0  features +Conv2d +channel 4 +16 B +13", line) for line in lines)
    assert "features> chosen: features.11" in lines
    assert tomllib.loads(lines[-2].removeprefix("> "))["taps"][1] == "features.11"


@pytest.mark.parametrize("model", ["alexnet", "net/alexnet", "p.toml"])
def test_picked_into_a_pipeline(model: str, desk: Path) -> None:
    code, lines = terminal(
        desk, "layers", model, "--pick", "--save", "p.toml", typed="features.11\ndone\n"
    )
    assert code == 0, lines
    assert lines[-2] == "> p.toml: 1 taps of alexnet"
    assert (desk / "p.toml").read_text() == PIPELINE.replace("features.0", "features.11")


def test_picked_into_a_file_of_the_models_own(desk: Path) -> None:
    save = ("--save", "taps.json")
    assert terminal(desk, "layers", "vgg", "--pick", *save, typed="avgpool\ndone\n")[0] == 0
    assert json.loads((desk / "taps.json").read_text()) == ["avgpool"]
    code, lines = terminal(
        desk, "layers", "vgg", "--pick", "--save", "x.txt", typed="avgpool\ndone\n"
    )
    assert code == 5
    assert lines[-3].endswith('taps = ["avgpool"]')  # not lost
    assert lines[-2].startswith("error: x.txt: cannot write taps to a .txt file")


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_leaving_at_a_terminal_writes_nothing(key: str, desk: Path) -> None:
    save = ("--save", "p.toml")
    code, lines = terminal(
        desk, "layers", "alexnet", "--pick", *save, typed="features.1\n", key=key
    )
    assert code == 130
    assert lines[-2] == "nothing is written"
    assert (desk / "p.toml").read_text() == PIPELINE
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["alexnet", "--save", "none.toml"], "none.toml: there is no such pipeline"),
        (["vgg", "--save", "p.toml"], "no [[model]] with as or name 'vgg'; there are: 'alexnet'"),
        (["both"], "'both' means 2 models, --pick asks about one  hint: there are: alexnet, vgg"),
        (["alexnet", "--match", "*"], "--pick takes neither --match, --all nor --check"),
    ],
)
def test_mistakes_before_anything_is_asked(args: list[str], message: str, desk: Path) -> None:
    code, lines = terminal(desk, "layers", *args, "--pick", typed="")
    assert code == 2
    assert message in lines[-2]
    assert "? for help" not in "".join(lines)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_without_a_terminal_it_says_what_to_do(more: list[str], desk: Path) -> None:
    command = [sys.executable, "-m", "actx_core", "layers", "alexnet", "--pick", *more]
    done = subprocess.run(
        command, cwd=desk, capture_output=True, text=True, input="done\n", timeout=60
    )
    assert done.returncode == 2
    assert "--pick asks at a terminal" in done.stdout + done.stderr
    assert "--match" in done.stdout + done.stderr
    assert not more or json.loads(done.stdout)["error"]["code"] == "ConfigError"
