"""Labels of words from files, found by sentence and position."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from actx_cluster.concepts.words import Words, read_text
from actx_core import AnalysisError

TABLES = (".csv", ".tsv", ".parquet")
COLUMNS = ("sample", "position", "label")


def read_labels(path: Path, rows: pa.Table, words: Words) -> list[str | None]:
    """The label of each row, None where the file has none for it.

    Raises AnalysisError where the file does not fit the rows: too few sentences, or fewer labels in a
    sentence than words; a table with no line for any row, or two for one.
    """
    if path.suffix in TABLES:
        return _of_table(path, rows, words)
    lines = _lines(path)
    sentences = max(words.sentences, default=-1) + 1
    counted = "sentence" not in rows.column_names  # the rows number their samples themselves
    if len(lines) < sentences or (counted and len(lines) > sentences):
        raise AnalysisError(
            f"expected a line of labels for each of {sentences} sentences, found {len(lines)}",
            where=str(path),
            hint="give a table with the columns sample, position and label",
        )
    labels: list[str | None] = []
    for word, sentence, place in zip(words.words, words.sentences, words.positions, strict=True):
        if place >= len(lines[sentence]):
            raise AnalysisError(
                f"expected a label for word {place} ({word!r}), found {len(lines[sentence])} labels",
                where=f"{path}:{sentence + 1}",
                hint="labels are counted as words are: one per word, between blanks",
            )
        labels.append(lines[sentence][place])
    return labels


def _lines(path: Path) -> list[list[str]]:
    """The labels of each sentence."""
    if path.suffix != ".json":
        return [line.split() for line in read_text(path).removesuffix("\n").split("\n")]
    try:
        found = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise AnalysisError(
            f"expected JSON: {error.msg}", where=f"{path}:{error.lineno}"
        ) from error
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        raise AnalysisError("expected a list of texts, one per sentence", where=str(path))
    return [line.split() for line in found]


def _of_table(path: Path, rows: pa.Table, words: Words) -> list[str | None]:
    table = _table(path)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise AnalysisError(
            f"expected the columns {', '.join(COLUMNS)}, found {', '.join(table.column_names)}",
            where=str(path),
        )
    labels: dict[tuple[str, int], str | None] = {}
    samples, positions, values = (table[name].to_pylist() for name in COLUMNS)
    for sample, position, value in zip(samples, positions, values, strict=True):
        key = (str(sample), position)
        if key in labels:
            raise AnalysisError(
                f"two lines have sample {key[0]!r} and position {position}", where=str(path)
            )
        labels[key] = None if value is None else str(value) or None  # an empty field is no label
    wanted = [str(sample) for sample in rows["sample"].to_pylist()]
    found = [labels.get(key) for key in zip(wanted, words.positions, strict=True)]
    if not any(label is not None for label in found):
        raise AnalysisError(
            f"no line fits any row: expected sample {wanted[0]!r} and position"
            f" {words.positions[0]}, found {samples[0]!r} and {positions[0]!r}",
            where=str(path),
        )
    return found


def _table(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        text = {name: pa.string() for name in ("sample", "label")}
        return csv.read_csv(
            path,
            parse_options=csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ","),
            convert_options=csv.ConvertOptions(column_types={**text, "position": pa.int64()}),
        )
    except (OSError, pa.ArrowException) as error:
        raise AnalysisError(f"cannot be read: {error}", where=str(path)) from error
