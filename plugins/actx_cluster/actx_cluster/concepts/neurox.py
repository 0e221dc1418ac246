"""NeuroX's activations as JSON lines: a sentence a line, its tokens, and each token's layers as numbers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_cluster.concepts.words import table_of
from actx_core import Input, StoreError, sha256_file

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Lines:
    """Where the sentences of a file stand, and how many tokens each has."""

    path: Path
    starts: list[int]
    """The byte at which each sentence's line begins."""
    first: np.ndarray
    """The row of each sentence's first token, and at the end the number of rows."""

    def tokens(self, sentence: int) -> list[dict[str, Any]]:
        """The tokens of a sentence, parsed."""
        with self.path.open("rb") as file:
            file.seek(self.starts[sentence])
            return _tokens(file.readline(), f"{self.path}:{sentence + 1}")


class Layer:
    """(tokens, neurons) of one layer as float32; parses the sentences that a selection touches."""

    def __init__(self, lines: Lines, layer: int, size: int) -> None:
        self._lines, self._layer = lines, layer
        self.shape = (int(lines.first[-1]), size)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, rows: Any) -> np.ndarray:
        numbers = np.arange(self.shape[0])[rows]
        flat = np.atleast_1d(numbers)
        out = np.empty((len(flat), self.shape[1]), np.float32)
        sentences = np.searchsorted(self._lines.first, flat, "right") - 1
        for sentence in np.unique(sentences).tolist():
            mine = sentences == sentence
            tokens = self._lines.tokens(sentence)
            places = flat[mine] - self._lines.first[sentence]
            out[mine] = [_layers(tokens[place])[self._layer] for place in places.tolist()]
        return out if np.ndim(numbers) else out[0]


def read_neurox(path: Path) -> list[Input]:
    """An input ``layerN`` for each layer in the file: a row per token, with word, sentence and position.

    Raises StoreError that names the line where the file is damaged, or a token has other layers or
    another number of neurons than the first.
    """
    starts: list[int] = []
    counts: list[int] = []
    keys: list[list[Any]] = []
    sizes: dict[int, int] = {}
    seen: Counter[str] = Counter()
    at = 0
    with path.open("rb") as file:
        for line in file:
            where = f"{path}:{len(starts) + 1}"
            tokens = _tokens(line, where)
            for place, token in enumerate(tokens):
                found = {layer: len(values) for layer, values in _layers(token).items()}
                sizes = sizes or found
                if found != sizes:
                    raise StoreError(
                        f"expected {_words(sizes)}, found {_words(found)} in token {place}",
                        where=where,
                    )
                word = str(token["token"])
                seen[word] += 1
                keys.append([word, seen[word], len(starts), place])
            starts.append(at)
            counts.append(len(tokens))
            at += len(line)
    if not keys:
        raise StoreError("expected sentences with tokens, found none", where=str(path))
    lines = Lines(path, starts, np.cumsum([0, *counts]))
    rows: pa.Table = table_of(keys)
    digest = sha256_file(path)
    return [
        Input(
            f"layer{layer}",
            Layer(lines, layer, size),
            ("row", "channel"),
            rows,
            hashlib.sha256(f"{digest}/{layer}".encode()).hexdigest(),
        )
        for layer, size in sizes.items()
    ]


def _tokens(line: bytes, where: str) -> list[dict[str, Any]]:
    try:
        tokens = json.loads(line)["features"]
        for token in tokens:
            token["token"], _layers(token)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"expected a sentence as NeuroX writes it, found a damaged line of {len(line)} bytes:"
            f" {type(error).__name__} {error}",
            where=where,
        ) from error
    return list(tokens)


def _layers(token: Mapping[str, Any]) -> dict[int, list[float]]:
    return {int(layer["index"]): layer["values"] for layer in token["layers"]}


def _words(sizes: Mapping[int, int]) -> str:
    return ", ".join(f"{size} numbers of layer {layer}" for layer, size in sizes.items())
