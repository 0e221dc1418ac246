from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import Field

from actx_core import Activation, Batch, Config, Model, ModelConfig, Sample, Tap
from actx_core.contracts import Analyzer
from actx_core.poolers import Flatten, Grid, Max, Mean, Projection, Select, Std
from actx_core.sources.arrays import Arrays, ArraysConfig
from actx_core.sources.text import Text, TextConfig
from actx_core.stores.hdf5 import Hdf5
from actx_core.stores.npy import Npy
from actx_core.stores.parquet import Parquet
from actx_core.testing import (
    AnalyzerTests,
    ModelTests,
    PluginTests,
    PoolerTests,
    SourceTests,
    StoreTests,
    make_input,
)
from actx_core.types import Result

AXES = ("sample", "token", "channel")


class ToyConfig(ModelConfig):
    """A little network of one mixing layer and one sum, for this test."""

    batch_size: int = 3
    """Samples in one forward pass."""
    packed: bool = False
    """Give tokens packed instead of padded."""
    seed: int = Field(default=0, ge=0)
    """Makes the weights."""


class Toy(Model[ToyConfig]):
    """Texts of several lengths: one layer over letters, one running mean over what came before."""

    accepts = "text"

    def taps(self, example=None):
        return [
            Tap("layer0", AXES, (None, 4), "float32"),
            Tap("layer1", AXES, (None, 4), "float32"),
            Tap("dead", AXES, (None, 4), "float32", problem="it never fires"),
        ]

    def prepare(self, samples):
        size = max(len(s.data) for s in samples)
        codes = np.array([[ord(c) for c in s.data.ljust(size, "~")] for s in samples])
        mask = np.arange(size) < np.array([len(s.data) for s in samples])[:, None]
        return Batch((codes, mask), range(len(samples)), {"sample": {"n": mask.sum(1)}})

    def open(self, taps):
        self.opened = list(taps)
        rng = np.random.default_rng(self.config.seed)
        self.embedding = rng.normal(size=(128, 4)).astype("float32")
        self.weight = rng.normal(size=(4, 4)).astype("float32")

    def forward(self, codes, mask):
        x = self.embedding[codes]
        yield "layer0", x
        total = np.cumsum(x, axis=1) / np.arange(1, x.shape[1] + 1, dtype="float32")[:, None]
        yield "layer1", np.maximum(total @ self.weight, 0)

    def extract(self, batch, pool):
        codes, mask = batch.inputs
        return {
            name: pool(name, self.activation(array, mask))
            for name, array in self.forward(codes, mask)
            if name in self.opened
        }

    def activation(self, array, mask):
        if self.config.packed:
            return Activation(array[mask], AXES[1:], None, np.cumsum([0, *mask.sum(1)]))
        return Activation(array, AXES, mask[:, :, None])

    def fingerprint(self):
        return f"seed {self.config.seed}"


TEXTS = ["a shark", "no", "the long whale", "eel"]
SAMPLES = [Sample(f"s{n}", lambda text=text: text) for n, text in enumerate(TEXTS)]


class TestToy(ModelTests):
    @pytest.fixture(params=[False, True], ids=["padded", "packed"])
    def model(self, request):
        return Toy(ToyConfig(packed=request.param))

    @pytest.fixture
    def samples(self):
        return SAMPLES


class Normalised(Toy):
    """Wrong: batch statistics."""

    def forward(self, codes, mask):
        for name, x in super().forward(codes, mask):
            yield name, (x - x.mean((0, 1))) / (x.std((0, 1)) + 1)


class NoMask(Toy):
    """Wrong: padding is not hidden."""

    def activation(self, array, mask):
        return Activation(array, AXES)


class OtherAxes(Toy):
    """Wrong: channels come first."""

    def activation(self, array, mask):
        return Activation(array.swapaxes(1, 2), ("sample", "channel", "token"), mask[:, None])


class OtherSize(Toy):
    """Wrong: one channel less than declared."""

    def activation(self, array, mask):
        return Activation(array[..., 1:], AXES, mask[:, :, None])


class Forgetful(Toy):
    """Wrong: a tap that is not given."""

    def forward(self, codes, mask):
        yield from list(super().forward(codes, mask))[:1]


class Stateful(Toy):
    """Wrong: other values at each call, as with dropout left on."""

    calls = 0

    def forward(self, codes, mask):
        Stateful.calls += 1
        for name, x in super().forward(codes, mask):
            yield name, x * np.float32(Stateful.calls)


class Entangled(Toy):
    """Wrong: what a tap gives depends on which others were asked for."""

    def forward(self, codes, mask):
        for name, x in super().forward(codes, mask):
            yield name, x + np.float32(len(self.opened))


class SameName(Toy):
    """Wrong: files of these taps would be one on some systems."""

    def taps(self, example=None):
        first, *rest = super().taps()
        return [first, replace(first, name="Layer0"), *rest]


class Dropping(Toy):
    """Wrong: the last batch is lost."""

    def batches(self, samples):
        yield from list(super().batches(samples))[:-1]


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (
            Normalised,
            "a_sample_does_not_depend_on_its_batch",
            "layer0: alone and with .* 's0' differs",
        ),
        (NoMask, "a_sample_does_not_depend_on_its_batch", "does the mask hide the padding"),
        (OtherAxes, "declared_axes_are_real", r"declared \('sample', 'token', 'channel'\), gave"),
        (OtherSize, "declared_axes_are_real", r"sizes differ: {'channel': \(4, 3\)}"),
        (Forgetful, "declared_axes_are_real", "layer1"),
        (Stateful, "extraction_repeats", "layer0"),
        (Entangled, "a_tap_alone_is_the_tap_among_all", "layer0: alone and among all taps"),
        (SameName, "taps_are_stable_and_named_apart", "differ in more than case: layer0"),
        (Dropping, "batches_hold_every_sample_once", "s3"),
    ],
)
def test_wrong_models_are_caught(kind, test, message):
    suite, model = ModelTests(), kind(ToyConfig())
    arguments = [model, SAMPLES, [t for t in model.taps() if not t.problem]]
    given = arguments if "tapped" in _names(test) else arguments[:2]
    with pytest.raises(AssertionError, match=message):
        getattr(suite, f"test_{test}")(*given)
    # The suite does not fail by itself: the right model passes the same test.
    getattr(suite, f"test_{test}")(Toy(ToyConfig()), *given[1:])


def _names(test):
    return getattr(ModelTests, f"test_{test}").__annotations__


def test_batches_of_one_prove_nothing():
    with pytest.raises(AssertionError, match="batches of one prove nothing"):
        ModelTests().test_batches_hold_every_sample_once(Toy(ToyConfig(batch_size=1)), SAMPLES)


class Replacing(ModelTests):
    def test_extraction_repeats(self):
        pass


class Excusing(ModelTests):
    @pytest.mark.xfail(reason="dropout is on by design")
    def test_extraction_repeats(self, model, samples, tapped):
        super().test_extraction_repeats(model, samples, tapped)


def test_inherited_tests_may_not_be_replaced():
    with pytest.raises(
        AssertionError, match="inherited tests were replaced: test_extraction_repeats"
    ):
        Replacing().test_suite_is_whole()
    Excusing().test_suite_is_whole()


class TestText(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        path = tmp_path / "x.jsonl"
        path.write_text("".join(f'{{"text": "line {n}", "n": {n}}}\n' for n in range(8)))
        return Text(TextConfig(path=path))


class TestArrays(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(8, 3)))
        return Arrays(ArraysConfig(path=tmp_path / "x.npy"))


class Unordered(Text):
    """Wrong: the order is that of a hash table."""

    def listing(self):
        return [self._samples[id] for id in {*self._samples}]


class Twice(Text):
    """Wrong: a sample is listed twice."""

    def listing(self):
        return [*super().listing(), super().listing()[0]]


class Overlapping(Text):
    """Wrong: shards overlap."""

    def read(self, shard):
        yield from self.listing()[max(shard.start - 1, 0) : shard.stop]


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Unordered, "another_process_reads_the_same"),
        (Twice, "samples_are_named_apart"),
        (Overlapping, "shards_cover_everything_once"),
    ],
)
def test_wrong_sources_are_caught(kind, test, tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    path.write_text("".join(f"{n}\n" for n in range(40)))
    # The other process must find the class: this file is no module there.
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(kind, "__module__", Path(__file__).stem)
    monkeypatch.setitem(sys.modules, Path(__file__).stem, sys.modules[__name__])
    with pytest.raises(AssertionError):
        getattr(SourceTests(), f"test_{test}")(kind(TextConfig(path=path)))
    getattr(SourceTests(), f"test_{test}")(Text(TextConfig(path=path)))


class TestPoolers(PoolerTests):
    @pytest.fixture(
        params=[
            Mean(over="token"),
            Max(over=("token", "channel")),
            Std(over="channel"),
            Select(index="last"),
            Select(index="cls"),
            Select(index=1),
            Flatten(over="channel"),
            Projection(dim=3, over="channel"),
        ],
        ids=repr,
    )
    def pooler(self, request):
        return request.param

    @pytest.fixture
    def tap(self):
        return Tap("t", AXES, (None, 6))


class TestGrid(PoolerTests):
    @pytest.fixture
    def pooler(self):
        return Grid(size=3)

    @pytest.fixture(params=[(None, None, 2), (7, 5, 2)], ids=str)
    def tap(self, request):
        return Tap("t", ("sample", "y", "x", "channel"), request.param)


class Leaky(Mean):
    """Wrong: the mask is forgotten."""

    def __call__(self, activation, batch):
        return super().__call__(replace(activation, mask=None), batch)


class Multiplying(Mean):
    """Wrong: NaN times zero is NaN."""

    def __call__(self, activation, batch):
        if activation.mask is not None:
            activation = replace(activation, array=activation.array * activation.mask)
        with np.errstate(invalid="ignore"):
            return Mean(over=self.over)(replace(activation, mask=None), batch)


class Misjudging(Mean):
    """Wrong: another dtype than said."""

    def tap(self, tap):
        return replace(super().tap(tap), dtype="float64")


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (Leaky, "masked_values_do_not_leak", "NaN under the mask"),
        (Leaky, "a_sample_does_not_depend_on_its_batch", "Not equal"),
        (Multiplying, "masked_values_do_not_leak", "NaN under the mask"),
        (Misjudging, "every_kind_of_array_as_predicted", "predicted float64, found float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_wrong_poolers_are_caught(kind, test, message):
    tap = Tap("t", AXES, (None, 6))
    more = ["numpy"] if "every_kind" in test else []
    with pytest.raises(AssertionError, match=message):
        getattr(PoolerTests(), f"test_{test}")(kind(over="token"), tap, *more)


class TestStores(StoreTests):
    @pytest.fixture(params=[Npy, Hdf5, Parquet])
    def store(self, request):
        return request.param(Config())


class Means(Analyzer[Config]):
    """The mean of each dimension, for this test."""

    def run(self, inputs, out):
        values = inputs[0].array[:]
        mean = np.nan_to_num(values).mean(0)
        table = {"channel": list(range(len(mean))), "mean": mean.tolist()}
        arrays = {"centred": (values - mean, ("row", "channel"))}
        return Result({"means": table}, arrays, metrics={"largest": float(mean.max())})


class TestMeans(AnalyzerTests):
    @pytest.fixture
    def analyzer(self):
        return Means(Config())

    @pytest.fixture
    def inputs(self):
        return [make_input(np.random.default_rng(n).normal(size=(20, 3))) for n in range(2)]


class Scribbling(Means):
    """Wrong: writes into what it was given."""

    def run(self, inputs, out):
        values = inputs[0].array[:]
        values -= values.mean(0)
        return Result()


class Unseeded(Means):
    """Wrong: other numbers each time."""

    def run(self, inputs, out):
        return Result(metrics={"x": float(np.random.default_rng().normal())})


class Ragged(Means):
    """Wrong: a table whose columns differ in length."""

    def run(self, inputs, out):
        return Result(tables={"t": {"a": [1], "b": [1, 2]}})


@pytest.mark.parametrize(
    ("kind", "test", "error"),
    [
        (Scribbling, "inputs_are_left_alone", ValueError),
        (Unseeded, "the_same_inputs_give_the_same_result", AssertionError),
        (Ragged, "the_result_is_whole", AssertionError),
    ],
)
def test_wrong_analyzers_are_caught(kind, test, error, tmp_path):
    inputs = [make_input(np.random.default_rng(0).normal(size=(20, 3)))]
    with pytest.raises(error):
        getattr(AnalyzerTests(), f"test_{test}")(kind(Config()), inputs, tmp_path)


PLUGIN = """
from actx_core import Component, hookimpl
{imports}

@hookimpl
def actx_models():
    yield Component("{name}", "{target}", "{summary}", config="{config}")

@hookimpl
def actx_on_shard(receipt):
    raise RuntimeError("listing must not observe")
"""
GOOD = {
    "imports": "",
    "name": "toy",
    "target": "actx_fake.model:Fake",
    "summary": "For this test.",
    "config": "actx_core:ModelConfig",
}
MODEL = """
import numpy
from actx_core import Model, Tap

class Fake(Model):
    def taps(self, example=None): return [Tap("x", ("sample",), ())]
    def prepare(self, samples): ...
    def open(self, taps): ...
    def extract(self, batch, pool): ...
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Writes a plugin with a fake installation, and puts it on the path."""

    def write(**changes):
        package = tmp_path / "actx_fake"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "plugin.py").write_text(PLUGIN.format(**{**GOOD, **changes}))
        (package / "model.py").write_text(MODEL)
        (package / "heavy.py").write_text("import torch\nfrom actx_core import ModelConfig")
        info = tmp_path / "actx_fake-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: actx-fake\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[actx]\nfake = actx_fake.plugin\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "actx_fake"]:
        del sys.modules[name]


def run_suite(test):
    suite = PluginTests()
    registry = PluginTests.registry.__wrapped__(suite)
    found = PluginTests.found.__wrapped__(suite, "fake", registry)
    components = PluginTests.components.__wrapped__(suite, found)
    have = {"plugin": "fake", "registry": registry, "found": found, "components": components}
    method = getattr(suite, f"test_{test}")
    method(**{name: have[name] for name in method.__annotations__ if name in have})


PLUGIN_TESTS = [
    "it_loads",
    "components_are_named_apart_and_summed_up",
    "listing_imports_nothing_heavy",
    "configs_import_no_framework",
    "components_are_what_they_say",
    "configs_are_described",
]


@pytest.mark.parametrize("test", PLUGIN_TESTS)
def test_a_right_plugin_passes(plugin, test):
    plugin()
    run_suite(test)


@pytest.mark.parametrize(
    ("test", "changes", "message"),
    [
        ("it_loads", {"imports": "import nothing_of_that_name"}, "nothing_of_that_name"),
        ("components_are_named_apart_and_summed_up", {"summary": ""}, "no summary: toy"),
        ("listing_imports_nothing_heavy", {"imports": "import numpy"}, "listing imports {'numpy'}"),
        ("configs_import_no_framework", {"config": "actx_fake.heavy:ModelConfig"}, "torch"),
        ("components_are_what_they_say", {"target": "actx_core:Sample"}, "is no Model"),
        ("components_are_what_they_say", {"target": "actx_core:Model"}, "does not define"),
        ("configs_are_described", {"config": "actx_core:Sample"}, "is no Config"),
    ],
)
def test_wrong_plugins_are_caught(plugin, test, changes, message):
    plugin(**changes)
    with pytest.raises(AssertionError, match=message):
        run_suite(test)


def test_nothing_else_in_core_imports_pytest():
    code = "import sys, actx_core.cli, actx_core.scaffold; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
