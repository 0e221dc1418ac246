"""The suite for models; a run that is killed ends with the same bytes; real models if they are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from actx_core import Sample, extract
from actx_core.testing import ModelTests
from actx_hf.hooks import read
from actx_hf.models import loading
from actx_hf.models.config import TransformersConfig
from actx_hf.models.transformers_model import Transformers

from .conftest import TEXTS

KILLS = Path(__file__).parents[1] / "end_to_end" / "kills.py"
CORPUS = [*TEXTS, "Short.", "a b c", "The same lazy dog again, and again, and again."]


class OfFamily(ModelTests):
    """Packed, padded, with an encoder beside a decoder."""

    family = ""
    most = 5

    @pytest.fixture
    def model(self, saved):
        config = TransformersConfig(
            name=str(saved(self.family)), device="cpu", batch_size=3, pass_tokens=32
        )
        return Transformers(config)

    @pytest.fixture
    def samples(self):
        return [Sample(str(n), text) for n, text in enumerate(CORPUS)]


class TestGpt2(OfFamily):
    family = "gpt2"


class TestBert(OfFamily):
    family = "bert"


class TestT5(OfFamily):
    family = "t5"


def test_a_killed_run_ends_with_the_same_bytes(saved, tmp_path):
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in CORPUS))
    spec = {
        "actx": 1,
        "run": {"shard_size": 3, "batch_size": 2},
        "source": {"type": "text", "path": str(corpus), "as": "s"},
        "model": {
            "type": "transformers", "name": str(saved("gpt2")), "device": "cpu", "as": "m",
            "taps": ["blocks.[01].resid_post"], "norm_ratio": ["blocks.1.resid_post"],
        },
        "executor": {"type": "serial"},
        "rows": {"keep": "position > 0", "sample": 0.8},
        "store": {"dtype": "bfloat16", "type": "npy"},
    }  # fmt: skip
    out = tmp_path / "runs"
    out.mkdir()
    command = [sys.executable, str(KILLS), json.dumps(spec), str(out), "4", "nothing of that name"]
    modules = ["actx_hf.models.transformers_model", "transformers.models.gpt2.modeling_gpt2"]
    done = subprocess.run(
        [*command, *modules],
        capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    died = json.loads(done.stdout)
    assert len(died) == 4
    expected = _payload(out / "whole")
    assert any(name.endswith(".npy") for name in expected)
    for trial in died:
        assert _payload(out / trial) == expected, died[trial]


def _payload(folder):
    """All arrays and tables by bytes."""
    found = [*folder.rglob("*.npy"), *folder.rglob("*.parquet")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_real_minilm(minilm):
    """An encoder, which mixes packed texts up: they are padded."""
    _compare(TransformersConfig(name=str(minilm), device="cpu"), "bucketed")


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
def test_real_smollm2(smollm2, batching):
    """Loaded from GGUF."""
    name = str(next(smollm2.rglob("*.gguf")))
    _compare(TransformersConfig(name=name, device="cpu", batching=batching), batching)


def _compare(options, batching):
    """All hook points of a real model against passes of one text each."""
    model, places = Transformers(options), loading.hooks(options).places
    assert len(places) > 6 * 7
    found = extract(model, CORPUS, list(places))
    assert model.describe()["batching"] == batching
    network, tokenizer = loading.weights(options), loading.tokenizer(options)
    parts = {name: [] for name in places}
    with torch.no_grad():
        for text in CORPUS:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            for name, tensor in read(network, places, {"input_ids": ids}).items():
                parts[name].append(tensor[0].numpy())
    for name, values in found.items():
        expected = np.concatenate(parts[name])
        assert np.abs(values - expected).max() <= 1e-5 * np.abs(expected).max(), name


def test_the_call_for_one_text(saved):
    """No files, no pipeline: what a notebook does."""
    model = Transformers(TransformersConfig(name=str(saved("gpt2")), device="cpu"))
    acts = extract(model, ["The lazy dog"], ["blocks.1.mlp.post"])["blocks.1.mlp.post"]
    assert acts.shape == (len(model.tokens(["The lazy dog"])[0]), 128)
