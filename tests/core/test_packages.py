"""Paths inside installed packages."""

import sys
from pathlib import Path

import pytest

from actx_core import Config, ConfigError
from actx_core.packages import DataPath, package_path


class Options(Config):
    path: DataPath


@pytest.fixture
def package(tmp_path, monkeypatch):
    home = tmp_path / "photographs_of_test"
    (home / "data").mkdir(parents=True)
    (home / "__init__.py").write_text("raise ImportError('must not be imported')")
    (home / "data" / "a.txt").write_text("a")
    (tmp_path / "single_file_of_test.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return home


def test_a_file_or_folder_is_found_without_importing(package):
    assert package_path("package:photographs_of_test/data/a.txt").read_text() == "a"
    assert package_path("package:photographs_of_test/data") == package / "data"
    assert package_path("package:photographs_of_test") == package
    assert "photographs_of_test" not in sys.modules


def test_other_paths_stay():
    assert package_path("a/b") == Path("a/b")
    assert package_path(Path("/a/package:b")) == Path("/a/package:b")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("package:photographs_of_test/nothing", "has no 'nothing'"),
        ("package:no_such_package/data", "not installed"),
        ("package:single_file_of_test/data", "not installed"),
        ("package:photographs_of_test.data/a.txt", "top-level package"),
        ("package:", "top-level package"),
    ],
)
def test_what_is_not_there(package, path, message):
    with pytest.raises(ConfigError, match=message) as caught:
        package_path(path)
    assert caught.value.hint
    with pytest.raises(ValueError, match=message):
        Options(path=path)


def test_in_a_config_it_stays_as_written(package, tmp_path):
    given = {"path": "package:photographs_of_test/data"}
    options = Options.model_validate(given, context={"base": tmp_path})
    assert options.model_dump(mode="json") == given
    assert package_path(options.path) == package / "data"
    options = Options.model_validate({"path": "x"}, context={"base": tmp_path})
    assert options.path == tmp_path / "x"
