"""One sample as tokens: the rows it becomes, and the pieces in which the model reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Piece:
    """What the model reads at once: ``ids`` (tokens,) and the row of its document for each of them.

    ``taken`` is False for tokens that are only context: an earlier piece gives their rows.
    """

    ids: np.ndarray
    rows: np.ndarray
    taken: np.ndarray


@dataclass(frozen=True)
class Document:
    """One sample as rows, and as pieces. All arrays have one entry per row.

    ``position`` is the place in the piece, ``start`` and ``end`` the characters of the text (None where
    the tokenizer does not tell), ``word`` the number of the word, -1 for none. ``cut`` counts the tokens
    left out.
    """

    pieces: Sequence[Piece]
    ids: np.ndarray
    position: np.ndarray
    piece: np.ndarray
    special: np.ndarray
    start: np.ndarray | None
    end: np.ndarray | None
    role: np.ndarray
    word: np.ndarray
    word_text: np.ndarray
    cut: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def offsets(documents: Sequence[Document]) -> np.ndarray:
    """Where the rows of each document begin, and where the last ones end."""
    return np.cumsum([0, *map(len, documents)])


def sample_columns(documents: Sequence[Document]) -> dict[str, np.ndarray]:
    """Columns of kind ``sample``."""
    return {
        "tokens": np.array([len(each) for each in documents], np.int64),
        "pieces": np.array([len(each.pieces) for each in documents], np.int64),
        "tokens_cut": np.array([each.cut for each in documents], np.int64),
    }


def token_columns(documents: Sequence[Document], vocabulary: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of kind ``token``, one document after another; ``vocabulary[id]`` is a token in words."""
    total = sum(map(len, documents))

    def joined(name: str, empty: type) -> np.ndarray:
        parts = [getattr(each, name) for each in documents]
        if any(part is None for part in parts):
            return np.full(total, None, dtype=object)
        return np.concatenate([np.empty(0, empty), *parts])

    ids = joined("ids", np.int64)
    return {
        "position": joined("position", np.int64),
        "token_id": ids,
        "token_text": vocabulary[ids],
        "char_start": joined("start", np.int64),
        "char_end": joined("end", np.int64),
        "special": joined("special", bool),
        "piece": joined("piece", np.int64),
        "role": joined("role", object),
        "word": joined("word", np.int64),
        "word_text": joined("word_text", object),
    }
