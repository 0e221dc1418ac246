"""Bad files in whole runs: each is one sample's error that names it, or a skipped sample, in every source."""

import hashlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from actx_core import Pipeline, SourceError, open_run
from actx_core.verify import verify

LONG = "x" * 200
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def jpeg():
    data = io.BytesIO()
    Image.fromarray(PIXELS).save(data, "JPEG")
    return data.getvalue()


def gif():
    data, frames = io.BytesIO(), [Image.fromarray(np.roll(PIXELS, n)) for n in range(3)]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    return data.getvalue()


BAD = {
    "cut.jpg": (jpeg()[:700], "damaged or cannot be decoded"),
    "empty.png": (b"", r"an empty file \(0 bytes\)"),
    "moving.gif": (gif(), "expected one picture, found 3 frames"),
    "page.jpg": (b"<html>404 not found</html>", "begins with b'<html>40'"),
}


@pytest.fixture
def stimuli(tmp_path):
    """Good pictures of every awkward kind."""
    folder = tmp_path / "stimuli"
    folder.mkdir()
    image = Image.fromarray(PIXELS)
    for name in ("good.png", "good.jpg", "日本 ねこ 🐈.png", f"{LONG}.png"):
        image.save(folder / name)
    Image.new("RGB", (1, 1), "red").save(folder / "dot.png")
    return folder


def table(folder):
    path = folder.parent / "stimuli.csv"
    lines = "".join(f'"{name}"\n' for name in sorted(os.listdir(folder)))
    path.write_text(f"path\n{lines}", "utf-8")
    return {"type": "image-table", "path": str(path), "root": str(folder)}


def folder_source(folder):
    return {"type": "image-folder", "path": str(folder)}


def run(tmp_path, source, retry_skipped=False, **options):
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "batch_size": 3, "shard_size": 4, **options},
        "source": {"as": "s", **source},
        "model": {
            "type": "module",
            "as": "m",
            "callable": "torchvision.models:squeezenet1_1",
            "trust": True,
            "preprocess": {"resize": 32, "crop": 32},
            "taps": ["features.0"],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
    }
    list(Pipeline.from_dict(spec).run(retry_skipped=retry_skipped))
    return open_run(tmp_path / "run")


@pytest.mark.parametrize("source", [folder_source, table])
def test_awkward_names_and_sizes_are_stored(tmp_path, stimuli, source):
    rows = run(tmp_path, source(stimuli))["s/m/features.0"].rows.to_pydict()
    expected = {"good.png", "good.jpg", "日本 ねこ 🐈", LONG, "dot"}
    assert set(rows["sample"]) == expected
    assert set(rows["path"]) == set(os.listdir(stimuli))


@pytest.mark.parametrize("source", [folder_source, table])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_stops_the_run_and_is_named(tmp_path, stimuli, source, name):
    content, found = BAD[name]
    (stimuli / name).write_bytes(content)
    with pytest.raises(SourceError, match=found) as caught:
        run(tmp_path, source(stimuli))
    assert caught.value.where == str(stimuli / name)
    assert 'on_error = "skip"' in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("jitter", [{}, {"replicates": 2, "jitter": {"noise": 0.1}}])
def test_bad_files_are_left_out_and_listed(tmp_path, stimuli, jitter):
    for name, (content, _) in BAD.items():
        (stimuli / name).write_bytes(content)
    found = run(tmp_path, {**folder_source(stimuli), **jitter}, on_error="skip")
    skipped = [s for _, s in found.skipped]
    replicates = jitter.get("replicates", 1)
    assert sorted(s.sample for s in skipped) == sorted([n[:-4] for n in BAD] * replicates)
    for one in skipped:
        assert any(one.sample in one.why and n[:-4] == one.sample for n in BAD)
    array = found["s/m/features.0"]
    assert len(array) == 5 * replicates
    assert not set(array.rows["sample"].to_pylist()) & {s.sample for s in skipped}
    assert np.isfinite(array.numpy()).all()


def test_one_stem_in_two_class_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "stimuli" / name).mkdir(parents=True)
        Image.fromarray(PIXELS).save(tmp_path / "stimuli" / name / "1.png")
    rows = run(tmp_path, folder_source(tmp_path / "stimuli"))["s/m/features.0"].rows
    assert rows["sample"].to_pylist() == ["a/1", "b/1"]
    assert rows["target"].to_pylist() == [0, 1]


def test_a_file_that_goes_during_the_run(tmp_path, stimuli):
    source = folder_source(stimuli)
    run(tmp_path, {**source, "limit": 3})
    (stimuli / "dot.png").unlink()
    with pytest.raises(SourceError, match="sample 'dot' is gone"):
        run(tmp_path, source)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_bad_file_may_be_repaired(tmp_path, stimuli, on_error):
    """In the first shard or behind it, by going on or by trying again what was skipped."""
    source, bad = folder_source(stimuli), [stimuli / "cat.jpg", stimuli / "z.jpg"]
    for file in bad:
        file.write_bytes(BAD["cut.jpg"][0])
    for file in bad:
        if on_error == "raise":
            with pytest.raises(SourceError, match=file.name):
                run(tmp_path, source)
        else:
            run(tmp_path, source, on_error=on_error)
        file.write_bytes(jpeg())
    found = run(tmp_path, source, retry_skipped=on_error == "skip", on_error=on_error)
    array = found["s/m/features.0"]
    assert found.skipped == []
    assert sorted(array.rows["path"].to_pylist()) == sorted(os.listdir(stimuli))
    digests = dict(zip(*(found.samples("s")[c].to_pylist() for c in ("path", "sha256"))))
    assert digests["cat.jpg"] == digests["z.jpg"] == hashlib.sha256(jpeg()).hexdigest()
    assert verify(tmp_path / "run") == []
    values = dict(zip(array.rows["path"].to_pylist(), array.numpy()))
    np.testing.assert_array_equal(values["cat.jpg"], values["z.jpg"])
    bad[0].write_bytes(BAD["cut.jpg"][0])
    with pytest.raises(SourceError, match="sample 'cat' has changed"):
        run(tmp_path, source)


def test_a_changed_file_is_named_and_a_touched_one_is_not(tmp_path, stimuli):
    source = {**folder_source(stimuli), "replicates": 2, "jitter": {"hue": 0.1}}
    run(tmp_path, source)
    os.utime(stimuli / "dot.png", (1, 1))
    run(tmp_path, source)
    Image.new("RGB", (1, 1), "blue").save(stimuli / "dot.png")
    with pytest.raises(SourceError, match="sample 'dot' has changed"):
        run(tmp_path, source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_folders_without_permission(tmp_path, stimuli):
    stimuli.chmod(0o555)
    run(tmp_path, folder_source(stimuli))  # nothing is written beside the stimuli
    stimuli.chmod(0o000)
    try:
        with pytest.raises(SourceError, match="cannot be listed: Permission denied"):
            run(tmp_path, {**folder_source(stimuli), "as": "other"})
    finally:
        stimuli.chmod(0o755)


def test_nothing_is_written_beside_the_stimuli(tmp_path, stimuli):
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(stimuli)}
    run(tmp_path, {**folder_source(stimuli), "preset": "ann_pipe", "replicates": 2})
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(stimuli)} == before


@pytest.mark.parametrize("type_", ["image-folder", "image-table", "image-stack", "things"])
def test_missing_places_are_one_line_before_any_model_is_loaded(tmp_path, type_):
    path = str(tmp_path / ("none.csv" if type_ == "image-table" else "none"))
    with pytest.raises(SourceError, match="found (nothing|none|no such file)") as caught:
        run(tmp_path, {"type": type_, "path": path})
    assert caught.value.where == path
    assert caught.value.hint
    assert not (tmp_path / "run" / "s" / "m").exists()
