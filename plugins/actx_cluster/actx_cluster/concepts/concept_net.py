"""``CodeConceptNet.json``: the words of each cluster with their sentences, and what people say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from actx_cluster.concepts.cluster_file import cluster_numbers
from actx_cluster.concepts.words import Words, read_text, table_of
from actx_core import StoreError, atomic

FIELDS = ("Word", "WordID", "SentID", "TokenID")
ABOUT = "about."
"""Before the name of a column that says something of a whole cluster: ``about.Labels``."""


def read_concept_net(path: Path) -> pa.Table:
    """A row per word: sample, word, occurrence, sentence, position, cluster, context, about.*.

    The columns ``about.*`` hold what the last entry of the word's cluster says: text, or JSON for all else.
    Raises StoreError for a file of another shape, naming the cluster.
    """
    try:
        net = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise StoreError(f"expected JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    keys: list[list[Any]] = []
    clusters: list[str] = []
    contexts: list[str] = []
    about: list[dict[str, str]] = []
    for cluster, entries in net.items() if isinstance(net, dict) else ():
        where = f"{path}: cluster '{cluster}'"
        words, said = _split(entries, where)
        for entry in words:
            keys.append(_key(entry, where))
            clusters.append(cluster)
            contexts.append(str(entry.get("Context", "")))
            about.append({name: _as_text(value) for name, value in said.items()})
    if not keys:
        raise StoreError("expected clusters of words, found none", where=str(path))
    names = dict.fromkeys(name for said in about for name in said)
    more = {f"{ABOUT}{name}": [said.get(name) for said in about] for name in names}
    table = table_of(keys, cluster=cluster_numbers(clusters), context=contexts)
    for name, values in more.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    return table


def _split(entries: Any, where: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The words of a cluster, and what its last entry says of it."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise StoreError("expected a list of objects", where=where)
    if entries and "Word" not in entries[-1]:
        return entries[:-1], entries[-1]
    return entries, {}


def _key(entry: Mapping[str, Any], where: str) -> list[Any]:
    try:
        word, *numbers = (entry[name] for name in FIELDS)
        return [str(word), *map(int, numbers)]
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(
            f"expected {', '.join(FIELDS)} (numbers but for the word), found {dict(entry)!s:.120}",
            where=where,
        ) from error


def _as_text(value: Any) -> str:
    """Text as it is; what is not text, or would be read as something else, as JSON."""
    if isinstance(value, str) and _value(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def write_concept_net(
    path: Path, words: Words, clusters: Sequence[object | None], rows: pa.Table
) -> None:
    """Write the rows that have a cluster, by cluster; contexts and ``about.*`` as the rows have them.

    Without a column ``context``, it is the sentence put together from the words. Where nothing is said of
    a cluster, its last entry holds no labels: the annotation tools expect one.
    """
    texts = words.texts()
    contexts = [texts[sentence] for sentence in words.sentences]
    if "context" in rows.column_names:
        contexts = rows["context"].to_pylist()
    columns = (words.words, words.occurrences, words.sentences, words.positions, contexts)
    net: dict[str, list[dict[str, Any]]] = {}
    last: dict[str, int] = {}
    for row, (cluster, *values) in enumerate(zip(clusters, *columns, strict=True)):
        if cluster is not None:
            entry = dict(zip((*FIELDS, "Context"), values, strict=True))
            net.setdefault(str(cluster), []).append(entry)
            last[str(cluster)] = row
    for cluster, entries in net.items():
        entries.append(_said(rows, last[cluster]) or {"Labels": []})
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(net, ensure_ascii=False, indent=1), "utf-8")


def _said(rows: pa.Table, row: int) -> dict[str, Any]:
    """What the columns ``about.*`` say in a row."""
    said = {
        name.removeprefix(ABOUT): rows[name][row].as_py()
        for name in rows.column_names
        if name.startswith(ABOUT)
    }
    return {name: _value(text) for name, text in said.items() if text is not None}
