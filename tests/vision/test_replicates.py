"""Replicates: what is drawn, what is done to the pictures, and what comes out of a run."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.models import squeezenet1_1
from torchvision.transforms import functional

from actx_core import ConfigError, Pipeline, open_run
from actx_core.testing import SourceTests
from actx_core.torch import ImagePreprocess, prepare_images
from actx_vision.sources.config import ImageFolderConfig, Jitter
from actx_vision.sources.image_folder import ImageFolder
from actx_vision.sources.replicates import draw, jittered

RNG = np.random.default_rng(0)
PHOTO = Image.fromarray(RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8))
ALL = {
    "brightness": 0.3,
    "contrast": 0.3,
    "saturation": 0.4,
    "hue": 0.2,
    "translate": 0.1,
    "noise": 0.1,
}


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(1)
    for name in ("c", "a", "b"):
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        (tmp_path / "stimuli").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "stimuli" / f"{name}.png")
    return tmp_path / "stimuli"


def source(root, **options):
    return ImageFolder(ImageFolderConfig(path=root, **options))


def pixels(image):
    assert image.mode == "RGB"
    return np.asarray(image)


class TestReplicatedFolder(SourceTests):
    @pytest.fixture
    def source(self, root):
        return source(root, replicates=3, jitter=ALL)


def test_replicates_are_adjacent_and_the_first_is_clean(root):
    samples = source(root, replicates=3, jitter=ALL).listing()
    assert [(s.id, s.replicate) for s in samples] == [(i, r) for i in "abc" for r in range(3)]
    plain = {s.id: s for s in source(root).listing()}
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    neutral |= {"dx": 0.0, "dy": 0.0, "noise": 0.0}
    for sample in samples:
        clean = plain[sample.id]
        assert sample.stamp == clean.stamp
        assert sample.columns.keys() == clean.columns.keys() | {f"jitter_{n}" for n in neutral}
        same = np.array_equal(pixels(sample.load()), pixels(clean.load()))
        assert same == (sample.replicate == 0)
        if sample.replicate == 0:
            assert {n: sample.columns[f"jitter_{n}"] for n in neutral} == neutral
    shown = source(root, replicates=3, jitter=ALL)
    assert len({shown.digest(s) for s in shown.listing()}) == 3
    assert not any("jitter" in name for s in plain.values() for name in s.columns)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colour_is_that_of_torchvision(root, name):
    clean, *others = source(root, replicates=4, jitter={name: 0.3}).listing()[:4]
    assert len({s.columns[f"jitter_{name}"] for s in others}) == 3
    for sample in others:
        change = getattr(functional, f"adjust_{name}")
        expected = change(clean.load(), sample.columns[f"jitter_{name}"])
        np.testing.assert_array_equal(pixels(sample.load()), pixels(expected))


def test_colours_are_changed_in_the_order_of_colorjitter(root):
    jitter = {"hue": 0.1, "saturation": 0.5, "contrast": 0.5, "brightness": 0.5}
    clean, sample = source(root, replicates=2, jitter=jitter).listing()[:2]
    image = clean.load()
    for name in ("brightness", "contrast", "saturation", "hue"):
        image = getattr(functional, f"adjust_{name}")(image, sample.columns[f"jitter_{name}"])
    np.testing.assert_array_equal(pixels(sample.load()), pixels(image))


def shifted(image, dx, dy):
    return pixels(jittered(image, {"dx_px": dx, "dy_px": dy}, 0, "a", 1))


@pytest.mark.parametrize(("dx", "dy"), [(0.3, -1.7), (-2.25, 0.0), (100.5, 0.4), (5.0, -3.0)])
def test_shifts_are_bilinear_with_a_replicated_border(dx, dy):
    ndimage = pytest.importorskip("scipy.ndimage")
    values = np.asarray(PHOTO, np.float64)
    expected = ndimage.shift(values, (dy, dx, 0), order=1, mode="nearest", prefilter=False)
    assert np.abs(shifted(PHOTO, dx, dy) - expected).max() <= 0.51  # rounded to 8 bits


def test_whole_pixels_are_moved_exactly():
    moved, before = shifted(PHOTO, 2, -1), pixels(PHOTO)
    np.testing.assert_array_equal(moved[:-1, 2:], before[1:, :-2])
    np.testing.assert_array_equal(moved[:-1, 0], before[1:, 0])  # the left border, again
    np.testing.assert_array_equal(moved[-1, 2:], before[-1, :-2])


def test_shares_count_width_and_height():
    share = jittered(PHOTO, {"dx": 0.125, "dy": 0.25}, 0, "a", 1)
    np.testing.assert_array_equal(pixels(share), shifted(PHOTO, 4, 6))


def test_noise_has_its_deviation_and_is_cut_off():
    grey = Image.new("RGB", (100, 100), (128, 128, 128))
    noisy = pixels(jittered(grey, {"noise": 0.1}, 0, "a", 1)).astype(float)
    assert abs(noisy.mean() - 128) < 0.5
    assert noisy.std() == pytest.approx(25.5, rel=0.02)
    channels = np.corrcoef(noisy.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 0.05
    black = pixels(jittered(Image.new("RGB", (50, 50)), {"noise": 0.1}, 0, "a", 1))
    assert (black == 0).mean() == pytest.approx(0.5, abs=0.05)


def test_noise_follows_seed_sample_and_replicate():
    keys = [(0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1)]
    fields = [pixels(jittered(PHOTO, {"noise": 0.1}, *key)).tobytes() for key in keys]
    assert len(set(fields)) == 4
    assert fields == [pixels(jittered(PHOTO, {"noise": 0.1}, *key)).tobytes() for key in keys]


def test_a_black_white_and_one_pixel_picture():
    for image in (Image.new("RGB", (1, 1), "red"), Image.new("RGB", (5, 1), "white")):
        drawn = draw(Jitter(**ALL), 0, "a", 1)
        assert jittered(image, drawn, 0, "a", 1).size == image.size


def test_numbers_depend_on_seed_sample_replicate_and_name_alone(root):
    def columns(**options):
        return {(s.id, s.replicate): s.columns for s in source(root, **options).listing()}

    few = columns(replicates=2, jitter={"hue": 0.2})
    more = columns(replicates=5, jitter=ALL, include=["[ab].png"])
    assert few["b", 1]["jitter_hue"] == more["b", 1]["jitter_hue"]
    other = columns(replicates=2, jitter={"hue": 0.2}, seed=1)
    assert few["b", 1]["jitter_hue"] != other["b", 1]["jitter_hue"]
    (root / "0.png").write_bytes((root / "a.png").read_bytes())
    assert columns(replicates=2, jitter={"hue": 0.2})["b", 1] == few["b", 1]


def test_numbers_fill_their_span_evenly():
    jitter = Jitter(saturation=0.05, hue=0.5, brightness=3, translate_px=2)
    drawn = [draw(jitter, 0, f"s{n}", 1) for n in range(4000)]
    spans = {"saturation": (0.95, 1.05), "hue": (-0.5, 0.5), "brightness": (0, 4)}
    for name, (low, high) in {**spans, "dx_px": (-2, 2), "dy_px": (-2, 2)}.items():
        values = (np.array([d[name] for d in drawn]) - low) / (high - low)
        assert (values >= 0).all()
        assert (values <= 1).all()
        counts, _ = np.histogram(values, 10, (0, 1))
        assert ((counts - 400) ** 2 / 400).sum() < 30  # chi-squared, 9 degrees: p < 0.0005
    pairs = np.corrcoef([[d[name] for d in drawn] for name in drawn[0]])
    assert np.abs(pairs - np.eye(len(pairs))).max() < 0.06


def test_these_numbers_stay_what_they_are():
    """Stored rows can be made again by any later version."""
    drawn = draw(Jitter(saturation=0.05, hue=0.05), 0, "cat/1", 2)
    assert drawn == {"saturation": 0.9715094742459807, "hue": 0.026594920125399865}


def test_the_preset_of_ann_pipe_and_what_is_said_beside_it():
    config = ImageFolderConfig(path="x", preset="ann_pipe")
    assert (config.replicates, config.alpha, config.pad) == (4, "mask", 0.1)
    assert (config.jitter, config.background) == (Jitter(saturation=0.05, hue=0.05), (0, 0, 0))
    config = ImageFolderConfig.model_validate(
        {"path": "x", "preset": "ann_pipe", "replicates": 2, "jitter": {"hue": 0, "noise": 0.1}}
    )
    assert (config.replicates, config.jitter) == (2, Jitter(saturation=0.05, noise=0.1))
    assert ImageFolderConfig.model_validate(config.model_dump(mode="json")) == config
    once = ImageFolderConfig(path="x", preset="ann_pipe", replicates=1)
    assert once.replicates == 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"replicates": 4}, "4 equal rows"),
        ({"jitter": {"hue": 0.1}}, "does nothing"),
        ({"replicates": 4, "jitter": {"hue": 0.0}}, "4 equal rows"),
        ({"preset": "ann_pipe", "jitter": {"hue": 0, "saturation": 0}}, "4 equal rows"),
    ],
)
def test_replicates_that_would_be_equal_are_refused(options, found):
    with pytest.raises(ConfigError, match=found) as caught:
        ImageFolderConfig(path="x", **options)
    assert caught.value.hint.startswith("say ")


@pytest.mark.parametrize(
    "jitter",
    [
        {"hue": 0.6},
        {"saturation": -0.1},
        {"brightness": float("inf")},
        {"contrast": float("nan")},
        {"noise": 2},
        {"translate": 1.5},
        {"translate_px": -1},
        {"translate": 0.1, "translate_px": 3},
        {"hues": 0.1},
    ],
)
def test_jitter_out_of_range_is_refused(jitter):
    with pytest.raises(ValidationError):
        ImageFolderConfig(path="x", replicates=2, jitter=jitter)


@pytest.mark.parametrize(
    "options", [{"pad": -1}, {"background": (0, 0, 256)}, {"alpha": "keep"}, {"preset": "nsd"}]
)
def test_other_options_out_of_range_are_refused(options):
    with pytest.raises(ValidationError):
        ImageFolderConfig(path="x", **options)


def pipeline(root, out, **options):
    return {
        "actx": 1,
        "run": {"out": str(out), "batch_size": 5, "shard_size": 4, "seed": 7},
        "source": {"type": "image-folder", "path": str(root), **options},
        "model": {
            "type": "module",
            "as": "tiny",
            "callable": "torchvision.models:squeezenet1_1",
            "trust": True,
            "preprocess": {"resize": 32, "crop": 32},
            "taps": ["features.0", "features.3"],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
        "store": {"type": "npy"},
    }


def arrays(out):
    return {path.name: path.read_bytes() for path in out.rglob("*.npy")}


def test_a_run_stores_the_jitter_and_resumes_to_the_same_bytes(root, tmp_path):
    options = {"preset": "ann_pipe", "replicates": 3, "extensions": [".png"]}
    whole, cut = (pipeline(root, tmp_path / name, **options) for name in ("whole", "cut"))
    list(Pipeline.from_dict(whole).run())
    started = Pipeline.from_dict(cut).run()
    next(started)
    started.close()
    assert not open_run(tmp_path / "cut").complete
    list(Pipeline.from_dict(cut).run())
    assert arrays(tmp_path / "cut") == arrays(tmp_path / "whole") != {}
    acts = open_run(tmp_path / "whole")["stimuli/tiny/features.0"]
    rows = acts.rows.to_pydict()
    assert rows["sample"] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    assert rows["replicate"] == [0, 1, 2] * 3
    assert rows == open_run(tmp_path / "cut")["stimuli/tiny/features.0"].rows.to_pydict()
    samples = source(root, **options, seed=7).listing()
    for name in ("jitter_saturation", "jitter_hue", "path"):
        assert rows[name] == [s.columns[name] for s in samples]
    assert len(np.unique(acts.numpy(), axis=0)) == 9


def test_the_activations_are_those_of_the_jittered_pictures(root, tmp_path):
    options = {"replicates": 2, "jitter": {"translate_px": 3, "hue": 0.1}}
    spec = pipeline(root, tmp_path / "run", **options)
    list(Pipeline.from_dict(spec).run())
    acts = open_run(tmp_path / "run")["stimuli/tiny/features.0"]
    images = [s.load() for s in source(root, **options, seed=7).listing()]
    inputs = prepare_images(images, ImagePreprocess(resize=32, crop=32))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(7)
        network = squeezenet1_1().eval()
        expected = network.features[0](inputs).mean((2, 3)).numpy()
    np.testing.assert_allclose(acts.numpy(), expected, rtol=1e-4, atol=1e-5)
