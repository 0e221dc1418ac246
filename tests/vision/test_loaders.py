"""get_image_set: which files of a folder it lists, and in which order."""

from __future__ import annotations

import pytest

from actx_core import SourceError
from actx_vision import get_image_set


def test_png_files_of_the_folder_in_natural_order(tmp_path):
    for name in (
        "img10.png",
        "img2.PNG",
        "img1.png",
        "b.jpg",
        ".hidden.png",
        "ünï.png",
        "a.png.txt",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "below.png").touch()
    names = ["img1.png", "img2.PNG", "img10.png", "ünï.png"]
    assert get_image_set(str(tmp_path)) == [tmp_path / name for name in names]


def test_other_endings(tmp_path):
    for name in ("a.jpg", "b.JPEG", "c.png", "d.txt"):
        (tmp_path / name).touch()
    found = get_image_set(tmp_path, extensions=[".jpg", ".jpeg"])
    assert [path.name for path in found] == ["a.jpg", "b.JPEG"]
    assert get_image_set(tmp_path, extensions=(".tif",)) == []


def test_no_folder(tmp_path):
    (tmp_path / "semantic").mkdir()
    (tmp_path / "file.png").touch()
    with pytest.raises(SourceError, match="found nothing  hint: did you mean 'semantic'"):
        get_image_set(tmp_path / "semantc")
    with pytest.raises(SourceError, match="expected a folder of images, found a file"):
        get_image_set(tmp_path / "file.png")
