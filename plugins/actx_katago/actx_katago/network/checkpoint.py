"""KataGo's training checkpoints (``model.ckpt``), opened without running anything that is in them."""

from __future__ import annotations

import io
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from actx_core import ModelError
from actx_katago.network.convert import convert
from actx_katago.network.description import Description
from actx_katago.network.tokens import Array, Weights

_PREFIX = re.compile(r"^((module|_orig_mod)\.)+")


def read_checkpoint(
    file: Path, member: Mapping[str, bytes] | None, *, swa: bool
) -> tuple[Description, Weights, bool]:
    """The network of a checkpoint as KataGo would export it, and whether its weights are the averaged ones.

    ``member`` holds model.ckpt, and its configuration, where they were taken out of a zip file.
    """
    where = str(file)
    content = _loaded(io.BytesIO(member["model.ckpt"]) if member else file, where)
    config = content.get("config")
    config = _config_beside(file, member) if config is None else _plain_config(config, where)
    averaged = swa and isinstance(content.get("swa_model"), Mapping)
    state = content.get("swa_model" if averaged else "model")
    if not isinstance(config, Mapping) or not isinstance(state, Mapping):
        missing = "config" if isinstance(state, Mapping) else "model"
        raise ModelError(
            f"the checkpoint has no '{missing}': it holds {', '.join(map(str, content)) or 'nothing'}",
            where=where,
            hint="KataGo keeps older configurations in model.config.json: put that beside it"
            if missing == "config"
            else "",
        )
    name = file.parent.name if file.name == "model.ckpt" else file.stem
    name = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:96] or "model"
    size = len(member["model.ckpt"]) if member else file.stat().st_size
    description, weights = convert(_arrays(state, size, where), config, name, where)
    return description, weights, averaged


def _plain(*_: Any) -> dict[Any, Any]:
    return {}


# torch puts nothing into a defaultdict, and the metrics of older checkpoints are some: take a plain one.
_ALLOWED: list[Any] = [
    (_plain, "collections.defaultdict"),
    (float, "builtins.float"),
    (float, "__builtin__.float"),
]


def _loaded(source: Path | io.BytesIO, where: str) -> Mapping[str, Any]:
    try:
        with torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f"it names {found[1]}, which is no weight" if found else "it is damaged"
        raise ModelError(
            f"the checkpoint was not opened, because {what}",
            where=where,
            hint="only tensors and plain values are read: a checkpoint could run anything else",
        ) from None
    except Exception as error:  # whatever torch says of a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the checkpoint cannot be read: {reason}", where=where) from None
    if not isinstance(content, Mapping):
        raise ModelError(
            f"expected a checkpoint with 'model' and 'config', found {type(content).__name__}",
            where=where,
        )
    return content


def _config_beside(file: Path, member: Mapping[str, bytes] | None) -> Any:
    beside = file.with_name("model.config.json")
    if member is not None:
        text = member.get("model.config.json")
    else:
        text = beside.read_bytes() if beside.is_file() else None
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ModelError(f"it is no JSON: {error}", where=str(beside)) from None


def _plain_config(config: Any, where: str) -> Any:
    """A configuration as it would stand in a JSON file, where anything else has no business."""
    try:
        return json.loads(json.dumps(config))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"its configuration is no plain data: {error}", where=where) from None


def _arrays(state: Mapping[Any, Any], size: int, where: str) -> dict[str, Array]:
    """The tensors of a state dict in float32, without the prefixes of wrappers.

    A few bytes may claim to be any number of tensors; together they cannot be more than the file's ``size``.
    """
    arrays: dict[str, Array] = {}
    claimed = 0
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            continue
        if not value.is_floating_point():
            continue
        if value.layout != torch.strided or value.device.type != "cpu":
            raise ModelError(f"'{key[:80]}' is no plain tensor with its numbers", where=where)
        claimed += value.numel() * value.element_size()
        if claimed > size:
            raise ModelError(
                f"'{key[:80]}' claims {value.numel()} numbers: more than the {size} bytes of the file",
                where=where,
            )
        arrays[_PREFIX.sub("", key)] = value.detach().to(torch.float32).contiguous().numpy()
    return arrays
