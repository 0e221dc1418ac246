"""The format ``neurox``: one HDF5 dataset, or line of JSON, per sentence with all its layers, for NeuroX."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pyarrow as pa

from actx_core import Config, Format, Input, StoreError, atomic, sha256_file
from actx_hf.formats.shared import flaws, width

if TYPE_CHECKING:
    from actx_core import Run, TapArray

INDEX = "sentence_to_index"
_WORD, _TOKEN = "word_text", "token_text"


@dataclass(frozen=True)
class Sentence:
    """One sample: its number, its words, and (layers, words, channels)."""

    number: int
    words: Sequence[str]
    values: np.ndarray


class NeuroX(Format[Config]):
    """``path.hdf5`` or ``path.json``, with all taps of one model as layers, in the order of the forward pass.

    HDF5 holds a dataset (layers, words, channels) of float32 per sample, called by its number, and
    ``sentence_to_index``. A sample without words has an empty one, so that numbers stay those of lines.
    """

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        writers = {".hdf5": _write_hdf5, ".json": _write_json}
        if path.suffix not in writers:
            found = f"found '{path.name}'"
            raise StoreError(
                f"expected a file that ends in .hdf5 or .json, {found}", where=str(path)
            )
        taps = _layers(run)
        with atomic(path) as temporary:
            writers[path.suffix](temporary, taps, _sentences(run, taps))
        return [path]

    def knows(self, path: Path) -> bool:
        """An HDF5 file with ``sentence_to_index``."""
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        try:
            with h5py.File(path, "r", locking=False) as file:
                return INDEX in file
        except OSError:
            return False

    def check(self, path: Path) -> Sequence[str]:
        return flaws(lambda: self.read(path))

    def read(self, path: Path) -> Sequence[Input]:
        """An array per layer, its rows the words of all sentences in order."""
        try:
            file = h5py.File(path, "r", locking=False)
            index: dict[str, str] = json.loads(file[INDEX].asstr()[0])
            shapes = [file[number].shape for number in index.values()]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise StoreError(f"expected a file of NeuroX: {error}", where=str(path)) from error
        if len({(shape[0], *shape[2:]) for shape in shapes}) != 1 or len(shapes[0]) != 3:
            what = (
                f"expected sentences of (layers, words, channels), found {sorted(set(shapes))[:3]}"
            )
            raise StoreError(what, where=str(path))
        rows, digest = _rows(index, [shape[1] for shape in shapes]), sha256_file(path)
        found = []
        for layer in range(shapes[0][0]):
            name, array = f"layer_{layer}", Words(file, list(index.values()), layer)
            content = hashlib.sha256(f"{digest}/{name}".encode()).hexdigest()
            found.append(Input(name, array, ("row", "channel"), rows, content))
        return found


class Words:
    """(words of all sentences, channels) of one layer; reads the sentences that a selection touches."""

    def __init__(self, file: h5py.File, names: Sequence[str], layer: int) -> None:
        self._file, self._names, self._layer = file, names, layer
        self._starts = np.cumsum([0, *(file[name].shape[1] for name in names)])
        self.shape = (int(self._starts[-1]), file[names[0]].shape[2])
        self.dtype: np.dtype[Any] = file[names[0]].dtype

    def __getitem__(self, rows: Any) -> np.ndarray:
        numbers = np.arange(self.shape[0])[rows]
        flat = np.atleast_1d(numbers)
        out = np.empty((len(flat), self.shape[1]), self.dtype)
        sentences = np.searchsorted(self._starts, flat, side="right") - 1
        for sentence in np.unique(sentences).tolist():
            mine = sentences == sentence
            values = self._file[self._names[sentence]][self._layer]
            out[mine] = values[flat[mine] - self._starts[sentence]]
        return out if np.ndim(numbers) else out[0]


def _layers(run: Run) -> list[TapArray]:
    """The arrays of a run as the layers of one model. Raises StoreError where they do not fit together."""
    taps = [run[name] for name in run.arrays]
    cells = sorted({f"{tap.spec.source}/{tap.spec.model}" for tap in taps})
    if len(cells) != 1:
        hint = "one source and one model per run"
        raise StoreError(f"a file holds one model, the run has {', '.join(cells)}", hint=hint)
    found = {(width(tap), tap.spec.kind) for tap in taps}
    if len(found) != 1:
        shapes = ", ".join(f"{t.spec.tap}: {width(t)} channels per {t.spec.kind}" for t in taps)
        raise StoreError(f"layers must be alike, the taps are {shapes}", where=cells[0])
    if _words(taps[0]) not in taps[0].rows.column_names:
        hint = "leave out the pooler, or pool sub-words to words"
        raise StoreError("expected rows of tokens or words", where=taps[0].name, hint=hint)
    return taps


def _words(tap: TapArray) -> str:
    """The column of what is a word here: of a token, how the tokenizer writes it."""
    return _WORD if tap.spec.kind == "word" else _TOKEN


def _sentences(run: Run, taps: Sequence[TapArray]) -> Iterator[Sentence]:
    """Every sample in the order of the source, those without rows too."""
    rows = taps[0].rows
    words = rows[_words(taps[0])].to_pylist()
    keys = list(zip(rows["sample"].to_pylist(), rows["replicate"].to_pylist(), strict=True))
    begins = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
    spans = {keys[a]: slice(a, b) for a, b in zip(begins, [*begins[1:], len(keys)], strict=True)}
    samples = run.samples(taps[0].spec.source)
    order = zip(samples["sample"].to_pylist(), samples["replicate"].to_pylist(), strict=True)
    for number, key in enumerate(order):
        span = spans.get(key, slice(0, 0))
        values = np.stack([np.asarray(tap[span], np.float32) for tap in taps])
        yield Sentence(number, [word or "" for word in words[span]], values)


def _write_hdf5(path: Path, taps: Sequence[TapArray], sentences: Iterator[Sentence]) -> None:
    need = len(taps) * len(taps[0]) * width(taps[0]) * 4
    free = shutil.disk_usage(path.parent).free
    if need > free:  # HDF5 itself may crash on a full disk
        what = f"the disk is full: {need:,} bytes are needed, {free:,} are free"
        raise StoreError(what, where=str(path.parent), hint="free some, the same command goes on")
    index: dict[str, str] = {}
    with h5py.File(path, "w") as file:
        for sentence in sentences:
            file.create_dataset(str(sentence.number), data=sentence.values)
            index[_unique(" ".join(sentence.words), index)] = str(sentence.number)
        file.attrs["layers"] = [tap.spec.tap for tap in taps]
        file.create_dataset(INDEX, data=[json.dumps(index)], dtype=h5py.string_dtype())


def _unique(text: str, taken: dict[str, str]) -> str:
    """The text, marked as NeuroX marks a sentence that is there already."""
    name, count = text, 1
    while name in taken:
        count += 1
        name = f"{text} (Occurrence {count})"
    return name


def _write_json(path: Path, taps: Sequence[TapArray], sentences: Iterator[Sentence]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for sentence in sentences:
            features = [
                {
                    "token": word,
                    "layers": [
                        {"index": layer, "values": values.tolist()}
                        for layer, values in enumerate(sentence.values[:, place])
                    ],
                }
                for place, word in enumerate(sentence.words)
            ]
            file.write(json.dumps({"linex_index": sentence.number, "features": features}) + "\n")


def _rows(index: dict[str, str], counts: Sequence[int]) -> pa.Table:
    """Sentence, place and, where the text splits into as many, the word of each row."""
    samples: list[str] = []
    places: list[int] = []
    words: list[str] = []
    for (text, number), count in zip(index.items(), counts, strict=True):
        said = text.split(" ")
        samples += [number] * count
        places += range(count)
        words += said[:count] if len(said) >= count else [""] * count
    return pa.table({"sample": samples, "word": places, "word_text": words})
