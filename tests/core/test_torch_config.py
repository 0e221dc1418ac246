"""Options of torch models, and that reading them imports no framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from actx_core.torch.config import ImagePreprocess, ModuleConfig, TorchConfig

GIVEN = {"callable": "torch.nn:Linear", "trust": True}


def test_neither_torch_nor_numpy_is_imported():
    code = (
        "import sys, actx_core.torch, actx_core.torch.config\n"
        "print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names():
    import actx_core.torch as package

    assert sorted(package.__all__) == [
        "Capture",
        "Checkpoint",
        "Form",
        "ImagePreprocess",
        "Module",
        "ModuleConfig",
        "Point",
        "ShuffledDataset",
        "TorchConfig",
        "TorchModel",
        "digest",
        "list_points",
        "load_checkpoint",
        "named_tensors",
        "prepare_images",
        "preview_images",
        "probe",
        "record",
        "resolve_device",
        "wrap",
    ]
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense


@pytest.mark.parametrize("options", [{}, {"trust": False}])
def test_trust_is_asked_for_and_the_reason_given(options):
    with pytest.raises(ValidationError, match="code that will run on this machine") as error:
        ModuleConfig(callable="torch.nn:Linear", **options)
    assert error.value.errors()[0]["loc"] == ("trust",)


def test_checkpoint_is_a_path_beside_the_pipeline_or_in_a_package():
    def read(checkpoint):
        given = {**GIVEN, "checkpoint": checkpoint}
        return ModuleConfig.model_validate(given, context={"base": "/data"}).checkpoint

    assert read("w/net.pt") == Path("/data/w/net.pt")
    assert read("/elsewhere/net.pt") == Path("/elsewhere/net.pt")
    assert read("package:some_weights/models/net.pth") == "package:some_weights/models/net.pth"
    assert ModuleConfig(**GIVEN).checkpoint is None


@pytest.mark.parametrize("name", ["Linear", "torch.nn", "torch.nn:", ":Linear", "a b:c"])
def test_callables_have_a_module_and_a_name(name):
    with pytest.raises(ValidationError):
        ModuleConfig(callable=name, trust=True)


def test_label_is_the_name_of_the_callable():
    assert ModuleConfig(**GIVEN).label() == "linear"
    assert ModuleConfig(callable="nets:Lite.from_name", trust=True).label() == "lite.from_name"


@pytest.mark.parametrize(
    "options",
    [
        {"mean": (0.5,), "std": (0.5, 0.5, 0.5)},
        {"mean": (0.5, 0.5), "std": (0.5, 0.5)},
        {"std": (1.0, 0.0, 1.0)},
        {"crop": 0},
        {"interpolation": "cubic"},
    ],
)
def test_bad_preprocessing(options):
    with pytest.raises(ValidationError):
        ImagePreprocess(**options)


@pytest.mark.parametrize("options", [{"dtype": "float8"}, {"autocast": "float32"}, {"seed": -1}])
def test_bad_torch_options(options):
    with pytest.raises(ValidationError):
        TorchConfig(**options)
