"""The group of commands: what it lists, what it imports, how errors end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from actx_core import errors
from actx_core.cli.group import COMMANDS, actx
from actx_core.errors import ActxError, ConfigError, Problem
from actx_core.registry import registry

PLUGIN = """
from actx_core import Component, hookimpl

@hookimpl
def actx_commands():
    yield Component("greet", "cli_plugin.command:greet", "Say hello.")
    yield Component("odd", "cli_plugin.command:click", "Is no command.")
    yield Component("run", "cli_plugin.command:greet", "Has the name of one of core's.")
"""
COMMAND = """
import click

@click.command()
@click.option("--name", default="you")
def greet(name):
    click.echo(f"hello {name}")
    return 3
"""
HEAVY = [
    "numpy",
    "pydantic",
    "pyarrow",
    "torch",
    "rich",
    "h5py",
    "pandas",
    "PIL",
    "cli_plugin.command",
]


def invoke(*args: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(actx, list(args), prog_name="actx")
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, result.stdout, result.stderr


def python(*args: str, site: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    command, env = [sys.executable, *args], os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which a plugin with commands is installed, beside one that is broken."""
    home = tmp_path / "site"
    for name, module in ("cli_plugin", PLUGIN), ("cli_broken", "import no_such_module"):
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").touch()
        (home / name / "plugin.py").write_text(module)
        dist = home / f"{name}-1.0.dist-info"
        dist.mkdir()
        (dist / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (dist / "entry_points.txt").write_text(f"[actx]\n{name} = {name}.plugin\n")
    (home / "cli_plugin/command.py").write_text(COMMAND)
    monkeypatch.syspath_prepend(str(home))
    registry.cache_clear()
    yield home
    registry.cache_clear()
    for name in [n for n in sys.modules if n.startswith("cli_plugin")]:
        del sys.modules[name]


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let every command fail in this way: ``schema`` calls it first."""

    def schema() -> None:
        raise error

    monkeypatch.setattr("actx_core.config.jsonschema.json_schema", schema)


def test_bare_actx_lists_every_command(site: Path) -> None:
    code, out, err = invoke()
    assert (code, err) == (0, "")
    assert invoke("--help")[1] == out
    for name, (_, summary) in COMMANDS.items():
        assert f"  {name} " in out
        assert summary.split()[-1] in out
    assert "greet" in out
    assert "Say hello." in out
    assert "cli_plugin/run" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_the_list_says(name: str) -> None:
    command = actx.get_command(click.Context(actx), name)
    assert command is not None
    help_text = (command.help or "").split("\n")[0]
    assert help_text == COMMANDS[name][1]
    assert {"--json", "--debug"} <= {o for p in command.params for o in p.opts}
    assert "--json prints" in (command.help or "")
    code, out, _ = invoke(name, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


def test_version() -> None:
    from actx_core import __version__

    assert invoke("--version")[:2] == (0, f"actx {__version__}\n")


@pytest.mark.parametrize(
    "args", [[], ["--help"], ["--version"], ["plugins"], ["plugins", "--json"]]
)
def test_nothing_heavy_is_imported(args: list[str], site: Path) -> None:
    code = f"""
import sys
from actx_core.cli import main
sys.argv[1:] = {args}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = [name for name in {HEAVY} if name in sys.modules]
assert not heavy, heavy
"""
    done = python("-W", "error", "-c", code, site=site)
    assert done.returncode == 0, done.stderr


def test_completion_imports_no_command(site: Path) -> None:
    code = """
import sys
from click.shell_completion import ShellComplete
from actx_core.cli.group import actx
items = ShellComplete(actx, {}, "actx", "_ACTX_COMPLETE").get_completions([], "")
names = {item.value for item in items}
assert {"run", "plan", "greet"} <= names, names
assert not [n for n in sys.modules if n in ("actx_core.cli.run", "cli_plugin.command")]
"""
    done = python("-c", code, site=site)
    assert done.returncode == 0, done.stderr


def test_python_m_and_the_entry_point_are_the_same(site: Path) -> None:
    done = python("-m", "actx_core", "greet", "--name", "Ada", site=site)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello Ada\n", "")
    assert python("-m", "actx_core", "no-such", site=site).returncode == 2


def test_a_plugin_command_runs_and_core_keeps_its_names(site: Path) -> None:
    assert invoke("greet") == (0, "hello you\n", "")
    assert invoke("cli_plugin/run") == (0, "hello you\n", "")
    assert "pipeline" in invoke("run", "--help")[1]


def test_a_plugin_command_that_is_none_is_named(site: Path) -> None:
    code, _, err = invoke("odd")
    assert code == 3
    assert (
        err
        == "error: cli_plugin/odd: expected a click command at cli_plugin.command:click, found module\n"
    )


def test_an_unknown_command_has_a_hint(site: Path) -> None:
    assert invoke("pla") == (
        2,
        "",
        "error: no command is called 'pla'  hint: did you mean 'plan'?\n",
    )
    code, out, _ = invoke("xyzzy", "--json")
    assert code == 2
    assert json.loads(out)["error"]["hint"] == "actx --help lists them"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["plan"], "missing argument 'FILE'"),
        (["show", "a", "b"], "got unexpected extra argument (b)"),
        (["run", "x.toml", "--slice", "4/3"], "expected i/n with 1 <= i <= n"),
        (["run", "x.toml", "--slice", "0/3"], "expected i/n with 1 <= i <= n"),
        (["--nope"], "no such option"),
        (["new"], "missing argument"),
        (["new", "plugi", "x"], "'plugi' is not 'plugin'"),
        (["convert", "run", "out"], "missing option '--to'"),
    ],
)
def test_mistakes_on_the_command_line(args: list[str], message: str) -> None:
    code, out, err = invoke(*args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    code, out, err = invoke(*args, "--json")
    assert (code, err) == (2, "")
    assert message in json.loads(out)["error"]["message"]


def _kinds(kind: type[ActxError]) -> list[type[ActxError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _kinds(child))]


@pytest.mark.parametrize("kind", [k for k in _kinds(ActxError) if k.__module__ == errors.__name__])
def test_each_error_ends_as_a_line_or_an_object(
    kind: type[ActxError], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, kind("it is wrong", hint="mend it", where="here"))
    code, out, err = invoke("schema")
    assert code == kind.exit_code
    assert out == ""
    if kind is not errors.Interrupted:
        assert err == "error: here: it is wrong  hint: mend it\n"
    code, out, err = invoke("schema", "--json")
    assert (code, err) == (kind.exit_code, "")
    problem = {"message": "it is wrong", "where": "here", "hint": "mend it"}
    assert json.loads(out) == {"error": {"code": kind.__name__, **problem, "problems": [problem]}}
    code, _, err = invoke("schema", "--debug")
    assert code == kind.exit_code
    assert "Traceback (most recent call last)" in err


def test_every_problem_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [Problem("p.toml:3:1", "one", "first"), Problem("p.toml:9:5", "two")]
    fail(monkeypatch, ConfigError("one", problems=problems))
    assert invoke("schema") == (
        2, "", "error: p.toml:3:1: one  hint: first\nerror: p.toml:9:5: two\n",
    )  # fmt: skip
    found = json.loads(invoke("schema", "--json")[1])["error"]["problems"]
    assert [p["where"] for p in found] == ["p.toml:3:1", "p.toml:9:5"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), click.Abort()])
def test_interrupted(stop: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, stop)
    code, out, err = invoke("schema")
    assert (code, out, err.strip()) == (130, "", "interrupted: the same command resumes")
    code, out, _ = invoke("schema", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (130, "Interrupted")


def test_a_bug_shows_its_traceback_and_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, ZeroDivisionError("oops"))
    code, out, err = invoke("schema")
    assert (code, out) == (1, "")
    assert "Traceback" in err
    assert "ZeroDivisionError: oops" in err
    assert "this is a bug" in err.splitlines()[-1]
    code, out, _ = invoke("schema", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (1, "bug")
    assert json.loads(out)["error"]["message"] == "ZeroDivisionError: oops"


def test_a_file_that_cannot_be_written_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = invoke("schema", "--out", str(tmp_path / "file/below.json"))
    assert code == 6
    assert err.startswith(f"error: {tmp_path}")
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_bug(site: Path) -> None:
    code = (
        "import os; os.execv(os.sys.executable, [os.sys.executable, '-m', 'actx_core', 'schema'])"
    )
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(30)


def test_plugins_lists_what_works_and_what_does_not(site: Path) -> None:
    code, out, err = invoke("plugins")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert any("cli_plugin 1.0" in line and "ok" in line and "greet" in line for line in lines)
    assert any("cli_broken 1.0" in line and "broken" in line for line in lines)
    assert "cli_broken is broken: ModuleNotFoundError: No module named 'no_such_module'" in lines
    assert lines[-1].endswith(sys.executable)
    found = json.loads(invoke("plugins", "--json")[1])
    assert found["interpreter"] == sys.executable
    rows = {row["name"]: row for row in found["plugins"]}
    assert rows["core"]["status"] == "ok"
    assert {"store/npy", "model/module"} <= {
        f"{c['kind']}/{c['name']}" for c in rows["core"]["components"]
    }
    assert rows["cli_broken"]["status"] == "broken"
    assert "no_such_module" in rows["cli_broken"]["traceback"]


def test_plugins_names_the_extra_that_is_missing(site: Path) -> None:
    dist = site / "cli_plugin-1.0.dist-info/METADATA"
    dist.write_text(
        dist.read_text()
        + 'Provides-Extra: far\nRequires-Dist: not-there-at-all>=2; extra == "far"\n'
    )
    plugin = site / "cli_plugin/plugin.py"
    plugin.write_text(plugin.read_text().replace('"Say hello.")', '"Say hello.", extra="far")'))
    sys.modules.pop("cli_plugin.plugin", None)
    registry.cache_clear()
    assert "cli_plugin lacks an extra: pip install 'cli_plugin[far]'" in invoke("plugins")[1]
    rows = {row["name"]: row for row in json.loads(invoke("plugins", "--json")[1])["plugins"]}
    assert rows["cli_plugin"]["missing"] == {"far": ["not-there-at-all"]}
    assert rows["cli_plugin"]["install"] == ["pip install 'cli_plugin[far]'"]


def test_schema_is_json_that_knows_the_plugins(tmp_path: Path) -> None:
    code, out, _ = invoke("schema")
    assert code == 0
    assert '"npy"' in out
    assert json.loads(out)["type"] == "object"
    file = tmp_path / "deep/schema.json"
    assert invoke("schema", "--out", str(file)) == (0, f"{file}\n", "")
    assert json.loads(file.read_text()) == json.loads(out)
    assert json.loads(invoke("schema", "--json")[1]) == json.loads(out)
