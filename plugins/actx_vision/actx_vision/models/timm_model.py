"""The models of timm, by name and weight tag."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
from huggingface_hub import hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_OFFLINE
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from timm.models import get_pretrained_cfg

from actx_core import Checkpoint, ModelError
from actx_core.torch import ImagePreprocess
from actx_vision.models.config import DEFAULT, ENDINGS, RANDOM, TimmConfig
from actx_vision.models.hints import did_you_mean
from actx_vision.models.image_model import ImageModel, Transform
from actx_vision.models.presets import tap_presets
from actx_vision.models.weights import (
    check_sizes,
    fetch,
    file_name,
    find_weights,
    knock,
    load_strictly,
    missing_weights,
    read_weights,
    shortened,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
        file = weights if isinstance(weights, Path) else self._on_this_machine()
        loaded = self._converted(file, module) if file else self._downloaded()
        load_strictly(module, loaded.state_dict(), str(file or self._name))

    def _on_this_machine(self) -> Path | None:
        """The published file, if it is here already."""
        if found := find_weights(self.config, _file_names(self._pretrained)):
            return found
        repository, file = _on_hub(self._pretrained)
        cached = try_to_load_from_cache(repository, file) if repository else None
        return Path(cached) if isinstance(cached, str) else None

    def _converted(self, file: Path, module: nn.Module) -> nn.Module:
        """Timm itself turns the many forms of published files into that of its modules."""
        state = read_weights(file)
        if file == self.config.weights:
            check_sizes(state, module, str(file))
        overlay = {"state_dict": state, "custom_load": False}
        try:
            loaded: nn.Module = timm.create_model(
                self._name, pretrained=True, pretrained_cfg_overlay=overlay
            )
        except (RuntimeError, KeyError) as error:
            raise ModelError(
                f"the weights do not fit timm's '{self._name}': {shortened(error)}", where=str(file)
            ) from error
        return loaded

    def _downloaded(self) -> nn.Module:
        address = _address(self._pretrained)
        try:
            if not _on_hub(self._pretrained)[0]:
                fetch(self.config, address, self._name)  # to where timm looks for it
            elif HF_HUB_OFFLINE:
                raise ConnectionError("HF_HUB_OFFLINE is set")
            else:
                knock(address)
            module: nn.Module = timm.create_model(self._name, pretrained=True)
        except ModelError:
            raise
        except Exception as error:  # the hub's client has its own errors, not all of them OSErrors
            name = _file_names(self._pretrained)[0]
            raise missing_weights(self.config, self._name, error, address, name) from error
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

    def presets(self) -> Mapping[str, Sequence[str]]:
        return tap_presets("timm", self.config.name.partition(".")[0])

    @classmethod
    def checkpoints(cls) -> Iterator[Checkpoint]:
        """Every tag with weights, and the licence that timm gives for them."""
        for full in timm.list_pretrained():
            name, _, tag = full.partition(".")
            entry = _entry(full)
            licence = entry.get("license") or "not stated"
            yield Checkpoint(name, tag, licence, _address(entry), _file_names(entry)[0])


def _tagged(config: TimmConfig) -> tuple[str, dict[str, Any]]:
    """The full name, tag included, and timm's entry for it."""
    name, _, tag = config.name.partition(".")
    if not timm.is_model(name):
        names = timm.list_models()
        raise ModelError(
            f"timm has no model called '{name}'",
            hint=did_you_mean(name, names, "timm.list_models() lists them"),
        )
    tagless = isinstance(config.weights, Path) or config.weights in (DEFAULT, RANDOM)
    asked = "" if tagless else str(config.weights)
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
    entry = _entry(full)
    if config.weights == DEFAULT and not _address(entry):
        raise ModelError(
            f"timm has no weights for '{full}'",
            hint=f'say weights = "random" or a file; tags: {", ".join(tags) or "none"}',
        )
    return f"{name}.{entry['tag']}" if entry.get("tag") else full, entry


def _entry(name: str) -> dict[str, Any]:
    """What timm knows of published weights."""
    pretrained = get_pretrained_cfg(name)
    return pretrained.to_dict() if pretrained else {}  # type: ignore[no-untyped-call]


def _on_hub(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Repository and file on the hub; the repository is empty where timm knows only an address."""
    return entry.get("hf_hub_id") or "", entry.get("hf_hub_filename") or "model.safetensors"


def _address(entry: Mapping[str, Any]) -> str:
    repository, file = _on_hub(entry)
    return hf_hub_url(repository, file) if repository else entry.get("url") or ""


def _file_names(entry: Mapping[str, Any]) -> list[str]:
    """What the published file may be called in a folder of weights.

    On the hub it has the same name for every model, so it lies in folders named after the repository:
    ``timm/resnet50.a1_in1k/model.safetensors``. A file from elsewhere keeps its own name.
    """
    repository, file = _on_hub(entry)
    names = [f"{repository}/{file}"] if repository else []
    elsewhere = file_name(entry.get("url") or "")
    return [*names, elsewhere] if elsewhere.endswith(ENDINGS) else names or [elsewhere]
