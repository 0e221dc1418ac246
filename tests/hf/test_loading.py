"""Loading: strict, without code, with one clear line for each failure; against transformers itself."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from actx_core import ModelError
from actx_hf.hooks import read, resolve
from actx_hf.models import loading
from actx_hf.models.config import TransformersConfig


def config(folder, **options):
    return TransformersConfig(name=folder, **options)


@pytest.fixture
def copied(saved, tmp_path):
    """A folder of its own that a test may damage."""

    def copy(family="gpt2", head="LMHeadModel", **changes):
        return shutil.copytree(saved(family, head, **changes), tmp_path / "model")

    return copy


HEADS = {
    "gpt2": "LMHeadModel", "llama": "ForCausalLM", "mixtral": "ForCausalLM", "opt": "ForCausalLM",
    "bert": "ForMaskedLM", "roberta": "ForMaskedLM", "t5": "ForConditionalGeneration", "vit": "",
    "dinov2": "",
}  # fmt: skip


@pytest.mark.parametrize("family", HEADS)
def test_the_base_model_is_what_transformers_loads(family, saved, inputs_of):
    folder = saved(family, HEADS[family])
    module = loading.weights(config(folder))
    reference = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    assert type(module) is type(reference)
    inputs = inputs_of(family)
    with torch.no_grad():
        got, wanted = module(**inputs), reference(**inputs)
    assert torch.equal(got.last_hidden_state, wanted.last_hidden_state)
    assert not module.training


@pytest.mark.parametrize("family", ["gpt2", "llama", "bert", "t5"])
def test_the_head_is_loaded_only_when_it_is_asked_for(family, saved, inputs_of):
    folder = saved(family, HEADS[family])
    with torch.device("meta"):
        assert "logits" in resolve(loading.skeleton(config(folder), head=True)).places
        assert "logits" in resolve(loading.skeleton(config(folder))).problems
    whole = loading.weights(config(folder), head=True)
    inputs = inputs_of(family)
    auto = getattr(transformers, loading.head_of(config(folder)))
    with torch.no_grad():
        wanted = auto.from_pretrained(folder, dtype=torch.float32).eval()(**inputs).logits
    place = {"logits": resolve(whole).places["logits"]}
    assert torch.equal(read(whole, place, inputs)["logits"], wanted)


def test_the_skeleton_costs_nothing_and_has_the_same_places(saved):
    folder = saved("mixtral", "ForCausalLM")
    with torch.device("meta"):
        empty = loading.skeleton(config(folder))
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    assert resolve(empty) == resolve(loading.weights(config(folder)))


def test_a_base_model_has_no_head(saved):
    folder = saved("llama")
    assert loading.head_of(config(folder)) == ""
    with pytest.raises(ModelError, match="the checkpoint has no head, it is a base model"):
        loading.weights(config(folder), head=True)


def test_weights_are_float32_unless_said_otherwise(copied):
    """transformers 5 itself takes the type of the file."""
    folder = copied()
    path = folder / "model.safetensors"
    half = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    save_file(half, path, metadata={"format": "pt"})
    text = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**text, "dtype": "bfloat16"}))
    assert transformers.AutoModel.from_pretrained(folder).dtype == torch.bfloat16
    assert loading.weights(config(folder)).dtype == torch.float32
    assert loading.weights(config(folder, dtype="float16")).dtype == torch.float16
    with torch.device("meta"):
        assert loading.skeleton(config(folder)).dtype == torch.float32


def test_attention_is_as_chosen(saved):
    folder = saved("llama")
    for attention in ("eager", "sdpa"):
        module = loading.weights(config(folder, attention=attention))
        assert loading.facts(config(folder), module)["attention"] == attention
        with torch.device("meta"):
            empty = loading.skeleton(config(folder, attention=attention))
        assert ("blocks.0.attn.pattern" in resolve(empty).places) == (attention == "eager")


# Strictness


def edit(folder, change):
    path = folder / "model.safetensors"
    state = load_file(path)
    change(state)
    save_file(state, path, metadata={"format": "pt"})


def test_a_missing_weight_is_named(copied):
    folder = copied()
    edit(folder, lambda state: state.pop("transformer.h.1.ln_1.weight"))
    with pytest.raises(ModelError, match=r"do not fit.*: 1 missing \(h\.1\.ln_1\.weight\)"):
        loading.weights(config(folder))


def test_an_unexpected_weight_is_named(copied):
    folder = copied()
    edit(folder, lambda state: state.update({"transformer.h.9.extra": torch.zeros(2)}))
    with pytest.raises(ModelError, match=r"1 unexpected \(transformer\.h\.9\.extra\)"):
        loading.weights(config(folder))


def test_a_weight_of_another_shape_is_one_line(copied):
    folder = copied()
    edit(folder, lambda state: state.update({"transformer.h.1.ln_1.weight": torch.zeros(5)}))
    with pytest.raises(ModelError, match="cannot be loaded: ") as error:
        loading.weights(config(folder))
    assert "\n" not in str(error.value)


def test_a_head_without_weights_is_an_error(copied):
    folder = copied("bert", "ForMaskedLM")
    edit(folder, lambda state: state.pop("cls.predictions.transform.dense.weight"))
    loading.weights(config(folder))
    with pytest.raises(ModelError, match=r"1 missing \(cls\.predictions"):
        loading.weights(config(folder), head=True)


def test_another_head_is_left_out(copied):
    """BERT checkpoints have a second one, for the next sentence, whatever their config says."""
    folder = copied("bert", "ForMaskedLM")
    edit(folder, lambda state: state.update({"cls.seq_relationship.weight": torch.zeros(2, 32)}))
    loading.weights(config(folder))
    loading.weights(config(folder), head=True)


def test_tied_weights_are_not_missing(saved):
    folder = saved("gpt2", "LMHeadModel")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert loading.weights(config(folder), head=True).lm_head.weight is not None


def test_a_pooler_that_was_never_trained_is_taken_off(saved):
    assert loading.weights(config(saved("bert"))).pooler is not None
    module = loading.weights(config(saved("bert", "ForMaskedLM")))
    assert module.pooler is None


def test_a_checkpoint_of_numbers_that_are_none_is_refused(copied):
    folder = copied("llama", "ForCausalLM")
    edit(folder, lambda state: state["model.layers.1.mlp.down_proj.weight"].fill_(float("nan")))
    with pytest.raises(ModelError, match="identities of the hook points do not hold"):
        loading.weights(config(folder))


# No code, no pickles


def test_pickled_weights_need_trust(copied):
    folder = copied()
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="convert them to safetensors, or say trust = true"):
        loading.weights(config(folder))
    trusted = loading.weights(config(folder, trust=True))
    assert torch.equal(trusted.wte.weight, state["transformer.wte.weight"])


CODE = """
import pathlib, transformers
pathlib.Path(__file__).parent.joinpath("ran").touch()
class MineConfig(transformers.GPT2Config):
    model_type = "mine"
class Mine(transformers.GPT2Model):
    config_class = MineConfig
"""


def test_code_of_a_repository_needs_trust(copied, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder = copied()
    text = json.loads((folder / "config.json").read_text())
    names = {"AutoConfig": "mine.MineConfig", "AutoModel": "mine.Mine"}
    (folder / "config.json").write_text(
        json.dumps({**text, "model_type": "mine", "auto_map": names})
    )
    (folder / "mine.py").write_text(CODE)
    with pytest.raises(ModelError, match="say trust = true if you know it"):
        loading.weights(config(folder))
    assert not list(tmp_path.rglob("ran"))
    with torch.device("meta"):
        assert type(loading.skeleton(config(folder, trust=True))).__name__ == "Mine"
    assert type(loading.weights(config(folder, trust=True))).__name__ == "Mine"


# Tokenizers


def test_the_tokenizer_of_the_model_or_another(saved):
    folder = saved("gpt2", "LMHeadModel")
    own = loading.tokenizer(config(folder))
    other = loading.tokenizer(config(folder, tokenizer=saved("bert")))
    assert own("The lazy dog.").input_ids != other("The lazy dog.").input_ids
    assert other.cls_token == "[CLS]"


def test_a_tokenizer_that_encodes_to_nothing_is_an_error(copied):
    folder = copied()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ModelError, match=r"encodes text to nothing.*its files are missing"):
        loading.tokenizer(config(folder))


def test_models_of_images_load_without_a_tokenizer(saved):
    folder = saved("vit")
    assert loading.weights(config(folder)) is not None
    with pytest.raises(ModelError):
        loading.tokenizer(config(folder))


# Failures in one line


@pytest.mark.parametrize("call", [loading.read_options, loading.weights, loading.tokenizer])
def test_a_name_that_is_not_here_says_what_to_do(call):
    with pytest.raises(ModelError) as error:
        call(config("nobody/has-this-model"))
    text = str(error.value)
    assert text.startswith("nobody/has-this-model: cannot be loaded: ")
    assert "download it once where there is a network, or give a folder" in text
    assert "\n" not in text


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="no such folder or file"):
        loading.weights(config(tmp_path / "nowhere"))


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded: ") as error:
        loading.weights(config(tmp_path))
    assert "\n" not in str(error.value)


def test_gated_models_need_a_token():
    from actx_hf.models.failures import as_model_error

    error = as_model_error(OSError("You are trying to access a gated repo.\nMake sure…"), "org/m")
    assert "HF_TOKEN" in error.hint
    assert error.message == "cannot be loaded: You are trying to access a gated repo."


def test_the_token_comes_from_the_environment(monkeypatch):
    from huggingface_hub import get_token

    monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
    assert get_token() == "hf_of_this_test"


def test_what_is_not_installed_is_named(saved, monkeypatch):
    monkeypatch.setattr(
        "transformers.quantizers.quantizer_bnb_8bit.is_bitsandbytes_available", lambda: False
    )
    with pytest.raises(ModelError, match="pip install bitsandbytes accelerate"):
        loading.weights(config(saved("llama"), quantize="8bit"))


def test_a_model_spread_over_devices(saved, inputs_of):
    pytest.importorskip("accelerate")
    folder = saved("llama", "ForCausalLM")
    spread, plain = (
        loading.weights(config(folder, device_map="auto")),
        loading.weights(config(folder)),
    )
    with torch.no_grad():
        got = spread(**{k: v.to(spread.device) for k, v in inputs_of("llama").items()})
        wanted = plain(**inputs_of("llama"))
    torch.testing.assert_close(got.last_hidden_state.cpu(), wanted.last_hidden_state)


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_a_quantised_model_is_checked_and_recorded(bits, saved):
    pytest.importorskip("bitsandbytes")
    wide = {"hidden_size": 64, "intermediate_size": 128}  # 4-bit weights come in blocks of 64
    options = config(saved("llama", "ForCausalLM", **wide), quantize=bits)
    module = loading.weights(options)
    assert type(module.layers[0].mlp.down_proj).__module__.startswith("bitsandbytes")
    facts = loading.facts(options, module)
    assert (facts["quantize"], facts["identities"]) == (bits, 8)
    assert facts["identity_error"] <= 1e-6


def test_loading_is_silent(saved, capfd):
    loading.weights(config(saved("roberta", "ForMaskedLM")))
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()


# What is recorded


def test_facts(copied):
    folder = copied("llama", "ForCausalLM")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: en\n---\n# Card\n")
    facts = loading.facts(config(folder), loading.weights(config(folder)))
    assert facts["architecture"] == "LlamaModel"
    assert facts["model_type"] == "llama"
    assert facts["licence"] == "apache-2.0"
    assert facts["attention"] == "sdpa"
    assert facts["transformers"] == transformers.__version__
    assert facts["identities"] == 8
    assert facts["identity_error"] <= 1e-6
    json.dumps(facts)


def test_no_card_is_no_licence(saved):
    folder = saved("llama")
    assert loading.facts(config(folder), loading.weights(config(folder)))["licence"] == ""


# Real models


def test_real_minilm(minilm):
    module = loading.weights(config(minilm))
    facts = loading.facts(config(minilm), module)
    assert (facts["architecture"], facts["identities"]) == ("BertModel", 17)
    assert facts["identity_error"] <= 1e-6
    tokens = loading.tokenizer(config(minilm))(["A small test."], return_tensors="pt")
    hooks = resolve(module)
    with torch.no_grad():
        wanted = module(**tokens, output_hidden_states=True).hidden_states
    acts = read(module, hooks.places, tokens)
    for i in range(6):
        torch.testing.assert_close(
            acts[f"blocks.{i}.resid_post"], wanted[i + 1], rtol=1e-6, atol=1e-6
        )


@pytest.mark.slow
def test_real_smollm2_from_gguf(smollm2):
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    files = list(smollm2.glob("*.gguf"))
    if not files:
        pytest.skip(f"no GGUF file in {smollm2}")
    options = config(files[0])
    assert loading.head_of(options) == "LlamaForCausalLM"
    whole = loading.weights(options, head=True)
    facts = loading.facts(options, whole)
    assert facts["identities"] == 89
    assert facts["identity_error"] <= 1e-6
    tokens = loading.tokenizer(options)("The capital of France is", return_tensors="pt")
    logits = read(whole, {"logits": resolve(whole).places["logits"]}, dict(tokens))["logits"]
    assert loading.tokenizer(options).decode(logits[0, -1].argmax()) == " Paris"
