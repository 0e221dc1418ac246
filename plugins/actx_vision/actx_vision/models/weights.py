"""Where the file of published weights is: in the user's folders, in torch's cache, or on the network."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from torch import nn

from actx_core import ModelError, sha256_file
from actx_core.packages import package_path
from actx_core.torch import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from actx_vision.models.config import ImageModelConfig

FOLDER = "ACTX_WEIGHTS"
"""The environment variable that names a folder of weights, for entries that do not say ``weights_dir``."""

_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.")


def find_weights(config: ImageModelConfig, names: Sequence[str]) -> Path | None:
    """The first of these published files in ``weights_dir``, else in the folder ACTX_WEIGHTS.

    None where neither has one. Raises ModelError where such a folder does not exist, or where a file is
    not the one whose sha256 its name gives (``resnet50-0676ba61.pth``).
    """
    for said, folder in _folders(config).items():
        if not folder.is_dir():
            raise ModelError(f"{said} names no folder", where=str(folder))
        for name in names:
            if (file := folder / name).is_file():
                return _checked(file)
    return None


def fetch(config: ImageModelConfig, address: str, what: str) -> Path:
    """The file behind an address: where ``find_weights`` finds it, in torch's cache, or downloaded there.

    Raises ModelError, with the address and where the file goes, if it is not to be had.
    """
    name = file_name(address)
    if found := find_weights(config, [name]):
        return found
    cached = Path(torch.hub.get_dir(), "checkpoints", name)
    if not cached.is_file():
        digest = _DIGEST.search(name)
        try:
            knock(address)
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(
                address, str(cached), digest and digest[1], progress=sys.stderr.isatty()
            )
        except (OSError, RuntimeError) as error:  # RuntimeError: another digest than expected
            raise missing_weights(config, what, error, address, name, str(cached)) from error
    return cached


def file_name(address: str) -> str:
    """What a download from this address is called."""
    return Path(urlsplit(address).path).name


def knock(address: str) -> None:
    """Fail within seconds where nobody answers: downloaders try, or wait, for minutes. Raises OSError."""
    with suppress(HTTPError):  # somebody answered; whether we may have it, the download tells
        urlopen(Request(address, method="HEAD"), timeout=10).close()


def missing_weights(
    config: ImageModelConfig, what: str, error: Exception, address: str, name: str, cached: str = ""
) -> ModelError:
    """The one error for weights that are neither here nor to be had.

    ``name`` is what the file is called in a folder of weights, ``cached`` where its library looks for it.
    """
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    folders = list(_folders(config).values())
    put = f"put it at {folders[0] / name if folders else cached}"
    if not folders and not cached:
        put = f'put it as {name} in a folder, and say weights_dir = "that folder"'
    return ModelError(
        f"the weights of '{what}' are not on this machine and cannot be downloaded: {reason}",
        hint=f'download {address} elsewhere and {put}; or say weights = "random"',
    )


class _Reader(nn.Module):
    """Stands where a network would and keeps the state dict: ``load_checkpoint`` does the checking."""

    def load_state_dict(self, state_dict: Mapping[str, Any], *_: Any, **__: Any) -> Any:
        self.state = dict(state_dict)


def read_weights(file: str | Path) -> dict[str, Any]:
    """The state dict in a local file, read with weights only. Raises ModelError."""
    reader = _Reader()
    load_checkpoint(reader, file)
    return reader.state


def load_strictly(module: nn.Module, state: Mapping[str, Any], origin: str) -> None:
    """Load a state dict whose every key and shape must fit. Raises ModelError."""
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ModelError(
            f"the weights do not fit {type(module).__name__}: {shortened(error)}", where=origin
        ) from error


def check_sizes(state: Mapping[str, Any], module: nn.Module, origin: str) -> None:
    """Refuse weights for pictures or texts of another size: timm and open_clip stretch them without a word.

    What keeps its name must keep its number of values. Raises ModelError.
    """
    own = module.state_dict()
    for key, value in state.items():
        wanted = own.get(key, own.get(f"text.{key}"))  # files may lack the text tower's prefix
        if wanted is None or not isinstance(value, torch.Tensor):
            continue  # renamed by the library, or refused by it
        if value.numel() != wanted.numel():
            raise ModelError(
                f"expected {key} of shape {list(wanted.shape)}, found {list(value.shape)}",
                where=origin,
                hint="the weights belong to a model for another size of pictures or texts, or other classes",
            )


def shortened(error: Exception) -> str:
    """The beginning of a message on one line: torch lists every key."""
    return " ".join(str(error).split())[:240]


def _folders(config: ImageModelConfig) -> dict[str, Path]:
    """The user's folders of weights, by what names them."""
    said = {"weights_dir": config.weights_dir, FOLDER: os.environ.get(FOLDER, "")}
    return {name: package_path(folder).expanduser() for name, folder in said.items() if folder}


def _checked(file: Path) -> Path:
    """The file, if its content is what its name says."""
    if named := _DIGEST.search(file.name):
        found = sha256_file(file)
        if not found.startswith(named[1]):
            raise ModelError(
                f"not the published file: its sha256 begins with {found[:8]}, its name says {named[1]}",
                where=str(file),
                hint='download it again; your own weights: weights = "path/to/file"',
            )
    return file
