"""Picked taps in a pipeline file: only they change, in the right model, or an error that says why not."""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from actx_core.cli.named import Named
from actx_core.cli.save import check, save
from actx_core.errors import ActxError, ConfigError, ModelError


class Domain:
    def save_taps(self, path: Path, taps: list[str]) -> None:
        if path.suffix != ".json":
            raise ModelError(f"cannot write taps to a {path.suffix} file")
        path.write_text(json.dumps(taps))


def named(id: str, name: str = "") -> Named:
    model: Any = Domain()
    return Named(id, "toy/named", model, (), name)


ONE = """# mine
actx = 1 # format

[run]
out = 'runs/a'   # kept

[[model]]  # the only one
type = "net"
name = "a"
taps = ["old"]   # why
# before the long form
[[model.tap]]
match = ["x"]

[store]
type = "npy"
"""
TWO = """[[model]]
type = "net"
name = "a"
[model.preprocess]
crop = 3
[[model]]
as = "b"
name = "a"
type = "net"

# the end
"""
DOCUMENTS = {
    "replaced": (ONE, "a", ("model", 0)),
    "with as": (TWO, "b", ("model", 1)),
    "by name": (TWO.replace('name = "a"\ntype', 'name = "c"\ntype'), "a", ("model", 0)),
    "as wins over name": (TWO.replace('as = "b"', 'as = "a"'), "a", ("model", 1)),
    "one table": ('[model]\ntype = "m"\n\n[store]\ntype = "npy"\n', "whatever", ("model",)),
    "without an end of line": ('[model]\nname = "a"', "a", ("model",)),
    "apart": (
        '[model]\nname = "a"\n[run]\nout = "x"\n[model.preprocess]\ncrop = 1\n',
        "a",
        ("model",),
    ),
    "inline": ('model = { name = "a", taps = ["b"] } # c\n', "a", ("model",)),
    "list": ('model = [{ name = "a" }, { name = "b" }]\n', "b", ("model", 1)),
    "dotted": ('model.name = "a"\nmodel.type = "net"\n', "a", ("model",)),
    "windows": (ONE.replace("\n", "\r\n"), "a", ("model", 0)),
    "many lines": (ONE.replace('["old"]', '[\n  "old", # one\n  "older",\n]'), "a", ("model", 0)),
}


@pytest.mark.parametrize("taps", [["fc"], [f'fe"atures.{n}' for n in range(12)]])
@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_pipeline_gets_the_taps_and_keeps_the_rest(
    case: str, taps: list[str], tmp_path: Path
) -> None:
    text, name, place = DOCUMENTS[case]
    file = tmp_path / "p.toml"
    file.write_bytes(text.encode())
    file.chmod(0o640)
    expected = tomllib.loads(text)
    entry: Any = expected
    for key in place:
        entry = entry[key]
    entry["taps"] = taps
    check(file, named(name))
    assert file.read_bytes() == text.encode()
    save(file, named(name), taps)
    after = file.read_bytes().decode()
    assert tomllib.loads(after) == expected
    assert re.findall(r"#.*", after) == [
        c for c in re.findall(r"#.*", text) if "one" not in c or "only" in c
    ]
    assert ("\r\n" in after) == (case == "windows")
    assert after.count("\n") == after.count("\r\n") or case != "windows"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["p.toml"]


def test_only_the_line_of_the_taps_changes(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(ONE)
    save(file, named("a"), ["fc", "features.1"])
    assert file.read_text() == ONE.replace('["old"]', '["fc", "features.1"]')


def test_a_model_of_the_pipeline_itself_may_be_called_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('[model]\nname = "org/net-1"\n')
    save(file, named("net-1", "org/net-1"), ["fc"])
    assert tomllib.loads(file.read_text())["model"]["taps"] == ["fc"]


def test_a_link_to_a_pipeline_stays_one(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(ONE)
    (tmp_path / "link.toml").symlink_to("p.toml")
    save(tmp_path / "link.toml", named("a"), ["fc"])
    assert (tmp_path / "link.toml").is_symlink()
    assert 'taps = ["fc"]' in (tmp_path / "p.toml").read_text()


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (TWO, "c", "no [[model]] with as or name 'c'; there are: 'a', 'b'"),
        (ONE, "b", "no [[model]] with as or name 'b'; there are: 'a'"),
        (
            TWO.replace('as = "b"\n', ""),
            "a",
            "2 of [[model]] with as or name 'a'; there are: 'a', 'a'",
        ),
        ('[[model]]\ntype = "m"\n[[model]]\nname = "x"', "a", "there are: one without a name, 'x'"),
        ('[run]\nout = "x"', "a", "there is no [[model]]"),
        ("model = 3", "a", "there is no [[model]]"),
        ("[run]\nout = = 3", "a", "p.toml:2:6: not valid TOML: "),
        (b"\xff", "a", "not UTF-8"),
        (None, "a", "p.toml: there is no such pipeline  hint: `actx init` writes one"),
    ],
)
def test_a_pipeline_that_cannot_take_them(
    text: str | bytes | None, name: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "p.toml"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    for attempt in (lambda: check(file, named(name)), lambda: save(file, named(name), ["fc"])):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not file.exists() or file.read_bytes() == (
        text if isinstance(text, bytes) else str(text).encode()
    )


def test_other_files_are_the_models_own(tmp_path: Path) -> None:
    check(tmp_path / "taps.json", named("a"))
    save(tmp_path / "taps.json", named("a"), ["fc"])
    assert json.loads((tmp_path / "taps.json").read_text()) == ["fc"]
    with pytest.raises(ActxError, match="cannot write taps to a .txt file"):
        save(tmp_path / "taps.txt", named("a"), ["fc"])
