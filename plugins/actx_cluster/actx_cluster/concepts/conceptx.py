"""The format ``conceptx``: points with their words, clusters, CodeConceptNet, and NeuroX's JSON lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from actx_cluster.concepts.cluster_file import read_clusters
from actx_cluster.concepts.concept_net import read_concept_net
from actx_cluster.concepts.config import WordConfig
from actx_cluster.concepts.neurox import read_neurox
from actx_cluster.concepts.words import SEPARATOR, parse_key, table_of, words_of
from actx_core import Format, Input, Run, StoreError, TapArray, atomic, sha256_file

if TYPE_CHECKING:
    import pyarrow as pa

POINT, VOCAB = "processed-point.npy", "processed-vocab.npy"


class ConceptX(Format[WordConfig]):
    """Writes a folder ``source/model/tap`` per array of words; reads any of ConceptX's files.

    ``processed-point.npy`` holds a vector per word, ``processed-vocab.npy`` the words' keys, and
    ``sentences.json`` the sentences that the keys count.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        files: list[Path] = []
        for name in run.arrays:
            tap = run[name]
            parts = (tap.spec.source, tap.spec.model, tap.spec.tap)
            folder = path.joinpath(*(quote(part, safe=" ") for part in parts))
            words = words_of(tap.rows, name, self.config)
            if len(tap.shape) != 2:
                raise StoreError(
                    f"expected a vector per word, found the axes {', '.join(tap.axes)}",
                    where=name,
                    hint="pool the tap",
                )
            folder.mkdir(parents=True, exist_ok=True)
            with atomic(folder / POINT) as temporary:
                _write_points(temporary, tap)
            with atomic(folder / VOCAB) as temporary, temporary.open("wb") as file:
                np.save(file, np.array(words.keys(), np.str_), allow_pickle=False)
            with atomic(folder / "sentences.json") as temporary:
                text = json.dumps(words.texts(), ensure_ascii=False, indent=0)
                temporary.write_text(text, "utf-8")
            files += [folder / name for name in (POINT, VOCAB, "sentences.json")]
        return files

    def knows(self, path: Path) -> bool:
        return _reader(path) is not None

    def check(self, path: Path) -> Sequence[str]:
        try:
            inputs = self.read(path)
            return [
                f"{path}: {one.name} holds values that are not finite in row {row}"
                for one in inputs
                for row in _broken(one)
            ]
        except StoreError as error:
            return [str(error)]

    def read(self, path: Path) -> Sequence[Input]:
        """Points as ``points``, a layer of JSON lines as ``layerN``, clusters of words as ``clusters``.

        Rows have the columns sample (the sentence's number as text), word, occurrence, sentence, position
        and, in files of clusters, cluster: its numbers are then the array too.
        """
        reader = _reader(path)
        if reader is None:
            raise StoreError("expected a file of ConceptX", where=str(path))
        return reader(path)


def _write_points(path: Path, tap: TapArray) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(tap.dtype),
        "fortran_order": False,
        "shape": tap.shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _, block in tap.blocks():
            file.write(np.ascontiguousarray(block).data)


def _reader(path: Path) -> Callable[[Path], Sequence[Input]] | None:
    """What reads a file, by its name and its first bytes; None where it is none of these."""
    if path.is_dir():
        return _read_points if (path / POINT).exists() else None
    if path.suffix == ".npy":
        return _read_points if _vocabulary(path).exists() and "point" in path.name else None
    if path.suffix not in (".txt", ".json", ".jsonl"):
        return None
    with path.open("rb") as file:
        start = file.read(4096)
    if path.suffix == ".txt":
        known = SEPARATOR.encode() in start.partition(b"\n")[0]
        return (lambda path: [_clusters(path, read_clusters(path))]) if known else None
    if start.lstrip().startswith(b"{") and b'"linex_index"' in start[:200]:
        return read_neurox
    if b'"Word"' in start and b'"SentID"' in start:
        return lambda path: [_clusters(path, read_concept_net(path))]
    return None


def _clusters(path: Path, rows: pa.Table) -> Input:
    """The clusters of words; the array has their numbers, or places of their names in order."""
    values = rows["cluster"].to_numpy()
    numbers = (
        values
        if values.dtype.kind == "i"
        else np.unique(values.astype(str), return_inverse=True)[1]
    )
    return Input("clusters", numbers, ("row",), rows, sha256_file(path))


def _vocabulary(points: Path) -> Path:
    return points.with_name(points.name.replace("point", "vocab"))


def _read_points(path: Path) -> Sequence[Input]:
    path = path / POINT if path.is_dir() else path
    vocabulary = _vocabulary(path)
    points, keys = _load(path, mapped=True), _load(vocabulary)
    if points.ndim != 2 or keys.ndim != 1 or keys.dtype.kind != "U":
        raise StoreError(
            f"expected vectors and a text for each, found {points.shape} and {keys.shape} {keys.dtype}",
            where=str(path),
        )
    if len(points) != len(keys):
        raise StoreError(
            f"expected a vector for each of {len(keys)} words in {vocabulary.name}, found {len(points)}",
            where=str(path),
            hint="scripts that cut one of the two files lose its last word; make both anew",
        )
    rows = table_of(
        [parse_key(key, f"{vocabulary}: row {row}") for row, key in enumerate(keys.tolist())]
    )
    content = f"{sha256_file(path)} {sha256_file(vocabulary)}"
    digest = hashlib.sha256(content.encode()).hexdigest()
    return [Input("points", points, ("row", "channel"), rows, digest)]


def _load(path: Path, *, mapped: bool = False) -> np.ndarray:
    if not path.exists():
        raise StoreError("there is no such file", where=str(path))
    try:
        found: np.ndarray = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"expected an array of numpy: {error}", where=str(path)) from error
    return found


def _broken(one: Input) -> list[Any]:
    """The first row that holds a value that is not finite, if there is one."""
    step = max(1, 2**24 // max(1, *one.array.shape[1:], 1))
    for start in range(0, one.array.shape[0], step):
        block = np.asarray(one.array[start : start + step])
        bad = np.flatnonzero(~np.isfinite(block.reshape(len(block), -1)).all(axis=1))
        if len(bad):
            return [start + int(bad[0])]
    return []
