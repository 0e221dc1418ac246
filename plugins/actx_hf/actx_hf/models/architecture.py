"""What is known of a text model without its weights: its taps, what it takes, how much it reads at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import signature
from typing import Any

import torch
from torch import nn

from actx_core import ActxError, ModelError, Tap
from actx_core.torch import Point
from actx_hf.hooks import Hooks
from actx_hf.models import loading
from actx_hf.models.config import TransformersConfig
from actx_hf.models.points import canonical, place_of, probe

LOGITS = "logits"


@dataclass(frozen=True)
class Architecture:
    """A text model without weights.

    ``longest`` is how many tokens it can read, None without a limit. ``pad`` is an id to fill rows up with,
    ``start`` the one with which a decoder beside an encoder begins, ``positions`` whether they can be given,
    ``turn`` the length beyond which a text makes the model read all texts of a pass otherwise.
    """

    points: Mapping[str, Point]
    vocabulary: int
    longest: int | None
    pad: int
    start: int | None
    positions: bool
    turn: int | None


def architecture(config: TransformersConfig) -> Architecture:
    """Read the architecture, once for a configuration.

    Raises ModelError where the model cannot be built, or takes no text.
    """
    return _architecture(loading.as_text(config), config)


@lru_cache(maxsize=8)
def _architecture(_: str, config: TransformersConfig) -> Architecture:
    try:
        return _read(config, "meta")
    except ActxError:
        raise
    except Exception:  # what cannot run without values: any library's own error
        pass
    try:
        return _read(config, "cpu")
    except ActxError:
        raise
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ModelError(
            f"its architecture cannot be read: {lines[0]}", where=str(config.name)
        ) from error


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
        hooks = loading.hooks(config)
        raw = _probed(module, config.dtype)
        size, logits = _head(config)
    embedding: Any = module.get_input_embeddings()  # type: ignore[operator]
    vocabulary = int(embedding.weight.shape[0])
    pad = getattr(options.get_text_config(), "pad_token_id", None)
    decoder = options.is_encoder_decoder
    points: dict[str, Point] = {}
    for point in _ordered(hooks, raw, _logits(config, size, logits)):
        points.setdefault(point.tap.name, point)
    return Architecture(
        points,
        vocabulary,
        _longest(module, options),
        pad if isinstance(pad, int) and 0 <= pad < vocabulary else 0,
        int(getattr(options, "decoder_start_token_id", None) or 0) if decoder else None,
        "position_ids" in known and not decoder,
        _turn(options),
    )


def _probed(module: nn.Module, dtype: str) -> list[Point]:
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


def _logits(config: TransformersConfig, size: int, problem: str) -> Point:
    if problem:
        return _without(LOGITS, problem)
    tap = Tap(LOGITS, ("sample", "token", "channel"), (None, size), config.dtype, kind="token")
    return Point(tap, "", 0, "out", LOGITS, front=(0, 1))


def _without(name: str, problem: str) -> Point:
    """A tap that cannot be taken."""
    return Point(Tap(name, (), (), problem=problem), "", 0, "out")


def _ordered(hooks: Hooks, raw: list[Point], logits: Point) -> Iterator[Point]:
    """Canonical taps, each before the module's own name for it; then what cannot be taken."""
    places: dict[Any, list[Point]] = defaultdict(list)
    for point in canonical({k: v for k, v in hooks.places.items() if k != LOGITS}, raw):
        places[place_of(point)].append(point)
    for point in raw:
        yield from places.pop(place_of(point), ())
        yield point
    yield logits
    for name, why in hooks.problems.items():
        yield _without(name, why)


def _longest(module: nn.Module, options: Any) -> int | None:
    """Tokens that the model reads at once, whatever it read before."""
    known = _positions(module, options)
    if getattr(options, "attention_type", "") != "block_sparse":
        return known
    # BigBird attends to all up to here. Beyond, it is sparse, its last block sees padding, and after one
    # shorter text it never is sparse again.
    dense: int = (5 + 2 * options.num_random_blocks) * options.block_size
    return min(dense, known or dense)


def _positions(module: nn.Module, options: Any) -> int | None:
    """Tokens that the model has positions for; those of RoBERTa begin behind the padding's."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, nn.Embedding):
            return part.num_embeddings - (0 if part.padding_idx is None else part.padding_idx + 1)
    longest = getattr(options.get_text_config(), "max_position_embeddings", None)
    return longest if isinstance(longest, int) and longest > 0 else None


def _turn(options: Any) -> int | None:
    """Beyond these tokens LongRoPE has other angles, for all texts of the pass (Ding et al. 2024)."""
    given = getattr(options.get_text_config(), "rope_parameters", None) or {}
    sets = [given, *(each for each in given.values() if isinstance(each, dict))]
    turns = {
        each["original_max_position_embeddings"]
        for each in sets
        if each.get("rope_type") == "longrope"
    }
    return min(turns, default=None)
