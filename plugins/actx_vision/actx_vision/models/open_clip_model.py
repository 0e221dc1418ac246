"""The image and text towers of open_clip's models, by name and weight tag."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from huggingface_hub import hf_hub_url, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_OFFLINE
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from torch import nn

from actx_core import Activation, Batch, Checkpoint, ModelError, Preview, Sample, Tap
from actx_core.torch import ImagePreprocess, TorchModel
from actx_vision.models.config import RANDOM
from actx_vision.models.hints import did_you_mean
from actx_vision.models.image_model import ImageModel, Transform
from actx_vision.models.open_clip_config import OpenClipConfig
from actx_vision.models.open_clip_text import Tokenizer
from actx_vision.models.presets import tap_presets
from actx_vision.models.weights import (
    check_sizes,
    find_weights,
    knock,
    missing_weights,
    read_weights,
    shortened,
)

_SAFE, _PLAIN = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
_LICENCES = {"openai": "MIT", "laion": "MIT", "webli": "Apache-2.0", "metaclip": "CC-BY-NC-4.0"}
"""By how a tag begins."""
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")


class OpenClip(TorchModel[OpenClipConfig]):
    """A tower of an open_clip model; an instance is of the subclass of its tower."""

    def __new__(cls, config: OpenClipConfig) -> OpenClip:
        return super().__new__(TextTower if config.tower == "text" else ImageTower)

    def __init__(self, config: OpenClipConfig) -> None:
        super().__init__(config)
        self._tag = _tag(config)
        self._clip: Any = None

    def build(self) -> nn.Module:
        """The tower; the other one is kept until ``load``, for the weights of both come in one file."""
        with _silent():
            self._clip = open_clip.create_model(
                self.config.name,
                device=torch.get_default_device(),
                force_quick_gelu=bool(self._tag.get("quick_gelu")),
                force_custom_text=True,  # the text tower as a module of its own
                pretrained_text=False,
            )
        return self._tower(self._clip)

    def _tower(self, clip: Any) -> nn.Module:
        tower: nn.Module = clip.text if self.config.tower == "text" else clip.visual
        return tower

    def load(self, module: nn.Module) -> None:
        clip, self._clip = self._clip, None
        if self.config.weights == RANDOM:
            return
        file = self.config.weights if isinstance(self.config.weights, Path) else self._published()
        state = read_weights(file)  # refuses what is not weights alone
        if isinstance(self.config.weights, Path):
            check_sizes(state, clip, str(file))
        del state
        try:
            open_clip.load_checkpoint(clip, str(file), strict=True, weights_only=True)
        except Exception as error:  # its conversions of other tools' files raise anything
            raise ModelError(
                f"the weights do not fit open_clip's '{self.config.name}': {shortened(error)}",
                where=str(file),
            ) from error

    def _published(self) -> Path:
        """The file of the tag: from the user's folders, the hub's cache, or the hub."""
        repository, names = _hub(self._tag)
        if found := find_weights(self.config, [f"{repository}/{name}" for name in names]):
            return found
        address = hf_hub_url(repository, names[0])
        try:
            for name in names:
                if isinstance(cached := try_to_load_from_cache(repository, name), str):
                    return Path(cached)
            if HF_HUB_OFFLINE:
                raise ConnectionError("HF_HUB_OFFLINE is set")
            knock(address)
            return Path(open_clip.download_pretrained(self._tag))
        except Exception as error:  # the hub's client has its own errors, not all of them OSErrors
            what = f"{self.config.name} {self.config.weights}"
            put = f"{repository}/{names[0]}"
            raise missing_weights(self.config, what, error, address, put) from error

    def describe(self) -> Mapping[str, Any]:
        facts = {"weights": str(self.config.weights), "tower": self.config.tower}
        return {**super().describe(), **facts}

    @classmethod
    def checkpoints(cls) -> Iterable[Checkpoint]:
        """Every pretrained tag of open_clip."""
        for name, tag in open_clip.list_pretrained():
            repository, files = _hub(open_clip.get_pretrained_cfg(name, tag))
            yield Checkpoint(
                name,
                tag,
                licence=_licence(tag, repository),
                address=hf_hub_url(repository, files[0]),
                file=f"{repository}/{files[0]}",
            )


class ImageTower(OpenClip, ImageModel[OpenClipConfig]):
    """``model.visual``: pictures to image embeddings."""

    def weights_transform(self) -> Transform:
        size = open_clip.get_model_config(self.config.name)["vision_cfg"].get("image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        options = merge_preprocess_dict(PreprocessCfg(), {**self._tag, "size": (height, width)})
        plain = options["resize_mode"] == "shortest" and height == width
        steps = ImagePreprocess(
            resize=height if plain else None,
            crop=height if plain else None,
            interpolation=options["interpolation"],
            mean=options["mean"],
            std=options["std"],
        )
        upstream = None if plain else image_transform_v2(PreprocessCfg(**options), is_train=False)
        return Transform(steps, (height, width), upstream)

    def presets(self) -> Mapping[str, Sequence[str]]:
        return tap_presets("open-clip", self.config.name.removesuffix("-quickgelu"))


class TextTower(OpenClip):
    """``model.text``: texts to text embeddings. Tokens are rows; padding is never stored."""

    accepts = "text"

    def __init__(self, config: OpenClipConfig) -> None:
        super().__init__(config)
        options = open_clip.CLIPTextCfg(**open_clip.get_model_config(config.name)["text_cfg"])
        self._length: int = options.context_length
        self._class = int(options.embed_cls)
        """Class tokens, which CoCa appends behind the padding."""

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self.config.name)

    def example(self, batch: int) -> torch.Tensor:
        return torch.zeros(batch, self._length, dtype=torch.int64)

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        return [self._varying(tap) for tap in super().taps(example)]

    def _varying(self, tap: Tap) -> Tap:
        """A tap with tokens, whose number varies between texts."""
        if "token" not in tap.axes:
            return tap
        place, tokens = tap.axes.index("token") - 1, self._length + self._class
        if tap.shape[place] != tokens:
            return replace(
                tap, problem="it lacks the class token that the blocks have", axes=(), shape=()
            )
        shape = (*tap.shape[:place], None, *tap.shape[place + 1 :])
        return replace(tap, shape=shape, rows_at_most=tokens)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        tokens = self._tokenizer([sample.data for sample in samples])
        behind = ((0, 0), (0, self._class))
        ids = np.pad(tokens.ids.numpy(), behind, constant_values=-1)
        columns = {
            "sample": {"tokens": tokens.counts, "truncated": tokens.truncated},
            "token": {
                "token_id": ids,
                "special": np.pad(tokens.special, behind, constant_values=True),
                "position": np.broadcast_to(np.arange(ids.shape[1]), ids.shape),
            },
        }
        return Batch(self.host(tokens.ids), range(len(samples)), columns)

    def activation(self, tap: Tap, array: torch.Tensor, batch: Batch) -> Activation:
        if "token" not in tap.axes:
            return Activation(array, tap.axes)
        real = np.arange(self._length) < batch.columns["sample"]["tokens"][:, None]
        real = np.pad(real, ((0, 0), (0, self._class)), constant_values=True)
        sizes = dict(zip(("sample", "token"), real.shape, strict=True))
        return Activation(array, tap.axes, real.reshape([sizes.get(axis, 1) for axis in tap.axes]))

    def preview(self, batch: Batch) -> list[Preview | None]:
        counts = batch.columns["sample"]["tokens"]
        texts = zip(batch.inputs.tolist(), counts, strict=True)
        return [Preview("text", self._tokenizer.text(ids[:count])) for ids, count in texts]


def _tag(config: OpenClipConfig) -> Mapping[str, Any]:
    """What open_clip knows of the weights; of random and local ones, the preprocessing all tags share."""
    name, weights = config.name, config.weights
    if name not in open_clip.list_models():
        names = open_clip.list_models()
        raise ModelError(
            f"open_clip has no model called '{name}'",
            hint=did_you_mean(name, names, "open_clip.list_models() lists them"),
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if isinstance(weights, Path) or weights == RANDOM:
        known = [open_clip.get_pretrained_cfg(name, tag) for tag in tags]
        wanted = [{key: tag.get(key) for key in _PREPROCESS} for tag in known]
        return wanted[0] if wanted and all(each == wanted[0] for each in wanted) else {}
    if not open_clip.is_pretrained_cfg(name, weights):
        listed = f"there are: {', '.join([*tags, 'random'])}, or a file"
        raise ModelError(
            f"open_clip's '{name}' has no weights called '{weights}'",
            hint=did_you_mean(weights, tags, listed),
        )
    found: Mapping[str, Any] = open_clip.get_pretrained_cfg(name, weights)
    return found


def _hub(tag: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The repository of a tag, and the names its file may have there, the likeliest first."""
    repository, _, file = tag["hf_hub"].rpartition("/")
    if file:
        return repository, [file, f"{file.rpartition('.')[0]}.safetensors"]
    safe = repository.startswith(("timm/", "laion/"))
    return repository, [_SAFE, _PLAIN] if safe else [_PLAIN, _SAFE]


def _licence(tag: str, repository: str) -> str:
    if repository.startswith("laion/"):
        return "MIT"
    known = (licence for start, licence in _LICENCES.items() if tag.startswith(start))
    return next(known, "not stated")


@contextmanager
def _silent() -> Iterator[None]:
    """Without the warning that a model without weights is random: its weights come later."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
