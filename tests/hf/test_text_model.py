"""The model component: what it gives for each text is what transformers gives for that text alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from actx_core import ModelError, Sample, SourceError, TapError, extract
from actx_hf.hooks import read, resolve
from actx_hf.models.config import TransformersConfig
from actx_hf.models.transformers_model import Transformers

from .conftest import FAMILIES, IMAGES, TEXTS, VOCABULARY, make_tokenizer

LANGUAGE = [name for name in FAMILIES if name not in IMAGES]
CORPUS = [*TEXTS, "Short.", "", "a b c", "\n", "The same lazy dog again, and again, and again."]
PACK = {
    "gpt2", "gpt_neox", "gpt_neox_serial", "gptj", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2",
    "gemma3", "phi", "phi3", "mixtral",
}  # fmt: skip
"""Families that keep packed texts apart, by the reference; the others mix them up without a word."""


def make(folder, **options):
    return Transformers(TransformersConfig(name=str(folder), device="cpu", **options))


def reference(folder, texts, names, **options):
    """The tensors at hook points in plain forward passes, one text at a time: one row per token or pair."""
    model = transformers.AutoModel.from_pretrained(folder, **options).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    places = {name: place for name, place in resolve(model).places.items() if name in names}
    rows = {name: [] for name in names}
    for text in texts:
        inputs = {"input_ids": tokenizer(text, return_tensors="pt")["input_ids"].long()}
        if not inputs["input_ids"].numel():
            continue
        if model.config.is_encoder_decoder:
            start = torch.tensor([[model.config.decoder_start_token_id]])
            inputs["decoder_input_ids"] = torch.cat([start, inputs["input_ids"][:, :-1]], dim=1)
        for name, tensor in read(model, places, {**inputs, "use_cache": False}).items():
            by_row = tensor.permute(0, 2, 3, 1) if name.endswith("pattern") else tensor
            rows[name].append(by_row.reshape(-1, by_row.shape[-1]).numpy())
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def same(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("family", LANGUAGE)
def test_every_hook_point_is_that_of_the_text_alone(saved, family):
    folder = saved(family)
    names = list(resolve(transformers.AutoModel.from_pretrained(folder)).places)
    assert len(names) > 15
    expected = reference(folder, CORPUS, names)
    for batching in ("auto", "bucketed"):
        model = make(folder, batching=batching, pass_tokens=64)
        found = extract(model, CORPUS, names)
        packed = batching == "auto" and family in PACK
        assert model.describe()["batching"] == ("packed" if packed else "bucketed")
        for name in names:
            same(found[name], expected[name])


WINDOWED = {
    "mistral": {"sliding_window": 4},
    "phi3": {"sliding_window": 4},
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
    "gemma2": {"sliding_window": 4, "attn_logit_softcapping": 0.5},
    "gemma3": {"sliding_window": 4},
    "modernbert": {"local_attention": 4},
}
"""Families whose attention sees a few tokens back only, and is capped; windows are shorter than the texts."""


@pytest.mark.parametrize("attention", ["", "eager"])
@pytest.mark.parametrize("family", WINDOWED)
def test_windows_of_attention_do_not_reach_into_other_texts(saved, family, attention):
    folder, names = saved(family, **WINDOWED[family]), ["blocks.2.resid_post"]
    expected = reference(folder, CORPUS, names, attn_implementation=attention or None)
    plain = reference(saved(family), CORPUS, names, attn_implementation=attention or None)
    assert np.abs(expected[names[0]] - plain[names[0]]).max() > 0.01
    for batching in ("auto", "bucketed"):
        model = make(folder, batching=batching, pass_tokens=64, attention=attention)
        same(extract(model, CORPUS, names)[names[0]], expected[names[0]])


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantised_model_is_read_as_transformers_reads_it(saved, bits):
    pytest.importorskip("bitsandbytes")
    wide = {"hidden_size": 64, "intermediate_size": 128}  # 4-bit weights come in blocks of 64
    folder, name = saved("llama", **wide), "blocks.1.resid_post"
    model = make(folder, quantize=bits)
    found = extract(model, CORPUS, [name])[name]
    quantization = transformers.BitsAndBytesConfig(
        **{f"load_in_{bits}": True}, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="float32"
    )
    same(found, reference(folder, CORPUS, [name], quantization_config=quantization)[name], 0.01)
    plain = make(folder)
    assert np.abs(found - extract(plain, CORPUS, [name])[name]).max() > 0.001
    assert model.describe()["parameters"] == plain.describe()["parameters"]


def test_packing_that_mixes_texts_is_refused_by_name(saved):
    with pytest.raises(ModelError, match="not kept apart by this model: relative error [0-9.e+]+"):
        make(saved("opt"), batching="packed").open(["blocks.1.resid_post"])
    with pytest.raises(ModelError, match="the model takes no positions"):
        make(saved("t5"), batching="packed").open(["encoder.blocks.1.resid_post"])


def test_a_model_that_does_not_mask_padding_gets_none(tmp_path):
    """FNet mixes all positions by a Fourier transform, and takes no mask."""
    options = transformers.FNetConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, intermediate_size=48,
        tpu_short_seq_length=64,
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.FNetModel(options).eval()
    network.save_pretrained(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    model = make(tmp_path)
    (found,) = extract(model, CORPUS, ["encoder.layer.1"]).values()
    assert model.describe()["batching"] == "equal"
    parts = []
    for text in CORPUS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"].long()
        if ids.numel():
            parts.append(network(ids).last_hidden_state[0].detach().numpy())
    same(found, np.concatenate(parts))


def test_patterns_of_attention_are_rows_of_pairs(saved):
    folder, name = saved("llama", attention="eager"), "blocks.1.attn.pattern"
    model = make(folder, attention="eager")
    found = extract(model, CORPUS, [name])[name]
    network = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    parts = []
    for text in CORPUS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"].long()
        if ids.numel():
            weights = network(ids, output_attentions=True).attentions[1][0]
            parts.append(weights.permute(1, 2, 0).reshape(-1, 4).detach().numpy())
    same(found, np.concatenate(parts))


@pytest.mark.parametrize(
    ("family", "head"), [("llama", "ForCausalLM"), ("gpt2", "LMHeadModel"), ("bert", "ForMaskedLM"),
    ("t5", "ForConditionalGeneration")],
)  # fmt: skip
def test_logits_come_from_the_head_which_else_is_not_loaded(saved, family, head):
    folder = saved(family, head)
    network = getattr(transformers, f"{FAMILIES[family][0]}{head}").from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = make(folder)
    block = "decoder.blocks.0.mlp_out" if family == "t5" else "blocks.0.mlp_out"
    base = extract(model, CORPUS, [block])[block]
    fingerprint = model.fingerprint()
    model = make(folder)
    found = extract(model, CORPUS, [block, "logits"])
    same(found[block], base)
    assert model.fingerprint() == fingerprint
    parts = []
    for text in CORPUS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"].long()
        if ids.numel():
            more = {}
            if family == "t5":
                start = torch.tensor([[network.config.decoder_start_token_id]])
                more = {"decoder_input_ids": torch.cat([start, ids[:, :-1]], dim=1)}
            parts.append(network(ids, **more).logits[0].detach().numpy())
    same(found["logits"], np.concatenate(parts))


def test_a_base_model_has_no_logits(saved):
    with pytest.raises(TapError, match="the checkpoint has no head"):
        make(saved("llama")).open(["logits"])


def test_the_forward_pass_ends_after_the_deepest_tap(saved):
    model = make(saved("gpt2"))
    model.open(["blocks.0.mlp.post", "blocks.1.attn_out"])
    seen = []
    for number, block in enumerate(model.module.h):
        block.register_forward_pre_hook(lambda *_, n=number: seen.append(n))
    batch = model.prepare([Sample("a", "some text")])
    model.extract(batch, lambda name, activation: activation)
    assert seen == [0, 1]


def test_modules_by_path_and_their_calls(saved, tmp_path):
    """The axis of heads is told, and a flat tensor of OPT; ALBERT's one layer is called twice."""
    taps = {tap.name: tap for tap in make(saved("qwen3")).taps()}
    assert taps["layers.0.self_attn.q_norm@in"].axes == ("sample", "token", "head", "channel")
    assert taps["layers.0.self_attn.o_proj@in"].shape == (None, 64)
    assert "no axis of samples" in taps["rotary_emb.0"].problem
    opt = {tap.name: tap for tap in make(saved("opt")).taps()}
    assert opt["decoder.layers.0.fc2@in"].shape == (None, 48)
    assert opt["blocks.0.mlp.post"].shape == (None, 48)
    options = transformers.AlbertConfig(
        vocab_size=VOCABULARY, embedding_size=8, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=48,
    )  # fmt: skip
    torch.manual_seed(0)
    network = transformers.AlbertModel(options).eval()
    network.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    layer = "encoder.albert_layer_groups.0"
    found = extract(make(tmp_path), CORPUS[:1], [f"{layer}:0", f"{layer}:1", f"{layer}:1@in"])
    seen = []
    network.get_submodule(layer).register_forward_hook(lambda *args: seen.append(args[2]))
    network(make_tokenizer()(CORPUS[0], return_tensors="pt")["input_ids"].long())
    same(found[f"{layer}:0"], seen[0][0].detach().numpy())
    same(found[f"{layer}:1"], seen[1][0].detach().numpy())
    same(found[f"{layer}:1@in"], seen[0][0].detach().numpy())


def test_position_and_pad_do_not_depend_on_ids(saved):
    """A text that contains the padding's id, and a tokenizer that has no padding at all."""
    folder = saved("llama")
    model = make(folder, batching="bucketed")
    texts = ["one <pad><pad> two", "three", "<pad>", "a longer text than the others, by far"]
    names = ["blocks.2.resid_post"]
    same(extract(model, texts, names)[names[0]], reference(folder, texts, names)[names[0]])
    assert model.tokens(texts)[0].special.tolist().count(True) == 2


def test_norms_beside_the_median_of_the_text(saved):
    name = "blocks.1.resid_post"
    model = make(saved("gpt2"), norm_ratio=[name])
    model.open(["blocks.0.mlp_out"])
    batch = model.prepare([Sample(str(n), text) for n, text in enumerate(CORPUS)])
    found = model.extract(batch, lambda _, activation: activation)["blocks.0.mlp_out"]
    ratio = found.columns["token"][f"norm_ratio.{name}"]
    values = reference(saved("gpt2"), CORPUS, [name])[name]
    norms = np.split(np.linalg.norm(values, axis=1), batch.offsets[1:-1])
    np.testing.assert_allclose(
        ratio, np.concatenate([each / np.median(each) for each in norms if len(each)]), rtol=1e-5
    )
    with pytest.raises(TapError, match="did you mean blocks.1.resid_post") as caught:
        make(saved("gpt2"), norm_ratio=["blocks.1.resid_pots"]).taps()
    assert "names no tap" in str(caught.value)


def test_bad_input_is_one_line(saved, tmp_path):
    folder = saved("llama")
    with pytest.raises(ModelError, match="expected max_length to be at most 256, found 300"):
        make(folder, max_length=300).open(["embed"])
    make_tokenizer().save_pretrained(tmp_path)
    network = transformers.LlamaModel(
        transformers.LlamaConfig(**{**FAMILIES["llama"][1], "vocab_size": 50})
    )
    network.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"expected token ids below 50, the tokenizer gives \d+"):
        make(tmp_path).prepare([Sample("a", "some text")])
    with pytest.raises(SourceError, match="expected a text or a list of messages, found int"):
        make(folder).prepare([Sample("a", 3)])
    with pytest.raises(SourceError, match="the tokenizer refuses the text"):
        make(folder).prepare([Sample("a", "lone \ud800 surrogate")])
    with pytest.raises(ModelError, match="ViTModel takes no text"):
        make(saved("vit")).taps()


def test_the_self_test_tells_mixing_from_rounding_in_16_bits(saved):
    for family, batching in (("llama", "packed"), ("gpt2", "packed"), ("opt", "bucketed")):
        model = make(saved(family), dtype="bfloat16")
        model.open(["blocks.2.resid_post"])
        assert model.describe()["batching"] == batching
    model = make(saved("llama"), dtype="bfloat16")
    model.open(["embed"])
    angles = {tensor.dtype for _, tensor in model.module.named_buffers()}
    assert angles == {torch.float32}, "rounded angles would move far positions"
