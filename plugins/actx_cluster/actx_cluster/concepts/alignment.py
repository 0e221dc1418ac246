"""Alignment of clusters with labels, and coverage of the labels, as ConceptX measures them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from actx_cluster.clustering.agreement import Table, coded
from actx_cluster.concepts import pictures
from actx_cluster.concepts.clusterings import Clustering, clusterings
from actx_cluster.concepts.config import AlignmentConfig
from actx_cluster.concepts.labels import read_labels
from actx_cluster.concepts.words import Words, words_of
from actx_core import AnalysisError, Analyzer, Input, Result


class Alignment(Analyzer[AlignmentConfig]):
    """Which clusters carry one label, at several thresholds (Dalvi et al. 2022; Hawasly et al. 2024).

    A cluster is aligned with its most frequent label if at least a threshold's share of its rows carries
    it, those without a label counted too, and if it has enough different words. ``alignment`` is the share
    of clusters that are, ``coverage`` the share of labels that some cluster is aligned with, ``overall``
    the mean of both.
    """

    many: ClassVar[bool] = True

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        lines: list[dict[str, Any]] = []
        clusters: Table = {}
        notes: list[str] = []
        for one in clusterings(inputs):
            words = words_of(one.rows, one.name, self.config)
            names, codes = coded(self._labels(one, words))
            if not names:
                raise AnalysisError("no row has a label", where=one.name)
            told = list(self._clusters(one, words, names, codes))
            for line in told:
                for key, value in line.items():
                    clusters.setdefault(key, []).append(value)
            lines += self._measured(one, told, len(names))
            without = int((codes < 0).sum())
            if without:
                notes.append(f"{one.label}: {without} of {len(codes)} rows have no label")
        table: Table = {name: [line[name] for line in lines] for name in lines[0]}
        drawn = pictures.alignments(lines) if len(inputs) > 1 else b""
        return Result(
            tables={"alignment": table, "clusters": clusters},
            figures={"alignment": drawn} if drawn else {},
            notes=list(dict.fromkeys(notes)),
        )

    def _labels(self, one: Clustering, words: Words) -> Sequence[object]:
        if self.config.labels is not None:
            return read_labels(self.config.labels, one.rows, words)
        if self.config.column not in one.rows.column_names:
            raise AnalysisError(
                f"no column is called '{self.config.column}'",
                where=one.name,
                hint=f"there are: {', '.join(one.rows.column_names)}; or give a file of labels",
            )
        found: list[object] = one.rows[self.config.column].to_pylist()
        return found

    def _clusters(
        self, one: Clustering, words: Words, names: Sequence[object], codes: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """A line per cluster: its most frequent label, the first of several, and its share."""
        clusters, places = one.codes()
        types: list[set[str]] = [set() for _ in clusters]
        for word, place in zip(words.words, places.tolist(), strict=True):
            if place >= 0:
                types[place].add(word)
        sizes = np.bincount(places[places >= 0], minlength=len(clusters))
        both = (places >= 0) & (codes >= 0)
        pairs, counts = np.unique(places[both] * len(names) + codes[both], return_counts=True)
        most = dict.fromkeys(range(len(clusters)), (0, 0))
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            place, label = divmod(pair, len(names))
            if count > most[place][0]:
                most[place] = (count, label)
        for place, cluster in enumerate(clusters):
            count, label = most[place]
            share = count / int(sizes[place])
            enough = len(types[place]) >= self.config.types
            met = [t for t in self.config.thresholds if enough and count and share >= t]
            yield {
                "clustering": one.name,
                "k": one.k,
                "cluster": str(cluster),
                "rows": int(sizes[place]),
                "types": len(types[place]),
                "label": str(names[label]) if count else None,
                "share": share,
                "aligned_at": max(met, default=None),
            }

    def _measured(
        self, one: Clustering, told: Sequence[dict[str, Any]], labels: int
    ) -> Iterator[dict[str, Any]]:
        for threshold in sorted(self.config.thresholds):
            aligned = [line for line in told if (line["aligned_at"] or 0) >= threshold]
            covered = len({line["label"] for line in aligned})
            alignment, coverage = len(aligned) / len(told), covered / labels
            yield {
                "clustering": one.name,
                "k": one.k,
                "threshold": threshold,
                "clusters": len(told),
                "aligned": len(aligned),
                "alignment": alignment,
                "labels": labels,
                "covered": covered,
                "coverage": coverage,
                "overall": (alignment + coverage) / 2,
            }
