"""Flow and agreement between clusterings, against plain counts and scikit-learn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from actx_cluster.concepts.config import FlowConfig
from actx_cluster.concepts.flow import Flow
from actx_core import AnalysisError


def flow(inputs, **options):
    return Flow(FlowConfig(**options)).run(inputs, Path())


@pytest.fixture
def layers(words):
    """Three layers of 60 words, five clusters each; some rows have none."""
    rng = np.random.default_rng(0)
    text = [" ".join(f"w{n}" for n in range(12))] * 5
    labels = [rng.integers(0, 5, 60).tolist() for _ in range(3)]
    labels[2] = [a if rng.random() < 0.8 else b for a, b in zip(labels[1], labels[2])]
    labels[0][3] = None
    labels[1][8] = -1
    inputs = [
        words(text, name=f"kmeans/corpus/net/layer{n}/map", cluster_k5=one)
        for n, one in enumerate(labels)
    ]
    return inputs, [[None if v == -1 else v for v in one] for one in labels]


def test_flows_and_agreement_equal_plain_counts(layers):
    inputs, labels = layers
    result = flow(inputs)
    table = result.tables["flow"]
    lines = list(zip(*(table[c] for c in ("from", "cluster", "to", "to_cluster", "rows", "share"))))
    wanted = Counter()
    for n in (0, 1):
        for a, b in zip(labels[n], labels[n + 1]):
            if a is not None and b is not None:
                names = f"kmeans/corpus/net/layer{n}", f"kmeans/corpus/net/layer{n + 1}"
                wanted[names[0], str(a), names[1], str(b)] += 1
    assert {line[:4]: line[4] for line in lines} == wanted
    for name, cluster, *_, rows, share in lines:
        total = sum(v for k, v in wanted.items() if k[:2] == (name, cluster))
        assert share == pytest.approx(rows / total)
    agreement = result.tables["agreement"]
    square, axes = result.arrays["ari_k5"]
    assert axes == ("clustering", "other")
    for (i, j), ari, rows in zip([(0, 1), (0, 2), (1, 2)], agreement["ari"], agreement["rows"]):
        both = [(a, b) for a, b in zip(labels[i], labels[j]) if None not in (a, b)]
        assert rows == len(both)
        assert ari == pytest.approx(adjusted_rand_score(*zip(*both)))
        assert square[i, j] == square[j, i] == ari
    assert agreement["ari"][2] > 0.3 > agreement["ari"][0]
    assert list(result.figures) == ["flow_k5", "ari_k5"]


def test_rows_are_matched_by_columns(words):
    a = words(["a b c", "d e"], cluster_k2=[0, 0, 1, 1, 1])
    b = words(["c a x", "d e"], name="kmeans/corpus/other/layer/map", cluster_k2=[1, 0, 0, 1, 0])
    with pytest.raises(
        AnalysisError, match=r"rows are others than those of .*'word' differs.*by ="
    ):
        flow([a, b])
    result = flow([a, b], by=["word"])
    assert result.tables["agreement"]["rows"] == [4]
    assert result.notes == [
        "kmeans/corpus/net/layer: 1 of 5 rows are not in all inputs",
        "kmeans/corpus/other/layer: 1 of 5 rows are not in all inputs",
    ]
    assert result.tables["agreement"]["ari"] == [
        pytest.approx(adjusted_rand_score([0, 1, 1, 1], [0, 1, 1, 0]))
    ]
    with pytest.raises(AnalysisError, match=r"several rows have position = 0"):
        flow([a, b], by=["position"])
    with pytest.raises(AnalysisError, match=r"no column is called 'place'.*there are: sample"):
        flow([a, b], by="place")
    c = words(["y z"], name="c/map", cluster_k2=[0, 1])
    with pytest.raises(AnalysisError, match="expected 5 rows, .*, found 2"):
        flow([a, c])
    with pytest.raises(AnalysisError, match="no row of .* is in all others by word"):
        flow([a, c], by=["word"])


def test_clusterings_with_other_k_are_left_out_and_a_single_one_is_refused(words):
    a = words(["a b c"], cluster_k2=[0, 0, 1], cluster_k3=[0, 1, 2], leader=[0, 1, 2])
    b = words(["a b c"], name="tree/corpus/net/layer/map", cluster_k2=[1, 1, 0], leader=[0, 0, 1])
    result = flow([a, b])
    assert result.notes == ["kmeans/corpus/net/layer k=3: no other clustering has this k"]
    assert result.tables["agreement"]["ari"] == [1.0]
    with pytest.raises(AnalysisError, match="expected two clusterings with the same k"):
        flow([a])
    none = words(["a b c"], name="x/map", cluster_k2=[None, None, 1])
    other = words(["a b c"], name="y/map", cluster_k2=[0, 1, None])
    with pytest.raises(AnalysisError, match="no row has a cluster here and in x k=2"):
        flow([none, other])
