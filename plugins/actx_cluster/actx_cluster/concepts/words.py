"""The word that each row stands for: ConceptX's key of it, and the sentence it stands in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from actx_cluster.concepts.config import WordConfig
from actx_core import AnalysisError, StoreError

SEPARATOR = "|||"
KEY = ("word", "occurrence", "sentence", "position")
TEXTS = ("token_text", "word_text", "word", "token", "text")
"""Columns that may hold the word of a row; rows of tokens also know the word that a token is part of."""


@dataclass(frozen=True, slots=True)
class Words:
    """An entry for each row: the word, the number of its occurrence, its sentence and its place there.

    Occurrences count from 1, sentences and places from 0.
    """

    words: list[str]
    occurrences: list[int]
    sentences: list[int]
    positions: list[int]

    def keys(self) -> list[str]:
        """``word|||occurrence|||sentence|||position`` of each row, on one line each."""
        columns = (self.occurrences, self.sentences, self.positions)
        return [
            SEPARATOR.join((on_one_line(word), *map(str, numbers)))
            for word, *numbers in zip(self.words, *columns, strict=True)
        ]

    def texts(self) -> list[str]:
        """Each sentence by its number: its words with blanks between, none where no row stands for one.

        Split at blanks, word ``position`` is that of the key, as ConceptX's tools expect.
        """
        last = max(self.sentences, default=-1)
        sentences: list[dict[int, str]] = [{} for _ in range(last + 1)]
        for word, sentence, position in zip(
            self.words, self.sentences, self.positions, strict=True
        ):
            sentences[sentence][position] = on_one_line(word)
        return [
            " ".join(words.get(n, "") for n in range(max(words, default=-1) + 1))
            for words in sentences
        ]

    def notes(self) -> Iterator[str]:
        """What the keys do not hold as it is."""
        broken = sum(word != on_one_line(word) for word in self.words)
        if broken:
            yield f"{broken} words hold line breaks, which are written as \\n and \\r"


def on_one_line(word: str) -> str:
    """A word with its line breaks written as escapes: the files hold a word a line."""
    return word.replace("\n", "\\n").replace("\r", "\\r")


def words_of(rows: pa.Table, where: str, options: WordConfig) -> Words:
    """The words of a table of rows. Raises AnalysisError where a column is missing or has gaps.

    Sentences are the column ``sentence`` where it holds numbers, as ConceptX's files have it; otherwise
    samples, numbered in the order of their first row.
    """
    word = options.word or _first(rows, TEXTS, _is_text) or "word"
    words = [str(value) for value in _values(rows, word, where)]
    if "sentence" in rows.column_names and pa.types.is_integer(rows["sentence"].type):
        sentences = _values(rows, "sentence", where)
    else:
        places: dict[object, int] = {}
        samples = _values(rows, "sample", where)
        sentences = [places.setdefault(sample, len(places)) for sample in samples]
    places_of = ("word", "position") if word == "word_text" else ("position", "token")
    position = options.position or _first(rows, places_of, pa.types.is_integer)
    positions = _values(rows, position, where) if position else _counted(sentences)
    if "occurrence" in rows.column_names:
        occurrences = _values(rows, "occurrence", where)
    else:
        occurrences = [n + 1 for n in _counted(words)]
    return Words(words, occurrences, sentences, positions)


def _first(rows: pa.Table, names: Sequence[str], is_kind: Any) -> str:
    """The first of some columns that is there and of a kind of type."""
    for name in names:
        if name in rows.column_names:
            type_ = rows[name].type
            if is_kind(type_.value_type if pa.types.is_dictionary(type_) else type_):
                return name
    return ""


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _values(rows: pa.Table, name: str, where: str) -> list[Any]:
    if name not in rows.column_names:
        raise AnalysisError(
            f"no column is called '{name}'",
            where=where,
            hint=f"say which holds it; there are: {', '.join(rows.column_names)}",
        )
    values: list[Any] = rows[name].to_pylist()
    if None in values:
        raise AnalysisError(f"'{name}' has no value in row {values.index(None)}", where=where)
    return values


def _counted(values: Sequence[Any]) -> list[int]:
    """How often each value stood before."""
    seen: Counter[Any] = Counter()
    counts = []
    for value in values:
        counts.append(seen[value])
        seen[value] += 1
    return counts


def parse_key(text: str, where: str, ending: Sequence[str] = ()) -> list[Any]:
    """The fields of a key, and of what stands behind it; numbers as such, but for the ending.

    Read from the right, so that a word may hold the separator. Raises StoreError for other lines.
    """
    names = (*KEY, *ending)
    fields: list[Any] = text.rsplit(SEPARATOR, len(names) - 1)
    if len(fields) != len(names):
        raise StoreError(
            f"expected {SEPARATOR.join(names)}, found {len(fields)} fields: {text[:80]!r}",
            where=where,
            hint="files without sentence and position cannot be traced to their words",
        )
    for number, name in enumerate(KEY[1:], 1):
        if not fields[number].isdecimal():
            raise StoreError(
                f"expected a number as {name}, found {fields[number][:40]!r}", where=where
            )
        fields[number] = int(fields[number])
    return fields


def table_of(keys: Sequence[Sequence[Any]], **more: Sequence[Any]) -> pa.Table:
    """Parsed keys as a table of rows; a sample is a sentence."""
    columns = dict(zip(KEY, map(list, zip(*keys, strict=True)), strict=True))
    samples = [str(sentence) for sentence in columns["sentence"]]
    return pa.table({"sample": samples, **columns, **more})


def read_text(path: Path) -> str:
    """A UTF-8 file, line breaks as they are. Raises StoreError that names the line at fault."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise StoreError(
            f"expected UTF-8, found the byte 0x{content[error.start]:02x}", where=f"{path}:{line}"
        ) from error
