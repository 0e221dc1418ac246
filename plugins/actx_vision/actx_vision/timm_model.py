"""The models of timm, by name and weight tag."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import timm
from huggingface_hub import hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_OFFLINE
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models import get_pretrained_cfg

from actx_core import ModelError
from actx_core.torch import ImagePreprocess
from actx_vision.config import DEFAULT, RANDOM, TimmConfig, is_file
from actx_vision.hints import did_you_mean
from actx_vision.image_model import (
    ImageModel,
    Transform,
    load_strictly,
    missing_weights,
    read_weights,
    shortened,
)

if TYPE_CHECKING:
    from torch import nn


class TimmModel(ImageModel[TimmConfig]):
    """A model of timm, with the weights and preprocessing of one of its tags."""

    def __init__(self, config: TimmConfig) -> None:
        super().__init__(config)
        self._name, self._pretrained = _tagged(config)
        if config.weights == DEFAULT:
            self.weights = self._name

    def build(self) -> nn.Module:
        module: nn.Module = timm.create_model(self._name)
        return module

    def load(self, module: nn.Module) -> None:
        weights = self.config.weights
        if weights == RANDOM:
            return
        loaded = self._converted(weights) if is_file(weights) else self._published()
        load_strictly(module, loaded.state_dict(), weights)

    def _converted(self, file: str) -> nn.Module:
        """Timm itself turns the many forms of published files into that of its modules."""
        overlay = {"state_dict": read_weights(file), "custom_load": False}
        try:
            module: nn.Module = timm.create_model(
                self._name, pretrained=True, pretrained_cfg_overlay=overlay
            )
        except (RuntimeError, KeyError) as error:
            raise ModelError(
                f"the weights do not fit timm's '{self._name}': {shortened(error)}", where=file
            ) from error
        return module

    def _published(self) -> nn.Module:
        repository, address = self._pretrained.get("hf_hub_id"), self._pretrained.get("url")
        try:
            if repository:
                file = self._pretrained.get("hf_hub_filename") or "model.safetensors"
                cached = try_to_load_from_cache(repository, file)
                if isinstance(cached, str):
                    return self._converted(cached)
                address = hf_hub_url(repository, file)
                _knock(address)
            module: nn.Module = timm.create_model(self._name, pretrained=True)
        except ModelError:
            raise
        except Exception as error:  # the hub's client has its own errors, not all of them OSErrors
            put = 'say weights = "path/to/model.safetensors"'
            raise missing_weights(self._name, error, str(address), put) from error
        return module

    def weights_transform(self) -> Transform:
        data: dict[str, Any] = resolve_data_config(  # type: ignore[no-untyped-call]
            pretrained_cfg=self._pretrained
        )
        height, width = data["input_size"][1:]
        plain = data["crop_mode"] == "center" and height == width
        steps = ImagePreprocess(
            resize=math.floor(height / data["crop_pct"]) if plain else None,
            crop=height if plain else None,
            interpolation=data["interpolation"],
            mean=data["mean"],
            std=data["std"],
        )
        return Transform(steps, (height, width), None if plain else create_transform(**data))


def _tagged(config: TimmConfig) -> tuple[str, dict[str, Any]]:
    """The full name, tag included, and timm's entry for it."""
    name, _, tag = config.name.partition(".")
    if not timm.is_model(name):
        names = timm.list_models()
        raise ModelError(
            f"timm has no model called '{name}'",
            hint=did_you_mean(name, names, "timm.list_models() lists them"),
        )
    asked = "" if is_file(config.weights) or config.weights in (DEFAULT, RANDOM) else config.weights
    if tag and asked and tag != asked:
        raise ModelError(f"the name says the weights '{tag}', but weights = \"{asked}\"")
    tag = tag or asked
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        listed = f"there are: {', '.join(tags) or 'none'}; random, or a file"
        raise ModelError(
            f"timm's '{name}' has no weights called '{tag}'", hint=did_you_mean(tag, tags, listed)
        )
    full = f"{name}.{tag}" if tag else name
    pretrained = get_pretrained_cfg(full)
    if config.weights == DEFAULT and not (pretrained and pretrained.has_weights):
        raise ModelError(
            f"timm has no weights for '{full}'",
            hint=f'say weights = "random" or a file; tags: {", ".join(tags) or "none"}',
        )
    entry: dict[str, Any] = pretrained.to_dict() if pretrained else {}  # type: ignore[no-untyped-call]
    return f"{name}.{entry['tag']}" if entry.get("tag") else full, entry


def _knock(address: str) -> None:
    """Fail at once where the hub cannot be reached: its client tries again for most of a minute."""
    if HF_HUB_OFFLINE:
        raise ConnectionError("HF_HUB_OFFLINE is set")
    with suppress(HTTPError):  # somebody answered; whether we may is between client and hub
        urlopen(Request(address, method="HEAD"), timeout=10).close()
