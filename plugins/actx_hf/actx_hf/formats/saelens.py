"""The format ``saelens``: a cached-activations data set, as SAELens' CacheActivationsRunner leaves it."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pyarrow as pa

from actx_core import Format, Input, StoreError, atomic, sha256_file
from actx_hf.formats.config import SaeLensConfig
from actx_hf.formats.shared import BLOCK, below, expect_folder, flaws, width

if TYPE_CHECKING:
    from actx_core import Run, TapArray

DATA, INFO, STATE = "data-00000-of-00001.arrow", "dataset_info.json", "state.json"
IDS = "token_ids"
_HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp.post": "mlp.hook_post",
    "z": "attn.hook_z",
}
_POINT = re.compile(r"(blocks\.\d+)\.(.+)")


class SaeLens(Format[SaeLensConfig]):
    """Per array a folder for ``datasets.load_from_disk``: ``path``, or ``path/source/model/tap`` for several.

    A line holds ``context_size`` consecutive rows as an Array2D, in a column that has TransformerLens'
    name of the hook (``blocks.9.hook_resid_post``; others keep theirs), and their ``token_ids``.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        expect_folder(path)
        files: list[Path] = []
        with ExitStack() as stack:
            for name in run.arrays:
                tap = run[name]
                folder = path if len(run.arrays) == 1 else below(path, tap)
                folder.mkdir(parents=True, exist_ok=True)
                parts = [stack.enter_context(atomic(folder / part)) for part in (DATA, INFO, STATE)]
                self._put(tap, *parts)
                files += [folder / part for part in (DATA, INFO, STATE)]
        return files

    def _put(self, tap: TapArray, data: Path, info: Path, state: Path) -> None:
        size = self.config.context_size
        lines, rest = divmod(len(tap), size)
        if not lines:
            what = f"expected at least {size} tokens, one context, found {len(tap)}"
            raise StoreError(what, where=tap.name, hint="set context_size of the export")
        if rest:
            warnings.warn(
                f"{tap.name}: the last {rest} tokens do not fill a context of {size}; SAELens has no"
                " place for them",
                stacklevel=2,
            )
        features = self._features(tap)
        _write_arrow(data, tap, features, lines, size)
        info.write_text(json.dumps({"features": features.to_dict()}), "utf-8")
        about: dict[str, Any] = {
            "_data_files": [{"filename": DATA}],
            "_fingerprint": hashlib.sha256(f"{tap.digest}/{size}".encode()).hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        state.write_text(json.dumps(about, indent=2), "utf-8")

    def _features(self, tap: TapArray) -> datasets.Features:
        size = self.config.context_size
        shape = (size, width(tap))
        found: dict[str, Any] = {hook_name(tap.spec.tap): datasets.Array2D(shape, tap.dtype.name)}
        if "token_id" in tap.rows.column_names:
            found[IDS] = datasets.List(datasets.Value("int32"), length=size)
        return datasets.Features(found)

    def knows(self, path: Path) -> bool:
        """A folder with a data set that has columns of matrices."""
        if not (path / STATE).is_file() or not (path / INFO).is_file():
            return False
        return "Array2D" in (path / INFO).read_text("utf-8", errors="replace")

    def check(self, path: Path) -> Sequence[str]:
        return flaws(lambda: self.read(path))

    def read(self, path: Path) -> Sequence[Input]:
        """An array per hook, its rows the tokens of all contexts in order."""
        try:
            found = datasets.load_from_disk(str(path))
        except (OSError, ValueError, KeyError, pa.ArrowInvalid) as error:
            reason = str(error).splitlines()[0]
            raise StoreError(
                f"expected a data set of SAELens: {reason}", where=str(path)
            ) from error
        if not isinstance(found, datasets.Dataset):
            raise StoreError("expected one data set, found several splits", where=str(path))
        files = [sha256_file(Path(file["filename"])) for file in found.cache_files]
        inputs = []
        for name, feature in found.features.items():
            if isinstance(feature, datasets.Array2D):
                content = hashlib.sha256("/".join([*files, name]).encode()).hexdigest()
                rows = _rows(found, feature.shape[0])
                array = Contexts(found, name)
                inputs.append(Input(name, array, ("row", "channel"), rows, content))
        return inputs


def hook_name(tap: str) -> str:
    """TransformerLens' name of a hook point; a tap that it does not name keeps its own."""
    point = _POINT.fullmatch(tap)
    if point is None or point[2] not in _HOOKS:
        return tap
    return f"{point[1]}.{_HOOKS[point[2]]}"


class Contexts:
    """(contexts x tokens, channels) of one column; reads the contexts that a selection touches."""

    def __init__(self, found: datasets.Dataset, name: str) -> None:
        feature = found.features[name]
        self._found, self._name = found.with_format("arrow", columns=[name]), name
        self._size = feature.shape[0]
        self.shape = (len(found) * self._size, feature.shape[1])
        self.dtype: np.dtype[Any] = np.dtype(feature.dtype)

    def __getitem__(self, rows: Any) -> np.ndarray:
        numbers = np.arange(self.shape[0])[rows]
        contexts, places = np.divmod(np.atleast_1d(numbers), self._size)
        wanted, which = np.unique(contexts, return_inverse=True)
        values: np.ndarray = self._read(wanted)[which, places]
        return values if np.ndim(numbers) else values[0]

    def _read(self, contexts: np.ndarray) -> np.ndarray:
        if not len(contexts):
            return np.empty((0, self._size, self.shape[1]), self.dtype)
        chunks = self._found[contexts.tolist()][self._name].chunks
        return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in chunks])


def _rows(found: datasets.Dataset, size: int) -> pa.Table:
    """Context, place and, where the data set has it, the id of each token."""
    contexts = pa.array([f"{number:08}" for number in range(len(found))], pa.string())
    columns = {
        "sample": contexts.take(pa.array(np.repeat(np.arange(len(found)), size))),
        "token": np.tile(np.arange(size), len(found)),
    }
    if IDS in found.column_names:
        ids = found.with_format("arrow", columns=[IDS])[:][IDS]
        columns["token_id"] = ids.combine_chunks().flatten()
    return pa.table(columns)


def _write_arrow(
    path: Path, tap: TapArray, features: datasets.Features, lines: int, size: int
) -> None:
    schema = features.arrow_schema
    name = next(iter(features))
    ids = tap.rows["token_id"].to_numpy() if IDS in features else None
    step = max(1, BLOCK // (size * max(1, tap.spec.row_bytes)))
    with path.open("wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for start in range(0, lines, step):
            rows = slice(start * size, min(start + step, lines) * size)
            columns = [_matrices(tap[rows], size, schema.field(name).type)]
            if ids is not None:
                tokens = pa.array(ids[rows].astype(np.int32))
                columns.append(pa.FixedSizeListArray.from_arrays(tokens, size))
            stream.write_batch(pa.record_batch(columns, schema=schema))


def _matrices(rows: np.ndarray, size: int, kind: Any) -> pa.Array:
    """Rows as an array of matrices (size, channels)."""
    channels = rows.shape[1]
    flat = pa.array(np.ascontiguousarray(rows).reshape(-1))
    vectors = pa.ListArray.from_arrays(np.arange(len(rows) + 1, dtype=np.int32) * channels, flat)
    offsets = np.arange(len(rows) // size + 1, dtype=np.int32) * size
    return pa.ExtensionArray.from_storage(kind, pa.ListArray.from_arrays(offsets, vectors))
