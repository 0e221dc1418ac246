"""Extraction without files: plain modules, arrays or Samples, pooling, dtypes, errors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from actx_core import (
    Activation,
    Batch,
    Model,
    ModelConfig,
    ModelError,
    Sample,
    Tap,
    TapError,
    extract,
)
from actx_core.poolers import Mean, Select
from actx_core.types import Pool


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 5, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 2),
    )


def images(n: int = 7) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((n, 3, 12, 12), dtype=np.float32))


def reference(module: nn.Module, names: list[str]) -> dict[str, np.ndarray]:
    """Plain hooks that copy, one pass over all images."""
    found: dict[str, np.ndarray] = {}
    handles = [
        module.get_submodule(n).register_forward_hook(
            lambda m, i, o, n=n: found.__setitem__(n, o.detach().clone().numpy())
        )
        for n in names
    ]
    with torch.no_grad():
        module(torch.from_numpy(np.stack(images())))
    for handle in handles:
        handle.remove()
    return found


def test_a_plain_module_and_arrays() -> None:
    module = network()
    acts = extract(module, images(), taps=["0", "2", "5"])
    for name, values in reference(module, ["0", "2", "5"]).items():
        np.testing.assert_array_equal(acts[name], values)


def test_pooling_and_samples() -> None:
    module = network()
    samples = [Sample(f"i{n}", lambda a=a: a) for n, a in enumerate(images())]
    acts = extract(module, samples, taps=["0", "2"], pool=[Mean(over=("y", "x"))])
    for name, values in reference(module, ["0", "2"]).items():
        np.testing.assert_allclose(
            acts[name], values.mean((2, 3), dtype=np.float64), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dtypes(dtype: str) -> None:
    module = network()
    acts = extract(module, images(), taps=["2"], dtype=dtype)["2"]
    expected = reference(module, ["2"])["2"]
    through = torch.from_numpy(expected).to(getattr(torch, dtype))
    np.testing.assert_array_equal(acts.astype(np.float64), through.double().numpy())


def test_the_module_is_left_as_found() -> None:
    module = network().train()
    extract(module, images(2), taps=["0"])
    assert module.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())


def test_mistakes_are_named() -> None:
    with pytest.raises(TapError, match="9"):
        extract(network(), images(2), taps=["9"])
    with pytest.raises(TapError, match="token"):
        extract(network(), images(2), taps=["0"], pool=[Select(axis="token", index=0)])


def test_core_alone_embeds_without_registry_files_or_plugins() -> None:
    """The embedding path imports neither the command line nor the driver, Parquet nor HDF5."""
    code = (
        "import sys, numpy as np\n"
        "from actx_core import extract\n"
        "from torch import nn\n"
        "acts = extract(nn.Linear(3, 2), np.ones((4, 3), np.float32), taps=['output'])\n"
        "assert acts['output'].shape == (4, 2)\n"
        "bad = {'h5py', 'click', 'rich', 'pyarrow', 'torchvision', 'actx_core.run', 'actx_core.registry'}\n"
        "assert not bad & sys.modules.keys(), bad & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_name_is_the_function_even_where_the_module_was_imported_first() -> None:
    code = "import actx_core.worker, actx_core\nassert callable(actx_core.extract)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


class Numbers(Model[ModelConfig]):
    """A model of somebody who has not read the contract: it gives what it was told to give."""

    def __init__(self, rows: int, width: int, samples: int = 4) -> None:
        super().__init__(ModelConfig())
        self.shape, self.samples = (rows, width), samples

    def taps(self, example: Sample | None = None) -> list[Tap]:
        return [Tap("a", ("sample", "channel"), (6,), "float64")]

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        return Batch(None, range(self.samples))

    def open(self, taps: Sequence[str]) -> None:
        pass

    def extract(self, batch: Batch, pool: Pool) -> dict[str, Activation]:
        return {"a": pool("a", Activation(np.ones(self.shape), ("sample", "channel")))}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Numbers(4, 1), r"a: expected rows of shape \[6\], as the tap declares, found \[1\]"),
        (Numbers(5, 6), "a: the activation has 5 samples, the batch 4"),
        (Numbers(3, 6), "a: the activation has 3 samples, the batch 4"),
        (Numbers(3, 6, 3), "3: prepare leaves out 1 of 4 samples"),
    ],
)
def test_a_model_that_breaks_its_word_is_named(model: Numbers, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        extract(model, range(4), taps=["a"])
