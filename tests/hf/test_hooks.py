"""Canonical hook points of every family, against plain forward hooks at the places of the reference table."""

from __future__ import annotations

import pytest
import torch
import transformers

from actx_core import ModelError
from actx_hf.hooks import Place, read, resolve

LLAMA = {
    "block": "layers.{i}", "resid_mid": "in post_attention_layernorm", "attn_out": "out self_attn",
    "z": "in self_attn.o_proj", "mlp_out": "out mlp", "mlp.post": "in mlp.down_proj",
    "mlp.act": "out mlp.act_fn", "pattern": "self_attn", "final_norm": "norm",
}  # fmt: skip
SANDWICH = {
    **LLAMA, "resid_mid": "in pre_feedforward_layernorm", "attn_out": "out post_attention_layernorm",
    "mlp_out": "out post_feedforward_layernorm",
}  # fmt: skip
NEOX = {
    "block": "layers.{i}", "attn_out": "out attention", "z": "in attention.dense", "mlp_out": "out mlp",
    "mlp.post": "in mlp.dense_4h_to_h", "mlp.act": "out mlp.act", "pattern": "attention",
    "final_norm": "final_layer_norm",
}  # fmt: skip
BERT = {
    "block": "encoder.layer.{i}", "resid_mid": "out attention", "attn_out": "out attention.output.dense",
    "z": "in attention.output.dense", "mlp_out": "out output.dense", "mlp.post": "in output.dense",
    "mlp.act": "out intermediate.intermediate_act_fn", "pattern": "attention.self",
}  # fmt: skip
T5_ENCODER = {
    "block": "encoder.block.{i}", "resid_mid": "out layer.0", "attn_out": "out layer.0.SelfAttention",
    "z": "in layer.0.SelfAttention.o", "mlp_out": "out layer.1.DenseReluDense",
    "mlp.post": "in layer.1.DenseReluDense.wo", "mlp.act": "out layer.1.DenseReluDense.act",
    "pattern": "layer.0.SelfAttention", "final_norm": "encoder.final_layer_norm",
}  # fmt: skip
T5_DECODER = {
    "block": "decoder.block.{i}", "resid_mid": "out layer.0", "attn_out": "out layer.0.SelfAttention",
    "z": "in layer.0.SelfAttention.o", "resid_cross": "out layer.1",
    "cross_attn_out": "out layer.1.EncDecAttention", "mlp_out": "out layer.2.DenseReluDense",
    "mlp.post": "in layer.2.DenseReluDense.wo", "mlp.act": "out layer.2.DenseReluDense.act",
    "pattern": "layer.0.SelfAttention", "final_norm": "decoder.final_layer_norm",
}  # fmt: skip
TABLE = {
    "gpt2": {
        "block": "h.{i}", "resid_mid": "in ln_2", "attn_out": "out attn", "z": "in attn.c_proj",
        "mlp_out": "out mlp", "mlp.post": "in mlp.c_proj", "mlp.act": "out mlp.act", "pattern": "attn",
        "final_norm": "ln_f",
    },
    "gpt_neox": NEOX,
    "gpt_neox_serial": {**NEOX, "resid_mid": "in post_attention_layernorm"},
    "gptj": {
        "block": "h.{i}", "attn_out": "out attn", "z": "in attn.out_proj", "mlp_out": "out mlp",
        "mlp.post": "in mlp.fc_out", "mlp.act": "out mlp.act", "pattern": "attn", "final_norm": "ln_f",
    },
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma"), LLAMA),
    "phi3": {**LLAMA, "mlp.act": "out mlp.activation_fn"},
    "gemma2": SANDWICH,
    "gemma3": SANDWICH,
    "mixtral": {k: v for k, v in LLAMA.items() if k not in ("mlp.post", "mlp.act")},
    "phi": {
        "block": "layers.{i}", "attn_out": "out self_attn", "z": "in self_attn.dense",
        "mlp_out": "out mlp", "mlp.post": "in mlp.fc2", "mlp.act": "out mlp.activation_fn",
        "pattern": "self_attn", "final_norm": "final_layernorm",
    },
    "opt": {
        "block": "decoder.layers.{i}", "resid_mid": "in final_layer_norm", "attn_out": "out self_attn",
        "z": "in self_attn.out_proj", "mlp_out": "out fc2", "mlp.post": "in fc2",
        "mlp.act": "out activation_fn", "pattern": "self_attn", "final_norm": "decoder.final_layer_norm",
    },
    "falcon": {
        "block": "h.{i}", "attn_out": "out self_attention", "z": "in self_attention.dense",
        "mlp_out": "out mlp", "mlp.post": "in mlp.dense_4h_to_h", "mlp.act": "out mlp.act",
        "pattern": "self_attention", "final_norm": "ln_f",
    },
    "bert": BERT,
    "roberta": BERT,
    "distilbert": {
        "block": "transformer.layer.{i}", "resid_mid": "out sa_layer_norm",
        "attn_out": "out attention.out_lin", "z": "in attention.out_lin", "mlp_out": "out ffn",
        "mlp.post": "in ffn.lin2", "mlp.act": "out ffn.activation", "pattern": "attention",
    },
    "modernbert": {
        "block": "layers.{i}", "resid_mid": "in mlp_norm", "attn_out": "out attn", "z": "in attn.Wo",
        "mlp_out": "out mlp", "mlp.post": "in mlp.Wo", "mlp.act": "out mlp.act", "pattern": "attn",
        "final_norm": "final_norm",
    },
    "vit": {
        "block": "layers.{i}", "resid_mid": "in layernorm_after", "attn_out": "out attention",
        "z": "in attention.o_proj", "mlp_out": "out mlp", "mlp.post": "in mlp.fc2",
        "mlp.act": "out mlp.activation_fn", "pattern": "attention", "final_norm": "layernorm",
    },
    "clip": {
        "block": "encoder.layers.{i}", "resid_mid": "in layer_norm2", "attn_out": "out self_attn",
        "z": "in self_attn.out_proj", "mlp_out": "out mlp", "mlp.post": "in mlp.fc2",
        "mlp.act": "out mlp.activation_fn", "pattern": "self_attn",
    },
    "dinov2": {
        "block": "encoder.layer.{i}", "resid_mid": "in norm2", "attn_out": "out layer_scale1",
        "z": "in attention.o_proj", "mlp_out": "out layer_scale2", "mlp.post": "in mlp.fc2",
        "mlp.act": "out mlp.activation_fn", "pattern": "attention", "final_norm": "layernorm",
    },
}  # fmt: skip
STACKS = {name: {"": rows} for name, rows in TABLE.items()} | {
    name: {"encoder.": T5_ENCODER, "decoder.": T5_DECODER} for name in ("t5", "t5_gated")
}
PARALLEL = ("gpt_neox", "gptj", "phi", "falcon")


def expected(model, inputs, stacks, blocks=3):
    """What the table's places hold, by canonical name: plain hooks, written out."""
    found, handles = {}, []

    def keep(name, value):
        if isinstance(value, tuple):
            value = value[0]
        found.setdefault(name, value.detach().clone())

    def hook(name, side, path):
        module = model.get_submodule(path)
        if side == "in":
            handles.append(
                module.register_forward_pre_hook(lambda _, args, n=name: keep(n, args[0]))
            )
        else:
            handles.append(module.register_forward_hook(lambda _, __, out, n=name: keep(n, out)))

    def hook_pattern(name, path):
        def last(_, __, out):
            found[name] = out[-1].detach().clone()

        handles.append(model.get_submodule(path).register_forward_hook(last))

    for prefix, rows in stacks.items():
        for i in range(_count(model, rows["block"])):
            block, name = rows["block"].format(i=i), f"{prefix}blocks.{i}"
            hook(f"{name}.resid_pre", "in", block)
            hook(f"{name}.resid_post", "out", block)
            if i == 0:
                hook(f"{prefix}embed", "in", block)
            for point, where in rows.items():
                if point == "pattern":
                    hook_pattern(f"{name}.attn.pattern", f"{block}.{where}")
                elif point not in ("block", "final_norm"):
                    side, path = where.split()
                    hook(f"{name}.{point}", side, f"{block}.{path}")
        if "final_norm" in rows:
            hook(f"{prefix}final_norm", "out", rows["final_norm"])
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return found


def _count(model, block):
    return len(model.get_submodule(block.removesuffix(".{i}")))


@pytest.mark.parametrize("family", STACKS)
def test_every_point_holds_what_the_table_says(family, model_of, inputs_of):
    model, inputs = model_of(family, attention="eager"), inputs_of(family)
    hooks = resolve(model)
    wanted = expected(model, inputs, STACKS[family])
    assert set(hooks.places) == set(wanted)
    got = read(model, hooks.places, inputs)
    for name, value in wanted.items():
        assert hooks.places[name].flat == (value.ndim == 2), name
        torch.testing.assert_close(got[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("family", STACKS)
def test_places_come_in_the_order_in_which_they_are_reached(family, model_of, inputs_of):
    model = model_of(family, attention="eager")
    hooks = resolve(model)
    assert list(read(model, hooks.places, inputs_of(family))) == list(hooks.places)


@pytest.mark.parametrize("attention", ["eager", None])
@pytest.mark.parametrize("family", STACKS)
def test_the_architecture_alone_gives_the_same_places(family, attention, model_of):
    model = model_of(family, attention=attention)
    with torch.device("meta"):
        empty = type(model)(model.config).eval()
    if family == "mixtral":
        empty.set_experts_implementation("batched_mm")
    assert resolve(empty) == resolve(model)


@pytest.mark.parametrize("family", STACKS)
def test_what_a_family_does_not_have_is_told_with_the_reason(family, model_of):
    model = model_of(family, attention="eager")
    lacking = {"logits": "no head"}
    for prefix, rows in STACKS[family].items():
        for i in range(_count(model, rows["block"])):
            name = f"{prefix}blocks.{i}"
            if family in PARALLEL:
                lacking[f"{name}.resid_mid"] = "parallel"
            if family == "mixtral":
                lacking |= dict.fromkeys(
                    (f"{name}.mlp.post", f"{name}.mlp.act"), "experts are fused"
                )
        if "final_norm" not in rows:
            lacking[f"{prefix}final_norm"] = "no norm"
    problems = resolve(model).problems
    assert set(problems) == set(lacking)
    assert [name for name, why in lacking.items() if why not in problems[name]] == []


def test_only_eager_attention_has_patterns(model_of):
    hooks = resolve(model_of("llama", attention="sdpa"))
    assert "blocks.0.attn.pattern" not in hooks.places
    assert hooks.problems["blocks.0.attn.pattern"] == (
        "only attention = 'eager' gives patterns; this is 'sdpa'"
    )


@pytest.mark.parametrize(
    "family", ["gpt2", "gptj", "llama", "gemma2", "falcon", "bert", "t5", "opt"]
)
def test_patterns_are_probabilities_over_keys(family, model_of, inputs_of):
    model, inputs = model_of(family, attention="eager"), inputs_of(family)
    places = {n: p for n, p in resolve(model).places.items() if n.endswith("pattern")}
    assert places
    for pattern in read(model, places, inputs).values():
        assert pattern.ndim == 4
        torch.testing.assert_close(pattern.sum(-1), torch.ones(pattern.shape[:-1]))


@pytest.mark.parametrize(
    ("family", "head", "base"),
    [
        ("gpt2", "LMHeadModel", "transformer"),
        ("llama", "ForCausalLM", "model"),
        ("gemma2", "ForCausalLM", "model"),
        ("bert", "ForMaskedLM", "bert"),
        ("t5", "ForConditionalGeneration", ""),
        ("vit", "ForImageClassification", "vit"),
    ],
)
def test_a_model_with_its_head_has_logits_and_the_same_points(
    family, head, base, model_of, inputs_of
):
    model, inputs = model_of(family, head, attention="eager"), inputs_of(family)
    hooks, inner = (
        resolve(model),
        resolve(getattr(model, base) if base else model_of(family, attention="eager")),
    )
    assert set(hooks.places) == {*inner.places, "logits"}
    prefix = f"{base}." if base else ""
    assert all(hooks.places[n].path == prefix + p.path for n, p in inner.places.items())
    with torch.no_grad():
        logits = model(**inputs).logits  # Gemma-2 caps them after its last layer
    assert torch.equal(read(model, {"logits": hooks.places["logits"]}, inputs)["logits"], logits)


# Traps


def test_a_gated_neuron_is_no_activation_function(model_of, inputs_of):
    model = model_of("llama")
    acts = read(model, resolve(model).places, inputs_of("llama"))
    mlp, mid = (
        model.layers[1].mlp,
        model.layers[1].post_attention_layernorm(acts["blocks.1.resid_mid"]),
    )
    gate = torch.nn.functional.silu(mlp.gate_proj(mid))
    torch.testing.assert_close(acts["blocks.1.mlp.act"], gate)
    torch.testing.assert_close(acts["blocks.1.mlp.post"], gate * mlp.up_proj(mid))
    assert not torch.allclose(acts["blocks.1.mlp.act"], acts["blocks.1.mlp.post"], atol=1e-3)


def test_what_sandwich_norms_add_is_not_what_attention_gives(model_of, inputs_of):
    model = model_of("gemma2")
    places = {"attn_out": resolve(model).places["blocks.0.attn_out"]}
    raw = {"raw": Place("layers.0.self_attn", "out", 0)}
    acts = read(model, places | raw, inputs_of("gemma2"))
    assert not torch.allclose(acts["raw"], acts["attn_out"], atol=1e-3)


def test_flat_tensors_of_opt_are_marked(model_of, inputs_of):
    model = model_of("opt")
    hooks = resolve(model)
    flat = {
        name.rpartition("0.")[2] for name, p in hooks.places.items() if p.flat and ".0." in name
    }
    assert flat == {"resid_mid", "mlp.post", "mlp.act", "mlp_out"}
    assert read(model, hooks.places, inputs_of("opt"))["blocks.0.mlp.post"].shape == (2 * 9, 48)


@pytest.mark.parametrize("family", ["qwen3", "gemma", "gemma2", "gemma3"])
def test_heads_may_be_wider_than_the_stream(family, model_of, inputs_of):
    model = model_of(family)
    acts = read(model, resolve(model).places, inputs_of(family))
    assert acts["blocks.0.z"].shape == (2, 9, 4 * 16)
    assert acts["blocks.0.resid_pre"].shape == (2, 9, 32)


@pytest.mark.parametrize("family", ["gptj", "falcon", "t5"])
def test_blocks_that_give_tuples(family, model_of):
    places = resolve(model_of(family)).places
    assert {p.index for n, p in places.items() if n.endswith("resid_post")} == {0}


def test_the_last_block_is_before_the_final_norm(model_of, inputs_of):
    model, inputs = model_of("llama"), inputs_of("llama")
    acts = read(model, resolve(model).places, inputs)
    with torch.no_grad():
        given = model(**inputs, output_hidden_states=True)
    assert torch.equal(acts["final_norm"], given.last_hidden_state)
    assert torch.equal(given.hidden_states[-1], given.last_hidden_state)
    torch.testing.assert_close(model.norm(acts["blocks.2.resid_post"]), given.last_hidden_state)
    assert not torch.allclose(acts["blocks.2.resid_post"], given.last_hidden_state, atol=1e-3)


def test_the_model_is_left_as_it_was(model_of):
    model = model_of("gpt2").train()
    model.h[0].eval()
    resolve(model)
    assert model.training
    assert model.h[1].training
    assert not model.h[0].training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# Other architectures


def _config(stem, **options):
    return getattr(transformers, f"{stem}Config")(**options)


SIZES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "vocab_size": 61, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def test_two_stacks_are_called_by_what_tells_them_apart():
    image = {**SIZES, "image_size": 24, "patch_size": 8}
    config = _config("CLIP", text_config=SIZES, vision_config=image)
    hooks = resolve(transformers.CLIPModel(config).eval())
    assert hooks.blocks == {"text_model.blocks": 2, "vision_model.blocks": 2}
    assert "vision_model.blocks.1.mlp.post" in hooks.places


def test_a_family_outside_the_table_whose_norms_come_after_the_sums():
    config = _config(
        "Bart", d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=61,
    )  # fmt: skip
    hooks = resolve(transformers.BartModel(config).eval())
    assert str(hooks.identities[6]) == (
        "decoder.blocks.0.resid_cross = decoder.layers.0.encoder_attn_layer_norm("
        "decoder.blocks.0.resid_mid + decoder.blocks.0.cross_attn_out)"
    )


def test_what_is_scaled_on_the_way_to_the_stream_is_no_modules_result():
    config = _config("Granite", **SIZES, num_key_value_heads=4, residual_multiplier=0.5)
    problems = resolve(transformers.GraniteModel(config).eval()).problems
    assert problems["blocks.0.attn_out"] == "what the block adds is no module's result"


def test_blocks_of_another_kind_have_only_the_stream():
    config = _config("Mamba", **SIZES, state_size=4)
    hooks = resolve(transformers.MambaModel(config).eval())
    assert {"blocks.0.resid_pre", "blocks.0.resid_post"} <= set(hooks.places)
    assert hooks.problems["blocks.0.mlp_out"] == "the block adds 0 attentions and 1 other terms"


def test_a_model_without_such_blocks_says_so():
    config = _config("Albert", **SIZES, embedding_size=16)
    hooks = resolve(transformers.AlbertModel(config).eval())
    assert hooks.places == {}
    assert "no list of blocks" in hooks.problems["blocks"]


def test_blocks_of_one_stage_do_not_stand_for_all():
    config = _config(
        "Swin",
        image_size=32,
        patch_size=4,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    )
    assert "blocks" in resolve(transformers.SwinModel(config).eval()).problems


def test_a_model_that_cannot_be_run_is_one_line():
    class Broken(transformers.GPT2Model):
        def forward(self, input_ids=None):
            raise ValueError("no forward\ntoday")

    with pytest.raises(ModelError, match=r"^Broken cannot be run: no forward$"):
        resolve(Broken(_config("GPT2", n_embd=8, n_layer=1, n_head=1, vocab_size=61)))
