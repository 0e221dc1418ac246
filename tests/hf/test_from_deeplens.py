"""What seed 001 promises by name: parameters, their order and defaults, and the page that says so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import actx_hf

SEED = {
    "FromHuggingFace": {
        "hf_model": "gpt2",
        "layer": 6,
        "dataset_name": "HuggingFaceFW/fineweb",
        "num_samples": 25000,
        "seq_length": 128,
        "inference_batch_size": 16,
        "device": "auto",
        "save_features": True,
    },
    "ExtractSingleSample": {"hf_model": "gpt2", "layer": 3, "max_length": 1024, "device": "auto"},
}
PAGE = Path(__file__).parents[2] / "docs" / "from-deeplens.md"


@pytest.mark.parametrize("name", SEED)
def test_parameters_and_defaults_are_those_of_the_seed(name):
    parameters = inspect.signature(getattr(actx_hf, name)).parameters.values()
    positional = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    assert list(positional.items()) == list(SEED[name].items())


@pytest.mark.parametrize("name", SEED)
def test_the_page_says_every_parameter_and_default(name):
    tables = re.split(r"^\| parameter .*\n", PAGE.read_text("utf-8"), flags=re.M)[1:]
    table = tables[list(SEED).index(name)].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \|.*\| `?(.*?)`? \|$", table, re.M)
    shown = {key: default.strip('"') for key, default in rows}
    found = inspect.signature(getattr(actx_hf, name)).parameters.values()
    assert shown == {p.name: str(p.default) for p in found}


def test_names_are_loaded_on_first_use():
    assert set(actx_hf.__all__) == set(SEED)
    assert set(SEED) <= set(dir(actx_hf))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = actx_hf.nonsense
