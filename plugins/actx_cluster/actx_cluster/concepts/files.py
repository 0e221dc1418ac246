"""The analyzer ``conceptx``: the clusters of words as the files of ConceptX and its annotation tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

from actx_cluster.concepts.cluster_file import write_clusters
from actx_cluster.concepts.clusterings import Clustering, clusterings
from actx_cluster.concepts.concept_net import write_concept_net
from actx_cluster.concepts.config import WordConfig
from actx_cluster.concepts.words import Words, words_of
from actx_core import Analyzer, Input, Result, atomic

SHOWN = 12
"""Words of a cluster that the table names."""


class ConceptFiles(Analyzer[WordConfig]):
    """Writes, beside its tables, the sentences and for each clustering two files.

    ``clusters-ANALYSIS-K.txt`` and ``CodeConceptNet-ANALYSIS-K.json`` hold every row that has a cluster;
    their numbers of sentences are places in ``sentences.json``.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        data = inputs[0]
        found = clusterings(inputs)
        words = words_of(data.rows, data.name, self.config)
        keys = words.keys()
        files: dict[str, list[Any]] = {"file": [], "k": [], "clusters": [], "rows": []}
        told: dict[str, list[Any]] = {"k": [], "cluster": [], "rows": [], "types": [], "words": []}
        for one in found:
            suffix = _suffix(one)
            write_clusters(out / f"clusters{suffix}.txt", keys, one.values)
            write_concept_net(out / f"CodeConceptNet{suffix}.json", words, one.values, data.rows)
            _tell(told, one, words)
            files["file"].append(f"clusters{suffix}.txt")
            files["k"].append(one.k)
            files["clusters"].append(len(set(one.values) - {None}))
            files["rows"].append(sum(value is not None for value in one.values))
        with atomic(out / "sentences.json") as temporary:
            temporary.write_text(dumps(words.texts(), ensure_ascii=False, indent=0), "utf-8")
        rows = len(data.rows)
        left = [
            f"{name}: {rows - count} of {rows} rows have no cluster and are left out"
            for name, count in zip(files["file"], files["rows"], strict=True)
            if count < rows
        ]
        return Result(tables={"files": files, "clusters": told}, notes=[*words.notes(), *left])


def _suffix(one: Clustering) -> str:
    """``-kmeans-50``; for a file of clusters, nothing."""
    analysis, _, array = one.name.partition("/")
    parts = [analysis] if array else []
    return "".join(f"-{part}" for part in (*parts, *([one.k] if one.k else [])))


def _tell(told: dict[str, list[Any]], one: Clustering, words: Words) -> None:
    """A line per cluster, with its most frequent words and how often each stands there."""
    names, codes = one.codes()
    counts = [Counter[str]() for _ in names]
    for word, code in zip(words.words, codes.tolist(), strict=True):
        if code >= 0:
            counts[code][word] += 1
    for name, count in zip(names, counts, strict=True):
        told["k"].append(one.k)
        told["cluster"].append(str(name))
        told["rows"].append(count.total())
        told["types"].append(len(count))
        most = (f"{word} ({n})" if n > 1 else word for word, n in count.most_common(SHOWN))
        told["words"].append(", ".join(most))
