"""What the options of an analysis stand for: the content of files, wherever they lie."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

from actx_core import Config, InputPath
from actx_core.content import meaning


class Inner(Config):
    files: tuple[InputPath, ...] = ()


class Options(Config):
    k: int = 3
    of: InputPath | None = None
    inner: Inner = Inner()
    since: date = date(2026, 1, 1)


def test_options_without_files_are_as_json_has_them():
    options = Options(k=5)
    assert meaning(options) == options.model_dump(mode="json")


def test_of_a_file_its_name_and_content_count(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "labels.csv").write_text("one")
    first = meaning(Options(inner=Inner(files=(tmp_path / "a" / "labels.csv",))))
    assert first == meaning(Options(inner=Inner(files=(tmp_path / "b" / "labels.csv",))))
    assert str(tmp_path) not in str(first)
    (tmp_path / "b" / "labels.csv").write_text("two")
    assert first != meaning(Options(inner=Inner(files=(tmp_path / "b" / "labels.csv",))))
    renamed = (tmp_path / "a" / "labels.csv").rename(tmp_path / "a" / "labels.json")
    assert first != meaning(Options(inner=Inner(files=(renamed,))))


def test_of_a_folder_all_files_count(tmp_path):
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "x").write_text("x")
    (tmp_path / "a" / "deep" / "y").write_text("y")
    first = meaning(Options(of=tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    assert meaning(Options(of=tmp_path / "moved")) == first
    (tmp_path / "moved" / "deep" / "y").write_text("z")
    assert meaning(Options(of=tmp_path / "moved")) != first
    (tmp_path / "a" / "x").rename(tmp_path / "a" / "z")
    assert meaning(Options(of=tmp_path / "a")) != first


def test_what_is_missing_is_named(tmp_path):
    assert meaning(Options(of=Path("nowhere")))["of"] == "nowhere"
