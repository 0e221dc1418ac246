"""The classes of seed 001: its code as it stands, and every token equal to a plain forward hook's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from actx_core import ConfigError, SourceError, TapError
from actx_hf import ExtractSingleSample, FromHuggingFace

pytest.importorskip("datasets")

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "one",
    "A row has a token, and a token has a place in its text. " * 4,
    "",
    "Numbers 0123456789, naïve façade, 東京.",
    "never asked for",
]
LENGTH = 24


@pytest.fixture
def texts(tmp_path, monkeypatch):
    """A data set in the working folder."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"text": text, "number": i}) for i, text in enumerate(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return "texts.jsonl"


def _deeplens(folder, layer, texts, module, side="out"):
    """What a loop over single texts with a plain hook collects, (tokens, channels)."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    hooked = model.get_submodule(module.format(layer))
    if side == "in":
        hooked.register_forward_pre_hook(lambda _, args: found.append(args[0][0].clone()))
    else:
        hooked.register_forward_hook(lambda _, args, result: found.append(result[0].clone()))
    for text in filter(None, texts):
        with torch.no_grad():
            model(**tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt"))
    return torch.cat(found)


def _close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_code_of_the_seed_runs(saved, texts, tmp_path):
    extractor = FromHuggingFace(
        hf_model=str(saved("gpt2", "LMHeadModel")),
        layer=1,
        dataset_name=texts,
        num_samples=5,
        seq_length=LENGTH,
        inference_batch_size=2,
        device="auto",
        save_features=True,
    )
    features = extractor.extract_features()
    expected = _deeplens(
        saved("gpt2", "LMHeadModel"), 1, TEXTS[:5], "transformer.h.{}.mlp.c_proj", "in"
    )
    _close(features, expected)
    file = tmp_path / "saved_features" / f"features_layer_1_{len(expected)}.pt"
    assert torch.equal(torch.load(file, weights_only=True), features)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_features_that_are_not_saved_leave_nothing(saved, texts, tmp_path):
    folder = saved("gpt2", "LMHeadModel")
    extractor = FromHuggingFace(
        str(folder), 0, texts, num_samples=3, seq_length=LENGTH, save_features=False
    )
    expected = _deeplens(folder, 0, TEXTS[:3], "transformer.h.{}.mlp.c_proj", "in")
    _close(extractor.extract_features(), expected)
    assert {path.name for path in tmp_path.iterdir()} == {texts}


def test_a_call_that_failed_goes_on_where_it_ended(saved, texts, tmp_path, monkeypatch):
    folder = saved("gpt2", "LMHeadModel")
    options = {"num_samples": 4, "seq_length": LENGTH}

    def full(*_):
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("actx_hf.formats.deeplens.DeepLens.write", full)
        with pytest.raises(OSError, match="no space"):
            FromHuggingFace(str(folder), 1, texts, **options).extract_features()
    left = list((tmp_path / "saved_features").iterdir())
    assert [path.name.startswith(".unfinished-") for path in left] == [True]

    def again(*_, **__):
        raise AssertionError("the model is loaded again")

    monkeypatch.setattr("actx_hf.models.loading.weights", again)
    features = FromHuggingFace(str(folder), 1, texts, **options).extract_features()
    expected = _deeplens(folder, 1, TEXTS[:4], "transformer.h.{}.mlp.c_proj", "in")
    _close(features, expected)
    assert not left[0].exists()


def test_one_text_token_by_token(saved):
    folder = saved("gpt2", "LMHeadModel")
    extractor = ExtractSingleSample(hf_model=str(folder), layer=2, max_length=LENGTH, device="cpu")
    for text in TEXTS[:3]:
        activations = extractor.get_mlp_acts(text)
        expected = _deeplens(folder, 2, [text], "transformer.h.{}.mlp.c_proj", "in")
        _close(activations, expected)
        tokens = extractor.tokenizer.tokenize(text)
        assert len(activations) == min(len(tokens), LENGTH)


def test_gated_models_give_neurons_and_say_once_what_deeplens_stored(saved, texts, recwarn):
    folder = str(saved("llama", "ForCausalLM"))
    options = {"num_samples": 3, "seq_length": LENGTH, "save_features": False}
    features = FromHuggingFace(folder, 1, texts, **options).extract_features()
    said = [str(w.message) for w in recwarn if "gated" in str(w.message)]
    assert len(said) == 1
    assert "quantity='mlp.act'" in said[0]
    _close(features, _deeplens(folder, 1, TEXTS[:3], "model.layers.{}.mlp.down_proj", "in"))
    recwarn.clear()
    act = FromHuggingFace(folder, 1, texts, quantity="mlp.act", **options).extract_features()
    _close(act, _deeplens(folder, 1, TEXTS[:3], "model.layers.{}.mlp.act_fn"))
    single = ExtractSingleSample(folder, 1, LENGTH, quantity="mlp.act").get_mlp_acts(TEXTS[0])
    _close(single, act[: len(single)])
    assert not [w for w in recwarn if "gated" in str(w.message)]
    assert np.abs(features.numpy() - act.numpy()).max() > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "phi", "opt", "falcon", "bert"])
def test_plain_mlps_are_not_taken_for_gated(saved, recwarn, family):
    FromHuggingFace(str(saved(family)), 0, seq_length=16)
    assert not [w for w in recwarn if "gated" in str(w.message)]


@pytest.mark.parametrize("family", ["mistral", "qwen3", "gemma2", "phi3", "modernbert"])
def test_gated_mlps_are_found(saved, family):
    with pytest.warns(UserWarning, match="gated"):
        FromHuggingFace(str(saved(family)), 0, seq_length=16)


def test_a_data_set_shorter_than_asked_is_said(saved, texts):
    extractor = FromHuggingFace(str(saved("gpt2")), 0, texts, seq_length=16, save_features=False)
    with pytest.warns(UserWarning, match="texts has 6 samples, 25000 were asked for"):
        extractor.extract_features()


def test_mistakes_are_one_line(saved, texts, tmp_path):
    folder = str(saved("gpt2"))
    with pytest.raises(TapError, match=r"blocks.7.mlp.post: there is no such tap"):
        FromHuggingFace(folder, 7, texts, seq_length=16)
    with pytest.raises(TapError, match=r"blocks.0.mlp.pots.*did you mean blocks.0.mlp.post"):
        ExtractSingleSample(folder, 0, 16, quantity="mlp.pots")
    for wrong in (-1, 0, 2.5, "all"):
        with pytest.raises(
            ConfigError, match="max_length: expected a whole number from 1 on, found"
        ):
            ExtractSingleSample(folder, 0, wrong)
        with pytest.raises(ConfigError, match="seq_length: expected a whole number"):
            FromHuggingFace(folder, 0, texts, seq_length=wrong)
        with pytest.raises(ConfigError, match="num_samples: expected a whole number"):
            FromHuggingFace(folder, 0, texts, num_samples=wrong)
    with pytest.raises(ConfigError, match="batch_size: input should be"):
        FromHuggingFace(folder, 0, texts, seq_length=16, inference_batch_size=0)
    (tmp_path / "other.jsonl").write_text('{"words": "a b"}\n')
    with pytest.raises(SourceError, match="text"):
        FromHuggingFace(folder, 0, "other.jsonl", 1, 16).extract_features()
