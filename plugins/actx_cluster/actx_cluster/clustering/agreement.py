"""How clusters agree with a column of labels, and which labels a cluster holds more often than by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import hypergeom
from sklearn.metrics import (
    adjusted_rand_score,
    homogeneity_completeness_v_measure,
    normalized_mutual_info_score,
)

Table = dict[str, list[Any]]


def coded(values: Sequence[object]) -> tuple[list[object], np.ndarray]:
    """Different labels in the order of their first row, and each row's number among them; -1 for none.

    NaN is none.
    """
    numbers: dict[object, int] = {}
    codes = [
        -1 if value is None or value != value else numbers.setdefault(value, len(numbers))
        for value in values
    ]
    return list(numbers), np.array(codes, np.int64)


def agreement(clusters: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Agreement of two labellings of the same rows, both without gaps.

    ARI (Hubert & Arabie 1985), NMI (arithmetic), homogeneity, completeness and V-measure (Rosenberg &
    Hirschberg 2007), and purity: the share of rows that carry the most frequent label of their cluster.
    """
    homogeneity, completeness, v = homogeneity_completeness_v_measure(codes, clusters)
    counts = np.zeros((clusters.max() + 1, codes.max() + 1), np.int64)
    np.add.at(counts, (clusters, codes), 1)
    return {
        "ari": float(adjusted_rand_score(codes, clusters)),
        "nmi": float(normalized_mutual_info_score(codes, clusters)),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
        "v_measure": float(v),
        "purity": float(counts.max(axis=1).sum() / len(codes)),
    }


def agreements(
    labels: Mapping[str, Sequence[object]], clusterings: Sequence[tuple[int, np.ndarray]]
) -> tuple[Table, Table]:
    """Tables ``agreement`` and ``enrichment`` of columns of labels with clusterings of the same rows.

    A clustering is its number of clusters and the cluster of each row, -1 for none.
    """
    compared: Table = {}
    enriched: Table = {}
    for name, values in labels.items():
        names, codes = coded(values)
        for k, clusters in clusterings:
            mine = (codes >= 0) & (clusters >= 0)
            if not mine.any():
                continue
            about: dict[str, Any] = {"column": name, "k": k, "rows": int(mine.sum())}
            for key, value in (about | agreement(clusters[mine], codes[mine])).items():
                compared.setdefault(key, []).append(value)
            lines = enrichment(clusters[mine], codes[mine], names)
            count = len(lines["cluster"])
            start: Table = {"column": [name] * count, "k": [k] * count}
            for key, column in (start | lines).items():
                enriched.setdefault(key, []).extend(column)
    return compared, enriched


def enrichment(clusters: np.ndarray, codes: np.ndarray, names: Sequence[object]) -> Table:
    """Labels that a cluster holds more often than a draw of as many rows would, one line each.

    ``p`` is the upper tail of the hypergeometric distribution, ``q`` its correction over all pairs of cluster
    and label (Benjamini & Hochberg 1995). Pairs that share no row, or fewer than expected, have no line.
    """
    kinds = len(names)
    pairs, count = np.unique(clusters * kinds + codes, return_counts=True)
    cluster, label = pairs // kinds, pairs % kinds
    rows, size, total = len(codes), np.bincount(clusters)[cluster], np.bincount(codes)[label]
    p = hypergeom.sf(count - 1, rows, total, size)
    q = benjamini_hochberg(p, len(np.unique(clusters)) * len(np.unique(codes)))
    expected = size * total / rows
    more = np.flatnonzero(count > expected)
    more = more[np.lexsort((label[more], -count[more], p[more], cluster[more]))]
    columns = {
        "cluster": cluster,
        "rows": count,
        "share": count / size,
        "expected": expected,
        "fold": count / expected,
        "p": p,
        "q": q,
    }
    table: Table = {name: values[more].tolist() for name, values in columns.items()}
    return {
        "cluster": table.pop("cluster"),
        "label": [str(names[n]) for n in label[more].tolist()],
        **table,
    }


def benjamini_hochberg(p: np.ndarray, tests: int) -> np.ndarray:
    """Adjusted p-values; ``tests`` counts all tests, those left out having p = 1."""
    order = np.argsort(p)
    scaled = p[order] * tests / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(adjusted, 1)
