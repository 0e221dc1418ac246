"""Architectures outside of the table, each with a trait that none of its families has."""

from __future__ import annotations

import pytest
import torch
import transformers

from actx_core import ModelError, TapError, extract
from actx_hf.hooks import check, read, resolve

from .conftest import FAMILIES, TEXTS, VOCABULARY, make_tokenizer
from .test_text_model import CORPUS, make, reference, same

SIZES = FAMILIES["llama"][1]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# Hook points


def test_a_stream_that_begins_behind_a_linear_layer():
    """ELECTRA's embeddings are narrower than its blocks."""
    config = transformers.ElectraConfig(**FAMILIES["bert"][1], embedding_size=16)
    hooks = resolve(transformers.ElectraModel(config).eval())
    assert hooks.blocks == {"blocks": 3}
    assert str(hooks.places["blocks.1.mlp.post"]) == "in encoder.layer.1.output.dense"


def test_a_block_that_scales_the_stream_at_its_end():
    """Gemma 4: resid_post is what the next block gets, no sum, but all within the block is known."""
    gemma = pytest.importorskip("transformers.models.gemma4")
    config = gemma.Gemma4TextConfig(
        **{**SIZES, "num_hidden_layers": 2}, head_dim=8, global_head_dim=8, num_kv_shared_layers=0,
        hidden_size_per_layer_input=0, layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    model = gemma.Gemma4TextModel(config).eval()
    model.layers[0].layer_scalar.fill_(0.5)
    hooks = resolve(model)
    ids = {"input_ids": torch.arange(5)[None] + 7}
    acts = read(model, hooks.places, ids)
    pre, out = acts["blocks.0.resid_pre"], acts["blocks.0.attn_out"] + acts["blocks.0.mlp_out"]
    torch.testing.assert_close(acts["blocks.0.resid_post"], 0.5 * (pre + out))
    torch.testing.assert_close(acts["blocks.1.resid_pre"], acts["blocks.0.resid_post"])
    assert [str(each) for each in hooks.identities if each.result.endswith("resid_post")] == []
    assert max(error.relative_error for error in check(model, hooks, ids)) <= 1e-6


def test_a_list_of_blocks_that_is_run_twice_has_no_canonical_points():
    class Twice(transformers.GPT2Model):
        def forward(self, input_ids=None):
            hidden = self.wte(input_ids)
            for block in (*self.h, *self.h):
                hidden = block(hidden)
            return hidden

    model = Twice(transformers.GPT2Config(**FAMILIES["gpt2"][1])).eval()
    assert "blocks" in resolve(model).problems


# Values


def keep(folder, network, tokenizer="gpt2"):
    """A random network and a tokenizer in a folder, as on the hub."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    network.eval().save_pretrained(folder)
    make_tokenizer(tokenizer).save_pretrained(folder)
    return folder


def test_a_model_that_cannot_run_without_values(tmp_path):
    """BART looks into its masks: its hook points are found with random weights."""
    options = transformers.BartConfig(
        vocab_size=VOCABULARY, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None,
    )  # fmt: skip
    folder = keep(tmp_path, transformers.BartModel(options))
    names = [
        "encoder.blocks.1.mlp.post",
        "decoder.blocks.0.resid_cross",
        "decoder.blocks.1.resid_post",
    ]
    found, expected = extract(make(folder), CORPUS, names), reference(folder, CORPUS, names)
    for name in names:
        same(found[name], expected[name])
    assert "off by" in make(folder).check()["decoder.blocks.1.resid_post"]


@pytest.mark.parametrize("kind", ["Gemma3", "Llava"])
def test_the_language_model_inside_one_that_sees(tmp_path, kind):
    image = {**FAMILIES["clip"][1], "model_type": "siglip_vision_model"}
    text = {**SIZES, "head_dim": 8, "model_type": "gemma3_text" if kind == "Gemma3" else "llama"}
    more = {"mm_tokens_per_image": 4} if kind == "Gemma3" else {}
    if kind == "Llava":
        image["model_type"] = "clip_vision_model"
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=image, **more)
    folder = keep(tmp_path, getattr(transformers, f"{kind}ForConditionalGeneration")(config))
    names = ["blocks.0.attn_out", "blocks.1.mlp.post", "blocks.2.resid_post", "final_norm"]
    found, expected = extract(make(folder), CORPUS, names), reference(folder, CORPUS, names)
    for name in names:
        same(found[name], expected[name])


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
def test_a_long_text_does_not_turn_the_angles_of_short_ones(tmp_path, batching):
    """LongRoPE (Phi-3 with 128,000 tokens): one text beyond a length changes all texts of its pass."""
    config = transformers.Phi3Config(
        **SIZES, original_max_position_embeddings=16,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0, "short_factor": [1.0] * 4,
            "long_factor": [3.0, 4.0, 5.0, 6.0],
        },
    )  # fmt: skip
    folder, name = keep(tmp_path, transformers.Phi3Model(config)), "blocks.2.resid_post"
    model = make(folder, batching=batching, pass_tokens=4096)
    texts = [*CORPUS, " ".join(TEXTS)]
    lengths = [len(each) for each in model.tokens(texts)]
    assert min(lengths) < 16 < max(lengths)
    same(extract(model, texts, [name])[name], reference(folder, texts, [name])[name])


def test_block_sparse_attention_is_not_asked_for(tmp_path):
    """BigBird forgets it after one short text, and padding changes it: texts end where all is seen."""
    config = transformers.BigBirdConfig(**SIZES, block_size=4, num_random_blocks=1)
    folder = keep(tmp_path, transformers.BigBirdModel(config, add_pooling_layer=False))
    with pytest.raises(ModelError, match="expected max_length to be at most 28, found 29"):
        make(folder, max_length=29).open(["embed"])
    assert make(folder).tokens.length == 28


def test_what_does_not_follow_the_tokens_is_a_problem_of_the_tap(tmp_path):
    """Longformer fills texts up to its window."""
    config = transformers.LongformerConfig(**SIZES, attention_window=[4] * 3)
    folder = keep(tmp_path, transformers.LongformerModel(config, add_pooling_layer=False))
    taps = {tap.name: tap for tap in make(folder).taps()}
    assert "no axis of tokens" in taps["blocks.1.resid_post"].problem
    assert [name for name, tap in taps.items() if not tap.problem]


def test_an_expert_that_gets_some_tokens_is_refused_by_name(tmp_path):
    config = transformers.SwitchTransformersConfig(
        **FAMILIES["t5"][1], num_experts=4, num_sparse_encoder_layers=2, num_sparse_decoder_layers=2
    )
    folder = keep(tmp_path, transformers.SwitchTransformersModel(config))
    experts = [tap.name for tap in make(folder).taps() if tap.name.endswith("expert_3.wi@in")]
    with pytest.raises(
        TapError, match=r"expert_3.wi@in: expected a row for each token, \[\d+, 32\]"
    ):
        make(folder).open(experts[:1])


def test_a_base_model_with_a_part_of_its_own_name(tmp_path):
    """DPR's question encoder has a part called question_encoder, and is no model with a head."""
    digests, name = [], "blocks.2.resid_post"
    for seed in (0, 1):
        config = transformers.DPRConfig(**FAMILIES["bert"][1])
        folder = keep(tmp_path / str(seed), transformers.DPRQuestionEncoder(config), "bert")
        model = make(folder)
        same(extract(model, CORPUS, [name])[name], reference(folder, CORPUS, [name])[name])
        model.open([name])
        assert model.describe()["model"]["identities"] == 8
        digests.append(model.weights_digest)
    assert digests[0] != digests[1]


def test_a_model_without_a_vocabulary_is_one_line(tmp_path):
    config = transformers.CanineConfig(**FAMILIES["vit"][1])
    folder = keep(tmp_path, transformers.CanineModel(config))
    with pytest.raises(ModelError, match="its architecture cannot be read: .*vocab_size"):
        make(folder).taps()


def test_a_model_that_reads_no_text_of_two_tokens(tmp_path):
    """Funnel halves the length: the self-test fails in it, and texts of equal length are read."""
    config = transformers.FunnelConfig(
        vocab_size=VOCABULARY, block_sizes=[1, 1], d_model=32, n_head=4, d_head=8, d_inner=48,
        pad_token_id=0,
    )  # fmt: skip
    folder = keep(tmp_path, transformers.FunnelModel(config))
    model, texts = make(folder), [each for each in TEXTS for _ in range(2)]
    name = "decoder.layers.1"
    model.open([name])
    assert "the test fails" in model.describe()["batching_tested"]["bucketed"]
    found = extract(make(folder), texts, [name])[name]
    parts = []
    network, tokenizer = transformers.AutoModel.from_pretrained(folder).eval(), make_tokenizer()
    for text in texts:
        with torch.no_grad():
            hidden = network(tokenizer(text, return_tensors="pt")["input_ids"].long())
        parts.append(hidden.last_hidden_state[0])
    same(found, torch.cat(parts).numpy())
