"""What is known of a text model without its weights: its taps, what it takes, how much it reads at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn

from actx_core import ActxError, ModelError, Tap
from actx_hf.hooks import Hooks, resolve
from actx_hf.models import loading
from actx_hf.models.config import TransformersConfig
from actx_hf.models.spots import Spot, canonical, probe

LOGITS = "logits"


@dataclass(frozen=True)
class Architecture:
    """A text model without weights.

    ``longest`` is how many tokens it can read, None without a limit. ``pad`` is an id to fill rows up with,
    ``start`` the one with which a decoder beside an encoder begins, ``positions`` whether they can be given.
    """

    spots: Mapping[str, Spot]
    vocabulary: int
    longest: int | None
    pad: int
    start: int | None
    positions: bool


def architecture(config: TransformersConfig) -> Architecture:
    """Read the architecture. Raises ModelError where the model cannot be built, or takes no text."""
    try:
        return _read(config, "meta")
    except ActxError:
        raise
    except Exception:  # what cannot run without values: any library's own error
        return _read(config, "cpu")


def arguments(module: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Those inputs that the module takes, and that it shall keep no cache."""
    known = signature(module.forward).parameters
    options = {"use_cache": False} if "use_cache" in known else {}
    return {name: value for name, value in inputs.items() if name in known} | options


def _read(config: TransformersConfig, device: str) -> Architecture:
    with torch.device(device), torch.no_grad():
        module = loading.skeleton(config)
        options: Any = module.config
        known = signature(module.forward).parameters
        if "input_ids" not in known:
            raise ModelError(
                f"{type(module).__name__} takes no text",
                where=str(config.name),
                hint="type = 'transformers-vision' is for models that take images",
            )
        hooks = resolve(module)
        raw = _probed(module, config.dtype)
        size, logits = _head(config)
    embedding: Any = module.get_input_embeddings()  # type: ignore[operator]
    vocabulary = int(embedding.weight.shape[0])
    pad = options.pad_token_id
    decoder = options.is_encoder_decoder
    spots: dict[str, Spot] = {}
    for spot in _ordered(hooks, raw, _logits(config, size, logits)):
        spots.setdefault(spot.tap.name, spot)
    return Architecture(
        spots,
        vocabulary,
        _longest(module, options),
        pad if isinstance(pad, int) and 0 <= pad < vocabulary else 0,
        int(options.decoder_start_token_id or 0) if decoder else None,
        "position_ids" in known and not decoder,
    )


def _probed(module: nn.Module, dtype: str) -> list[Spot]:
    """All taps by module path; some models can only make a mask from one that is given."""
    device = next(module.parameters()).device
    options: Any = module.config
    error: Exception | None = None
    for mask in ("", "ones", "square"):

        def inputs(samples: int, tokens: int, mask: str = mask) -> dict[str, Any]:
            ids = torch.zeros(samples, tokens, dtype=torch.long, device=device)
            given = {"input_ids": ids}
            if options.is_encoder_decoder:
                given["decoder_input_ids"] = ids
            if mask == "ones":
                given["attention_mask"] = torch.ones_like(ids)
            elif mask:
                shape = (samples, 1, tokens, tokens)
                given["attention_mask"] = torch.ones(shape, dtype=torch.bool, device=device)
            return arguments(module, given)

        try:
            return probe(module, inputs, dtype)
        except Exception as failed:  # any library's own error
            error = error or failed
    assert error is not None
    raise error


def _head(config: TransformersConfig) -> tuple[int, str]:
    """The size of the logits, or why there are none."""
    name = loading.head_of(config)
    if not name:
        return 0, "the checkpoint has no head: its architecture is a base model"
    with torch.device("meta"):
        head: Any = loading.skeleton(config, head=True).get_output_embeddings()  # type: ignore[operator]
    if head is None:
        return 0, f"the head of the checkpoint, of {name}, gives no logits for tokens"
    return int(head.weight.shape[0]), ""


def _logits(config: TransformersConfig, size: int, problem: str) -> Spot:
    if problem:
        return Spot(Tap(LOGITS, (), (), problem=problem), "", "out")
    tap = Tap(LOGITS, ("sample", "token", "channel"), (None, size), config.dtype, kind="token")
    return Spot(tap, "", "out", element=LOGITS, front=(0, 1))


def _ordered(hooks: Hooks, raw: list[Spot], logits: Spot) -> Iterator[Spot]:
    """Canonical taps, each before the module's own name for it; then what cannot be taken."""
    places: dict[Any, list[Spot]] = defaultdict(list)
    for spot in canonical(hooks.places, raw):
        places[spot.place].append(spot)
    for spot in raw:
        yield from places.pop(spot.place, ())
        yield spot
    yield logits
    for name, why in hooks.problems.items():
        yield Spot(Tap(name, (), (), problem=why), "", "out")


def _longest(module: nn.Module, options: Any) -> int | None:
    """Tokens that the model has positions for; those of RoBERTa begin behind the padding's."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    longest = getattr(options.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else None
