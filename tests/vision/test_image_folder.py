"""Image folders: what is listed, in which order, under which names, and what is refused."""

import hashlib
import io
import os
import random
import sys

import numpy as np
import pytest
from PIL import Image

from actx_core import Pipeline, Shard, SourceError, open_run
from actx_vision.sources.config import ImageFolderConfig
from actx_vision.sources.image_folder import ImageFolder


def put(root, *names, size=(6, 4)):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (number, 0, 0)).save(path)


def folder(root, **options):
    return ImageFolder(ImageFolderConfig(path=root, **options))


def ids(root, **options):
    return [sample.id for sample in folder(root, **options).listing()]


def test_a_flat_folder(tmp_path):
    put(tmp_path, "img10.png", "img2.JPG", "img1.jpeg", "a.PNG", "b.tif")
    source = folder(tmp_path)
    samples = source.listing()
    assert [s.id for s in samples] == ["a", "b", "img1", "img2", "img10"]
    assert [s.columns["path"] for s in samples][3] == "img2.JPG"
    assert all("label" not in s.columns for s in samples)
    for sample in samples:
        path = tmp_path / sample.columns["path"]
        assert sample.columns["bytes"] == path.stat().st_size
        assert sample.stamp == f"{path.stat().st_size}-{path.stat().st_mtime_ns}"
        assert source.digest(sample) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert samples[4].load().getpixel((0, 0)) == (0, 0, 0)  # img10 was written first


def test_class_folders_are_recognised(tmp_path):
    put(tmp_path, "dog/2.png", "cat/1.png", "cat/far/below/3.png")
    samples = folder(tmp_path).listing()
    assert [s.id for s in samples] == ["cat/1", "cat/far/below/3", "dog/2"]
    assert [s.columns["label"] for s in samples] == ["cat", "cat", "dog"]


def test_a_mixture_names_an_example_of_each(tmp_path):
    put(tmp_path, "top.png", "cat/1.png")
    with pytest.raises(SourceError, match=r"found both 'top\.png' and 'cat/1\.png'"):
        folder(tmp_path).listing()
    assert ids(tmp_path, include=["cat/*"]) == ["cat/1"]


def test_natural_order_at_every_level(tmp_path):
    names = ["s1/i1", "s1/i2", "s1/i10", "s1/i10b2", "s1/i10b10", "s2/1", "s2/01", "s2/a", "s10/x"]
    shuffled = random.Random(0).sample(names, len(names))
    put(tmp_path, *(f"{name}.png" for name in shuffled))
    expected = list(names)
    expected[5:7] = ["s2/01", "s2/1"]  # equal numbers: by the text
    assert ids(tmp_path) == expected


def test_ids_stay_unique(tmp_path):
    put(tmp_path, "a.png", "a.jpg", "b.png", "c/d.png", "a.png.png")
    assert ids(tmp_path, include=["[ab]*"]) == ["a.jpg", "a.png", "a.png.png", "b"]


def test_other_files_are_ignored(tmp_path):
    put(tmp_path, "a.png", ".hidden.png", ".cache/b.png")
    for name in ("Thumbs.db", ".DS_Store", "notes.txt", "png"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "empty").mkdir()
    assert ids(tmp_path) == ["a"]


def test_extensions_and_include(tmp_path):
    put(tmp_path, "a.png", "b.jpg", "c1.PNG", "c2.png")
    assert ids(tmp_path, extensions=[".PNG"]) == ["a", "c1", "c2"]
    assert ids(tmp_path, include=["c?.*", "b*"]) == ["b", "c1", "c2"]


def test_names_in_any_script(tmp_path):
    put(tmp_path, "日本/ねこ.png", "日本/Ünïcödé 🐈.png", "日本/" + "x" * 240 + ".png")
    assert set(ids(tmp_path)) == {"日本/ねこ", "日本/Ünïcödé 🐈", "日本/" + "x" * 240}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_that_are_not_utf8(tmp_path):
    put(tmp_path, "a.png")
    os.rename(os.fsencode(tmp_path) + b"/a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    (sample,) = folder(tmp_path).listing()
    assert sample.id == r"caf\xe9"
    assert sample.columns["path"] == r"caf\xe9.png"
    assert sample.id.encode()
    assert sample.load().size == (6, 4)


def test_links_are_followed_but_not_in_circles(tmp_path):
    put(tmp_path / "real", "x/a.png")
    stimuli = tmp_path / "stimuli"
    stimuli.mkdir()
    (stimuli / "linked").symlink_to(tmp_path / "real" / "x")
    (stimuli / "loop").symlink_to(stimuli)
    (stimuli / "linked2").mkdir()
    (stimuli / "linked2" / "b.png").symlink_to(tmp_path / "real" / "x" / "a.png")
    assert ids(stimuli) == ["linked/a", "linked2/b"]


@pytest.mark.parametrize(("target", "found"), [("gone.png", "gone"), ("b.png", "Too many levels")])
def test_a_broken_link_is_one_samples_error(tmp_path, target, found):
    put(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / target)
    good, bad = folder(tmp_path).listing()
    assert good.load().size == (6, 4)
    with pytest.raises(SourceError, match=found):
        bad.load()
    with pytest.raises(SourceError, match="cannot be read"):
        folder(tmp_path).digest(bad)


def test_pipes_are_not_waited_for(tmp_path):
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert ids(tmp_path) == ["a"]


def test_missing_and_empty_folders(tmp_path):
    (tmp_path / "stimuli").mkdir()
    with pytest.raises(SourceError, match="found nothing") as caught:
        folder(tmp_path / "stimli").listing()
    assert "did you mean 'stimuli'?" in caught.value.hint
    with pytest.raises(SourceError, match="found an empty folder"):
        folder(tmp_path / "stimuli").listing()
    (tmp_path / "stimuli" / "a.csv").touch()
    (tmp_path / "stimuli" / "b.csv").touch()
    with pytest.raises(SourceError, match=r"found 2 x \.csv") as caught:
        folder(tmp_path / "stimuli").listing()
    assert ".png" in caught.value.hint
    with pytest.raises(SourceError, match="found a file"):
        folder(tmp_path / "stimuli" / "a.csv").listing()


def test_the_listing_opens_no_file(tmp_path, monkeypatch):
    put(tmp_path, "a.png")

    def refuse(*_args, **_options):
        raise AssertionError("opened")

    source = folder(tmp_path)
    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(io, "open", refuse)
    assert len(source.listing()) == 1


def test_shards_read_the_listing(tmp_path):
    put(tmp_path, *(f"{n}.png" for n in range(5)))
    source = folder(tmp_path)
    shards = list(source.shards(2))
    assert [(s.start, s.stop) for s in shards] == [(0, 2), (2, 4), (4, 5)]
    read = [sample.id for shard in shards for sample in source.read(shard)]
    assert read == ["0", "1", "2", "3", "4"]
    assert [s.id for s in source.read(Shard("", 1, 2, 4))] == ["2", "3"]


def test_previews_are_small_pictures(tmp_path):
    put(tmp_path, "wide.png", size=(900, 300))
    put(tmp_path, "tiny.png", size=(3, 2))
    (tmp_path / "bad.png").write_text("no image")
    wide, bad, tiny, unknown = folder(tmp_path).preview(["wide", "bad", "tiny", "nobody"])
    assert (bad, unknown) == (None, None)
    with Image.open(io.BytesIO(wide.data)) as image:
        assert image.format == "JPEG"
        assert image.size == (160, 53)
    with Image.open(io.BytesIO(tiny.data)) as image:
        assert image.size == (3, 2)
    assert wide.caption == "wide"


def test_paths_inside_packages(tmp_path):
    pytest.importorskip("skimage")
    config = ImageFolderConfig(path="package:skimage/data", include=["c*ee.png", "rocket.*"])
    assert config.label() == "data"
    assert ImageFolderConfig.model_validate_json(config.model_dump_json()) == config
    coffee, rocket = ImageFolder(config).listing()
    assert (coffee.id, rocket.id) == ("coffee", "rocket")
    assert np.asarray(coffee.load()).shape == (400, 600, 3)


def test_the_config():
    config = ImageFolderConfig.model_validate({"path": "a/../b.v2"}, context={"base": "/tmp/x"})
    assert config.label() == "b.v2"
    with pytest.raises(ValueError, match="not installed"):
        ImageFolderConfig(path="package:no_such_package/data")
    with pytest.raises(ValueError, match="has no 'nowhere'"):
        ImageFolderConfig(path="package:actx_core/nowhere")
    with pytest.raises(ValueError, match="top-level package"):
        ImageFolderConfig(path="package:a.b/c")


def test_thousands_of_files_are_listed_quickly(tmp_path):
    from time import process_time

    for n in range(3):
        (tmp_path / str(n)).mkdir()
        for m in range(1000):
            os.close(os.open(f"{tmp_path}/{n}/image{m}.png", os.O_CREAT))
    start = process_time()
    assert len(folder(tmp_path).listing()) == 3000
    assert process_time() - start < 1.0


def test_classes_are_numbered_in_natural_order(tmp_path):
    put(tmp_path, "c10/a.png", "c2/b.png", "c2/c.png", "c1/d/e.png")
    (tmp_path / "c0").mkdir()
    samples = folder(tmp_path).listing()
    found = [(s.columns["label"], s.columns["target"]) for s in samples]
    assert found == [("c1", 0), ("c2", 1), ("c2", 1), ("c10", 2)]


def expanded(root, *folders, **more):
    given = {"type": "image-folder", "path": str(root), "folders": list(folders), **more}
    config = ImageFolderConfig.model_validate({k: v for k, v in given.items() if k != "type"})
    return config.expand(given)


def test_several_folders_are_several_sources(tmp_path):
    found = expanded(tmp_path, "rotated", "confound/leaves", "/abs/dir", ".", include=["*.png"])
    assert [(each["as"], each["path"]) for each in found] == [
        ("rotated", f"{tmp_path}/rotated"),
        ("leaves", f"{tmp_path}/confound/leaves"),
        ("dir", "/abs/dir"),
        (tmp_path.name, f"{tmp_path}/."),
    ]
    assert all(each["include"] == ["*.png"] for each in found)
    assert not any("folders" in each for each in found)
    assert expanded(tmp_path) == []


def test_folders_of_one_name_are_called_by_their_paths(tmp_path):
    found = expanded(tmp_path, "a/leaves", "b/Leaves/", "other")
    assert [each["as"] for each in found] == ["a_leaves", "b_Leaves", "other"]


@pytest.mark.parametrize("folders", [("a", "a/"), ("a", "./a"), ("",)])
def test_folders_named_twice_or_not_at_all(tmp_path, folders):
    with pytest.raises(ValueError, match="stands there twice|is empty"):
        ImageFolderConfig(path=tmp_path, folders=folders)


def test_folders_are_read_each_by_its_own_source(tmp_path):
    with pytest.raises(SourceError, match="several sources"):
        folder(tmp_path, folders=["a"]).listing()


def test_folders_in_a_pipeline(tmp_path, monkeypatch):
    put(tmp_path / "stimuli", "rotated/a.png", "confound/leaves/b.png", "confound/leaves/c.png")
    put(tmp_path, "elsewhere/d.png")
    monkeypatch.chdir(tmp_path)
    spec = {
        "actx": 1,
        "run": {"out": "run", "batch_size": 4},
        "source": {
            "type": "image-folder",
            "path": "stimuli",
            "folders": ["rotated", "confound/leaves", str(tmp_path / "elsewhere")],
        },
        "model": {
            "type": "module",
            "as": "tiny",
            "callable": "torchvision.models:squeezenet1_1",
            "trust": True,
            "preprocess": {"resize": 32, "crop": 32},
            "taps": ["features.0"],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
    }
    list(Pipeline.from_dict(spec).run())
    run = open_run(tmp_path / "run")
    assert set(run) == {f"{name}/tiny/features.0" for name in ("rotated", "leaves", "elsewhere")}
    assert run["leaves/tiny/features.0"].rows["sample"].to_pylist() == ["b", "c"]
    put(tmp_path, "stimuli/rotated/e.png")
    list(Pipeline.from_dict(spec).run())
    assert len(open_run(tmp_path / "run")["rotated/tiny/features.0"]) == 2
    spec["source"]["folders"][0] = "rotatd"
    with pytest.raises(SourceError, match="found nothing") as caught:
        Pipeline.from_dict(spec | {"run": {"out": "other"}}).plan()
    assert "did you mean 'rotated'?" in caught.value.hint
