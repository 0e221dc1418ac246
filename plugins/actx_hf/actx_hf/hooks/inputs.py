"""Small made-up inputs that a transformers model accepts, for dry runs and self-checks."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import Any

import torch
from torch import nn

TOKENS = 7


def attempts(module: nn.Module) -> Iterator[dict[str, Any]]:
    """Inputs of one sample to try in this order, on the module's device.

    Masks change no structure, but without values some models can only make theirs from a given one.
    """
    names = set(signature(module.forward).parameters)
    inputs: dict[str, Any] = {"use_cache": False} if "use_cache" in names else {}
    device = next(module.parameters()).device
    image = {"pixel_values": _image(module, device)} if "pixel_values" in names else {}
    if "input_ids" not in names:
        yield {**inputs, **image}
        return
    inputs["input_ids"] = ids = _token_ids(module, device)
    if "decoder_input_ids" in names:
        inputs["decoder_input_ids"] = ids[:, 2:]
    ones = torch.ones_like(ids)
    square = torch.ones(1, 1, TOKENS, TOKENS, dtype=torch.bool, device=device)
    for pixels in ({}, image) if image else ({},):
        yield {**inputs, **pixels}
        yield {**inputs, **pixels, "attention_mask": ones}
        yield {**inputs, **pixels, "attention_mask": square}


def _token_ids(module: nn.Module, device: torch.device) -> torch.Tensor:
    """Token numbers spread over the vocabulary, (1, token)."""
    config: Any = module.config
    size: int = config.get_text_config().vocab_size
    return (torch.arange(TOKENS, device=device) * 37 + 11).remainder(size)[None]


def _image(module: nn.Module, device: torch.device) -> torch.Tensor:
    config: Any = module.config
    config = getattr(config, "vision_config", config)
    size = getattr(config, "image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    channels = getattr(config, "num_channels", 3)
    ramp = torch.linspace(-1, 1, channels * height * width, device=device)
    return ramp.reshape(1, channels, height, width).sin()
