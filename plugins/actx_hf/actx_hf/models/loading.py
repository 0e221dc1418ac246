"""Loads what a LoadedConfig names: architecture, weights and tokenizer, strictly and without code."""

from __future__ import annotations

import logging
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from huggingface_hub import ModelCard, try_to_load_from_cache
from torch import nn
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from actx_core import ModelError
from actx_core.packages import package_path
from actx_hf.hooks import Hooks, IdentityError, refuse, resolve, self_check
from actx_hf.models.config import GGUF, LoadedConfig, TransformersConfig
from actx_hf.models.failures import reported
from actx_hf.models.strict import drop_pooler, refuse_differences

_AUTO: Any = transformers.AutoModel  # shipped without types, as is what comes from it
_PROBE = "The quick brown fox jumps over 13 lazy dogs."


def skeleton(config: LoadedConfig, *, head: bool = False) -> nn.Module:
    """The architecture with random weights, on the current device: of no cost on ``meta``.

    The base model, or the one that ``head_of`` names. Raises ModelError where that has none.
    """
    options = read_options(config)
    with reported(config):
        if head:
            module = _with_head(config, options)(options)
        else:
            trust = {"trust_remote_code": config.trust}
            module = _AUTO.from_config(options, dtype=torch.float32, **trust)
    on_meta = next(module.parameters()).is_meta
    if on_meta and hasattr(module, "set_experts_implementation"):
        module.set_experts_implementation("batched_mm")  # the others need values
    return cast("nn.Module", module).eval()


def weights(config: LoadedConfig, *, head: bool = False) -> nn.Module:
    """The model with its weights, in eval mode: on the CPU, or where ``device_map`` puts it.

    Floating weights have the type of the Config, unless they are quantised. Raises ModelError where a
    weight is missing or a key of the checkpoint is left over (heads that are left out are no error), and
    where an identity of the hook points does not hold.

    Call it outside of any ``torch.device`` context.
    """
    options = read_options(config)
    kind: Any = _with_head(config, options) if head else _AUTO
    given = {**_given(config), **_placement(config)}
    if not config.trust and "gguf_file" not in given:
        given["use_safetensors"] = True
    with reported(config):
        module, info = kind.from_pretrained(
            _folder(config.name),
            config=options,
            dtype=getattr(torch, config.dtype),
            output_loading_info=True,
            **given,
        )
    drop_pooler(module, info["missing_keys"])
    refuse_differences(str(config.name), module, info)
    loaded = cast("nn.Module", module).eval()
    refuse(identity_errors(config, loaded), getattr(torch, config.dtype), str(config.name))
    return loaded


def identity_errors(config: LoadedConfig, module: nn.Module) -> list[IdentityError]:
    """The self-check of a loaded model, where it lies; nothing for one whose hook points are not known."""
    try:
        known = hooks(config, head=type(module).__name__ == head_of(config))
    except ModelError:
        return []
    return self_check(module, known)


def hooks(config: LoadedConfig, *, head: bool = False) -> Hooks:
    """The canonical hook points, found without the checkpoint's weights; once for a configuration.

    Raises ModelError where the model cannot be run.
    """
    return _hooks(as_text(config), config, head)


@lru_cache(maxsize=8)
def _hooks(_: str, config: LoadedConfig, head: bool) -> Hooks:
    try:
        with torch.device("meta"):
            return resolve(skeleton(config, head=head))
    except ModelError:  # some cannot run without values
        with torch.device("cpu"):
            return resolve(skeleton(config, head=head))


def as_text(config: LoadedConfig) -> str:
    """All that the architecture follows from, as it is now: another configuration is another text."""
    options = read_options(config)
    return f"{options.to_json_string(use_diff=False)} {options._attn_implementation}"


def tokenizer(config: TransformersConfig) -> Any:
    """The tokenizer of the model, or the one that ``tokenizer`` names.

    Raises ModelError where there is none, or one that encodes text to nothing.
    """
    name = config.tokenizer or config.name
    given = {"trust_remote_code": config.trust} if config.tokenizer else _given(config)
    with reported(config, name):
        found = transformers.AutoTokenizer.from_pretrained(_folder(name), **given)
    if not found.encode(_PROBE, add_special_tokens=False):
        raise ModelError(
            f"the tokenizer ({type(found).__name__}, {len(found)} tokens) encodes text to nothing",
            where=str(name),
            hint="its files are missing: tokenizer.json, or vocab.json with merges.txt;"
            " tokenizer = '…' names another folder",
        )
    return found


def image_processor(config: LoadedConfig) -> Any:
    """What makes an image into the model's input; by PIL, so that torchvision is not needed."""
    with reported(config):
        load: Any = transformers.AutoImageProcessor.from_pretrained
        return load(_folder(config.name), backend="pil", **_given(config))


def read_options(config: LoadedConfig) -> Any:
    """The configuration of the model as transformers reads it, with the attention that was chosen."""
    if "gguf_file" in _given(config):
        return deepcopy(_read_once(config))  # a model may change its own
    return _read(config)


def _read(config: LoadedConfig) -> Any:
    given = _given(config)
    if config.attention:
        given["attn_implementation"] = config.attention
    with reported(config):
        return transformers.AutoConfig.from_pretrained(_folder(config.name), **given)


_read_once = lru_cache(maxsize=8)(_read)  # such a file takes seconds


def head_of(config: LoadedConfig) -> str:
    """The architecture of the checkpoint where it is more than the base model; else empty."""
    options = read_options(config)
    named = next(iter(options.architectures or ()), "")
    if not named and "gguf_file" in _given(config):  # such files hold whole language models
        named = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(options.model_type, "")
    base = MODEL_MAPPING_NAMES.get(options.model_type, "")
    return named if named != base and hasattr(transformers, named or "-") else ""


def facts(config: LoadedConfig, module: nn.Module) -> dict[str, Any]:
    """What ``describe`` says of a loaded model: its origin, its licence and how it computes."""
    options = cast("Any", module.config)
    errors = identity_errors(config, module)
    return {
        "name": str(config.name),
        "revision": getattr(options, "_commit_hash", None) or config.revision,
        "architecture": type(module).__name__,
        "model_type": options.model_type,
        "licence": _licence(config),
        "attention": options._attn_implementation,
        "quantize": config.quantize,
        "device_map": {k: str(v) for k, v in getattr(module, "hf_device_map", {}).items()},
        "identities": len(errors),
        "identity_error": max((each.relative_error for each in errors), default=0.0),
        "transformers": transformers.__version__,
    }


def _folder(name: str | Path) -> str:
    """What transformers is given: a name of the hub, or the folder."""
    if isinstance(name, str):
        return name
    path = package_path(name)
    if not path.exists():
        raise ModelError("no such folder or file", where=str(name))
    return str(path if path.is_dir() else path.parent)


def _given(config: LoadedConfig) -> dict[str, Any]:
    """What is said in every call for this model."""
    given: dict[str, Any] = {"trust_remote_code": config.trust}
    if config.revision:
        given["revision"] = config.revision
    if config.gguf:
        given["gguf_file"] = config.gguf
    elif isinstance(config.name, Path) and config.name.suffix == GGUF:
        given["gguf_file"] = config.name.name
    return given


def _placement(config: LoadedConfig) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if config.device_map:
        given["device_map"] = config.device_map
    if config.quantize:
        # At every layer of every pass it says how it computes.
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
        with reported(config):
            quantization: Any = transformers.BitsAndBytesConfig
            given["quantization_config"] = quantization(
                load_in_8bit=config.quantize == "8bit",
                load_in_4bit=config.quantize == "4bit",
                bnb_4bit_compute_dtype=getattr(torch, config.dtype),
                bnb_4bit_quant_type="nf4",
            )
    return given


def _with_head(config: LoadedConfig, options: Any) -> type[Any]:
    name = head_of(config)
    if not name:
        raise ModelError(
            "the checkpoint has no head, it is a base model",
            where=str(config.name),
            hint="leave out the tap logits",
        )
    return cast("type[Any]", getattr(transformers, name))


def _licence(config: LoadedConfig) -> str:
    """The licence that the model card states; empty where there is no card on this machine."""
    card = _card(config)
    if card is None:
        return ""
    return str(ModelCard.load(card, ignore_metadata_errors=True).data.get("license") or "")


def _card(config: LoadedConfig) -> Path | None:
    if isinstance(config.name, Path):
        path = Path(_folder(config.name)) / "README.md"
        return path if path.is_file() else None
    found = try_to_load_from_cache(config.name, "README.md", revision=config.revision or None)
    return Path(found) if isinstance(found, str) else None
