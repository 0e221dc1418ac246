"""ConceptX's files of clusters: a line ``word|||occurrence|||sentence|||position|||cluster`` per word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actx_cluster.concepts.words import SEPARATOR, parse_key, read_text, table_of
from actx_core import StoreError, atomic

if TYPE_CHECKING:
    import pyarrow as pa


def read_clusters(path: Path) -> pa.Table:
    """A row per line, in order: sample, word, occurrence, sentence, position, cluster.

    Clusters are whole numbers, or text where one is not. Raises StoreError that names the line at fault.
    """
    lines = read_text(path).split("\n")
    keys = [
        parse_key(line.removesuffix("\r"), f"{path}:{number}", ("cluster",))
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not keys:
        raise StoreError("expected clusters of words, found no line", where=str(path))
    return table_of([key[:-1] for key in keys], cluster=cluster_numbers([k[-1] for k in keys]))


def cluster_numbers(names: Sequence[str]) -> list[Any]:
    """Names of clusters as numbers, if all are."""
    plain = all(name == "-1" or (name.isdecimal() and str(int(name)) == name) for name in names)
    return [int(name) for name in names] if plain else list(names)


def write_clusters(path: Path, keys: Sequence[str], clusters: Sequence[object | None]) -> None:
    """Write the rows that have a cluster, those of a cluster together, clusters by their first row.

    That is ConceptX's order.
    """
    grouped: dict[object, list[str]] = {}
    for key, cluster in zip(keys, clusters, strict=True):
        if cluster is not None:
            grouped.setdefault(cluster, []).append(f"{key}{SEPARATOR}{cluster}\n")
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for lines in grouped.values():
            file.writelines(lines)
