"""The format ``katago-pooled``: the files that pooling scripts for KataGo networks leave."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from actx_core import Config, Format, Run, StoreError, TapArray, atomic, sha256_file
from actx_katago.model.taps import HEADS
from actx_katago.outputs.arrays import expect_positions, finished
from actx_katago.outputs.index import Index, row_index

INDEX = "pos_index_to_npz.txt"
META = "pooled_meta.json"
_STREAM = re.compile(r"trunk_after_block(\d+)")
_BOARD = {"y", "x"}


class KatagoPooled(Format[Config]):
    """``pooled_TAP.npy`` (rows, channels), ``pooled_meta.json`` and ``pos_index_to_npz.txt`` in a folder.

    The stream ``trunk_after_block9`` is ``pooled_trunk_block_9.npy``; the heads of the same network are
    beside, as they are: ``value.npy``. Several pooled taps are a folder ``source/model/tap`` each.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        if path.exists() and not path.is_dir():
            hint = "give the path of a folder"
            raise StoreError("expected a folder, found a file", where=str(path), hint=hint)
        finished(run)
        files: list[Path] = []
        with ExitStack() as stack:
            for folder, arrays in _folders(run, path).items():
                folder.mkdir(parents=True, exist_ok=True)
                names = [*map(_file_name, arrays), INDEX, META]
                new = {name: stack.enter_context(atomic(folder / name)) for name in names}
                for array in arrays:
                    _write_npy(new[_file_name(array)], array)
                index = row_index(arrays[0])
                new[INDEX].write_text(index.text(), "utf-8", newline="\n")
                about = _meta(arrays[0], index, new)
                new[META].write_text(f"{json.dumps(about, indent=2)}\n", "utf-8", newline="\n")
                files += [folder / name for name in names]
        return files


def _folders(run: Run, path: Path) -> Mapping[Path, Sequence[TapArray]]:
    """The arrays of each folder: a pooled tap, and the heads of its cell.

    Raises StoreError for a tap that is not pooled to one vector per position, and where none is.
    """
    arrays = [run[name] for name in run.arrays]
    pooled = [array for array in arrays if not _is_head(array)]
    if not pooled:
        what = f"expected a pooled tap, found only heads: {', '.join(run.arrays)}"
        raise StoreError(what, where=str(run.path), hint="tap a stream such as trunk_after_block9")
    for array in arrays:
        expect_positions(array)
    for array in pooled:
        if not array.tap.pool and _BOARD & set(array.axes):
            raise StoreError(
                f"expected a vector per position, found the axes {list(array.axes[1:])}",
                where=f"{run.path}: {array.name}",
                hint="pool the tap over y and x",
            )
    return {
        _folder(array, path, len(pooled)): [
            array,
            *(head for head in arrays if _is_head(head) and head.cell.id == array.cell.id),
        ]
        for array in pooled
    }


def _folder(array: TapArray, path: Path, count: int) -> Path:
    place = (array.spec.source, array.spec.model, array.spec.tap)
    return path.joinpath(*(quote(part, safe="") for part in place)) if count > 1 else path


def _is_head(array: TapArray) -> bool:
    return HEADS.fullmatch(array.spec.tap) is not None


def _file_name(array: TapArray) -> str:
    tap = array.spec.tap
    if stream := _STREAM.fullmatch(tap):
        tap = f"trunk_block_{stream[1]}"
    return f"{'' if _is_head(array) else 'pooled_'}{quote(tap, safe='')}.npy"


def _write_npy(path: Path, array: TapArray) -> None:
    """A head in its own shape, anything else as (rows, channels)."""
    rows, *shape = array.shape
    about = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": (rows, *shape) if _is_head(array) else (rows, prod(shape)),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, about)
        for _, block in array.blocks():
            file.write(np.ascontiguousarray(block).data)


def _meta(array: TapArray, index: Index, new: Mapping[str, Path]) -> dict[str, Any]:
    """What a reader needs to know of the pooled array, and the digests of all files."""
    cell, tap = array.cell, array.tap.tap
    sizes = zip(tap.axes[1:], tap.shape, strict=True)
    about = array.run.manifest["cells"][cell.id]["model"]["facts"]
    return {
        "date": array.run.manifest["timings"]["written"],
        "source_model": cell.request["model"].get("network", cell.model),
        "layer": array.spec.tap,
        "positions": len(array),
        "original_channels": prod(n for axis, n in sizes if axis not in _BOARD and n),
        "pooled_channels": prod(array.spec.row_shape),
        "pooling_method": "; ".join(map(_words, array.tap.pool)) or "none",
        "batch_size": cell.batch_size,
        "axes": list(array.axes),
        "index_columns": list(index.columns),
        "network_sha256": about.get("network", {}).get("sha256"),
        "inputs_sha256": index.inputs_sha256,
        "files_sha256": {name: sha256_file(p) for name, p in new.items() if name != META},
    }


def _words(pooler: Mapping[str, Any]) -> str:
    """``mean over y, x``."""
    said = [str(pooler["type"]).rpartition("/")[2]]
    for key, value in pooler.items():
        if key != "type":
            said.append(f"{key} {', '.join(value) if isinstance(value, list) else value}")
    return " ".join(said)
