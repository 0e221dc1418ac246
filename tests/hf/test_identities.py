"""The self-check: identities hold to rounding on every family, and what is wrong is found."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import transformers

from actx_core import ModelError
from actx_hf.hooks import Identity, check, refuse, resolve, self_check
from actx_hf.models.checking import check_hooks
from actx_hf.models.config import TransformersConfig

FAMILIES = (
    "gpt2", "gpt_neox", "gpt_neox_serial", "gptj", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2",
    "gemma3", "phi", "phi3", "mixtral", "opt", "falcon", "bert", "roberta", "distilbert", "modernbert",
    "t5", "t5_gated", "vit", "clip", "dinov2",
)  # fmt: skip
POST_LN = ("bert", "roberta", "distilbert")
PARALLEL = ("gpt_neox", "gptj", "phi", "falcon")


def test_every_family_is_tested(families):
    assert families == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_identities_hold_to_rounding(family, model_of, inputs_of):
    model = model_of(family)
    errors = check(model, resolve(model), inputs_of(family))
    assert max(error.relative_error for error in errors) <= 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_they_cover_the_whole_stream(family, model_of):
    """From the first block's input to the last one's result, every step is checked."""
    hooks = resolve(model_of(family))
    results = {each.result for each in hooks.identities}
    for prefix, blocks in hooks.blocks.items():
        for i in range(blocks):
            assert f"{prefix}.{i}.resid_post" in results
            assert (f"{prefix}.{i}.resid_pre" in results) == (i > 0)
            mid = f"{prefix}.{i}.resid_mid"
            assert (mid in results) == (family not in PARALLEL)
    terms = {term for each in hooks.identities for term in each.terms}
    assert {f"{p}.{i}.{out}" for p, n in hooks.blocks.items() for i in range(n)
            for out in ("attn_out", "mlp_out")} <= terms  # fmt: skip


def test_their_forms(model_of):
    def forms(family):
        return [str(each) for each in resolve(model_of(family)).identities]

    assert forms("llama")[:2] == [
        "blocks.0.resid_mid = blocks.0.resid_pre + blocks.0.attn_out",
        "blocks.0.resid_post = blocks.0.resid_mid + blocks.0.mlp_out",
    ]
    assert "blocks.1.resid_pre = blocks.0.resid_post" in forms("llama")
    assert forms("phi")[0] == (
        "blocks.0.resid_post = blocks.0.resid_pre + blocks.0.attn_out + blocks.0.mlp_out"
    )
    assert forms("distilbert")[0] == (
        "blocks.0.resid_mid = transformer.layer.0.sa_layer_norm(blocks.0.resid_pre + blocks.0.attn_out)"
    )
    cross = "decoder.blocks.0.resid_mid + decoder.blocks.0.cross_attn_out"
    assert f"decoder.blocks.0.resid_cross = {cross}" in forms("t5")


@pytest.mark.parametrize("family", ["llama", "bert", "t5", "vit"])
def test_an_example_is_enough_to_check_with(family, model_of):
    model = model_of(family)
    errors = self_check(model, resolve(model))
    assert 0 <= max(error.relative_error for error in errors) <= 1e-6


def test_a_wrong_identity_is_found_and_refused_by_name(model_of, inputs_of):
    model = model_of("gemma2")
    hooks = resolve(model)
    raw = replace(hooks.places["blocks.1.attn_out"], path="layers.1.self_attn", index=0)
    wrong = replace(hooks, places={**hooks.places, "blocks.1.attn_out": raw})
    errors = check(model, wrong, inputs_of("gemma2"))
    assert [e.name for e in errors if e.relative_error > 1e-3] == [
        "blocks.1.resid_mid = blocks.1.resid_pre + blocks.1.attn_out"
    ]
    with pytest.raises(
        ModelError, match=r"1 of 8 .* do not hold; blocks\.1\.resid_mid = .* is off"
    ):
        refuse(errors, torch.float32)
    refuse(check(model, hooks, inputs_of("gemma2")), torch.float32)


def test_a_block_that_adds_what_no_module_gives_is_found(model_of, inputs_of):
    """A model whose code does not agree with its hook points."""
    model = model_of("llama")
    hooks = resolve(model)
    post = Identity("blocks.1.resid_post", ("blocks.1.resid_mid", "blocks.1.mlp_out"))
    assert post in hooks.identities
    model.layers[1].register_forward_hook(lambda _, __, out: out + 1)
    wrong = [e.name for e in check(model, hooks, inputs_of("llama")) if e.relative_error > 0.01]
    assert wrong == [str(post)]


def test_values_that_are_not_finite_do_not_pass(model_of, inputs_of):
    model = model_of("llama")
    hooks = resolve(model)
    with torch.no_grad():
        model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    errors = check(model, hooks, inputs_of("llama"))
    with pytest.raises(ModelError, match="do not hold; .* is off by nan"):
        refuse(errors, torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_checked_to_its_own_rounding(dtype, model_of, inputs_of):
    model = model_of("llama").to(dtype)
    errors = check(model, resolve(model), inputs_of("llama"))
    refuse(errors, dtype)


def test_the_report_names_place_and_error_of_each_point(saved):
    told = check_hooks(TransformersConfig(name=saved("distilbert", "ForMaskedLM")))
    assert told["blocks.1.z"] == "in transformer.layer.1.attention.out_lin"
    place, _, identity = told["blocks.1.resid_mid"].partition("; ")
    assert place == "out transformer.layer.1.sa_layer_norm"
    assert re.fullmatch(r"= sa_layer_norm\(resid_pre \+ attn_out\), off by \de[+-]\d\d", identity)
    assert told["blocks.1.resid_pre"].endswith("; = blocks.0.resid_post, off by 0e+00")
    albert = transformers.AlbertConfig(
        hidden_size=8, num_attention_heads=2, intermediate_size=8, embedding_size=8, vocab_size=20
    )
    folder = saved("distilbert").with_name("albert")
    transformers.AlbertModel(albert).save_pretrained(folder)
    with pytest.raises(ModelError, match="it has no list of blocks"):
        check_hooks(TransformersConfig(name=folder))
