"""Names for any file system, atomic files, claimed space."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actx_core import files
from actx_core.errors import StoreError

NAMES = {
    "layer4.0.conv1": "layer4.0.conv1",
    "V4.output:3": "V4.output%3a3~1",
    "IT.output": "IT.output~3",
    "Mixed_5b.branch1x1": "Mixed_5b.branch1x1~1",
    "blocks.5.attn@in": "blocks.5.attn%40in",
    "..": "%2e%2e",
    ".hidden": "%2ehidden",
    "a/b\\c d": "a%2fb%5cc%20d",
    "ünï": "%c3%bcn%c3%af",
    "nul": "%6eul",
    "AUX.conv": "%41UX.conv~7",
    "a~1": "a%7e1",
}


@pytest.mark.parametrize(("name", "text"), NAMES.items())
def test_names(name, text):
    assert files.encode(name) == text
    assert files.decode(text) == name


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_names_are_safe_and_reversible_whatever_becomes_of_case(name, other):
    text = files.encode(name)
    assert files.decode(text) == files.decode(text.upper()) == files.decode(text.lower()) == name
    assert text.isascii()
    assert not set(text) & set('<>:"/\\|?*@ ')
    assert not text.startswith(".")
    assert not text.endswith(".")
    if name != other:
        assert text.casefold() != files.encode(other).casefold()


@pytest.mark.parametrize("name", ["layer" * 60, "LAYER" * 60, "层" * 80])
def test_long_names_are_cut_and_stay_different(name):
    texts = {files.encode(n).casefold() for n in (name, name + "x", name.swapcase() + "y")}
    assert len(texts) == 3
    assert all(len(text) == files.LONGEST for text in texts)
    with pytest.raises(ValueError, match="shortened"):
        files.decode(files.encode(name))


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="empty"):
        files.encode("")


def test_atomic_replaces_at_the_end_only(tmp_path):
    path = tmp_path / "a.bin"
    path.write_text("old")
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.bin"]


def _fail(path: Path, error: Exception) -> None:
    with files.atomic(path) as temporary:
        temporary.write_text("half")
        raise error


def test_atomic_leaves_the_old_file_on_an_error(tmp_path):
    path = tmp_path / "a.bin"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="mine"):
        _fail(path, RuntimeError("mine"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_atomic_turns_a_full_disk_into_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="no space left") as caught:
        _fail(tmp_path / "a.bin", OSError(errno.ENOSPC, "full"))
    assert "the same command resumes" in caught.value.hint
    with pytest.raises(PermissionError):
        _fail(tmp_path / "a.bin", PermissionError(errno.EACCES, "no"))


KILLED = """
import os, sys
from pathlib import Path
from actx_core.files import atomic
with atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_leaves_is_cleaned(tmp_path):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    keep = [folder / ".mine.tmp", folder / "b.tmp", tmp_path / ".x.1-zzzzzzzz.tmp"]
    for path in keep:
        path.write_text("mine")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder / "a.bin")])
    assert done.returncode == -9
    (left,) = files.clean_temporary(tmp_path)
    assert left.parent == folder
    assert left.name.startswith(".a.bin.")
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(keep)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell whether a process lives")
def test_what_was_left_beside_a_file_by_the_dead_is_removed(tmp_path):
    path = tmp_path / "a[1].bin"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert done.returncode == -9
    others = [
        f".a1.bin.{os.getpid()}-0123abcd.tmp",
        ".b.bin.999999999-0123abcd.tmp",
        ".a[1].bin.tmp",
    ]
    for name in others:
        (tmp_path / name).touch()
    with files.atomic(path) as mine:
        mine.write_text("new")
        files.clean_beside(path)
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*others, mine.name])
    assert path.read_text() == "new"


def test_json_is_the_same_bytes_for_the_same_value(tmp_path):
    one, two = tmp_path / "1.json", tmp_path / "2.json"
    files.write_json(one, {"b": [1, 2.5], "a": "é"})
    files.write_json(two, {"a": "é", "b": [1, 2.5]})
    assert (
        one.read_bytes()
        == two.read_bytes()
        == '{\n "a": "é",\n "b": [\n  1,\n  2.5\n ]\n}\n'.encode()
    )
    assert files.read_json(one) == {"a": "é", "b": [1, 2.5]}


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged file") as caught:
        files.read_json(path, hint="do this")
    assert caught.value.where == str(path)
    assert caught.value.hint == "do this"


def test_missing_json_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"gone\.json: the file is missing  hint: restore"):
        files.read_json(tmp_path / "gone.json")


def test_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.sha256_file(path).startswith("ba7816bf8f01cfea414140de5dae2223")


@pytest.mark.parametrize("native", [True, False])
def test_claimed_space_is_really_there(tmp_path, monkeypatch, native):
    if not native:
        monkeypatch.setattr(files, "_fallocate", lambda *_: False)
    path = tmp_path / "a"
    with path.open("w+b") as file:
        file.write(b"head")
        files.claim(file, 3_000_000, offset=4)
        assert file.tell() == 4
    status = path.stat()
    assert status.st_size == 3_000_004
    assert status.st_blocks * 512 >= 3_000_000
    assert path.read_bytes() == b"head" + bytes(3_000_000)


def test_claiming_nothing_is_fine(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        files.claim(file, 0)
    assert (tmp_path / "a").stat().st_size == 0


def test_more_than_the_disk_holds_is_refused_at_once(tmp_path):
    with (tmp_path / "a").open("wb") as file, pytest.raises(StoreError) as caught:
        files.claim(file, 1 << 50)
    assert "GB" in f"{caught.value.message} {caught.value.hint}"
    assert "the same command resumes" in caught.value.hint
    assert caught.value.exit_code == 6


def test_the_amount_to_free_is_what_is_missing(tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000_000))
    error = files.no_space(OSError(errno.ENOSPC, ""), tmp_path / "a", 3_500_000_000)
    assert error.hint == "free 2.5 GB, the same command resumes"


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    with pytest.raises(StoreError, match="found a folder"), files.atomic(tmp_path):
        pass
