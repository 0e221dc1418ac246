"""The format ``deeplens``: ``features_layer_{layer}_{tokens}.pt`` per array, as DeepLens saves it."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa
import torch

from actx_core import Config, Format, Input, StoreError, atomic, sha256_file
from actx_hf.formats.shared import BLOCK, below, expect_folder, flaws, width

if TYPE_CHECKING:
    from actx_core import Run, TapArray

_FILE = re.compile(r"features_layer_(\d+)_(\d+)\.pt")
_NUMBER = re.compile(r"(?:^|\.)(\d+)(?=\.|$)")


class DeepLens(Format[Config]):
    """A float32 tensor (rows, channels) per array, which ``torch.load`` reads with ``weights_only``.

    The files lie in ``path``; in ``path/source/model/tap`` where a run has several sources or models, or
    two taps of one layer.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        expect_folder(path)
        taps = [run[name] for name in run.arrays]
        cells = {(tap.spec.source, tap.spec.model) for tap in taps}
        alone = len(cells) == 1 and len({_layer(tap) for tap in taps}) == len(taps)
        files = []
        with ExitStack() as stack:
            for tap in taps:
                width(tap)
                folder = path if alone else below(path, tap)
                folder.mkdir(parents=True, exist_ok=True)
                files.append(folder / f"features_layer_{_layer(tap)}_{len(tap)}.pt")
                _save(tap, stack.enter_context(atomic(files[-1])))
        return files

    def knows(self, path: Path) -> bool:
        """A file of that name."""
        return path.is_file() and _FILE.fullmatch(path.name) is not None

    def check(self, path: Path) -> Sequence[str]:
        return flaws(lambda: self.read(path))

    def read(self, path: Path) -> Sequence[Input]:
        """The array ``layer_N``, mapped. Raises StoreError where the file is not what its name says."""
        name = _FILE.fullmatch(path.name)
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"expected a tensor of torch.save: {reason}", where=str(path)
            ) from error
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or not found.is_floating_point():
            shape = list(getattr(found, "shape", ()))
            what = f"expected a matrix of floats, found {type(found).__name__} {shape}"
            raise StoreError(what, where=str(path))
        if name is None or len(found) != int(name[2]):
            what = f"expected as many rows as the name says, found {len(found)}"
            raise StoreError(what, where=str(path))
        array = (found.float() if found.dtype == torch.bfloat16 else found).numpy()
        rows = pa.table({"sample": [f"{row:08}" for row in range(len(array))]})
        tap = f"layer_{name[1]}"
        digest = hashlib.sha256(f"{sha256_file(path)}/{tap}".encode()).hexdigest()
        return [Input(tap, array, ("row", "channel"), rows, digest)]


def _layer(tap: TapArray) -> int:
    number = _NUMBER.search(tap.spec.tap)
    if number is None:
        hint = "such as blocks.6.mlp.post; other taps go with another format"
        raise StoreError("expected a tap of a numbered block", where=tap.name, hint=hint)
    return int(number[1])


def _save(tap: TapArray, path: Path) -> None:
    """Save an array in bounded memory: torch writes a tensor that lies in a file."""
    with TemporaryFile(dir=path.parent) as raw, path.open("wb") as file:
        torch.save(_mapped(tap, raw), file)  # a path would go into the file: other bytes each time


def _mapped(tap: TapArray, raw: BinaryIO) -> torch.Tensor:
    if not len(tap):
        return torch.empty(tap.shape)
    for _, block in tap.blocks(BLOCK):
        raw.write(np.ascontiguousarray(block, np.float32).reshape(-1).view(np.uint8).data)
    raw.flush()
    return torch.from_numpy(np.memmap(raw, np.float32, "c", shape=tap.shape))
