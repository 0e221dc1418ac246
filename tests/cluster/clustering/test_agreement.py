"""Agreement with labels and enrichment, against scikit-learn, scipy and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact
from sklearn import metrics

from actx_cluster.clustering.agreement import agreement, benjamini_hochberg, coded, enrichment
from actx_cluster.clustering.config import KMeansConfig
from actx_cluster.clustering.kmeans import KMeans
from actx_core import AnalysisError


@pytest.fixture(scope="module")
def two():
    rng = np.random.default_rng(0)
    clusters = rng.integers(0, 4, 300)
    codes = np.where(rng.random(300) < 0.4, clusters, rng.integers(0, 6, 300))
    return clusters, codes


def test_agreement_is_that_of_scikit_learn(two):
    clusters, codes = two
    found = agreement(clusters, codes)
    assert found["ari"] == pytest.approx(metrics.adjusted_rand_score(codes, clusters))
    assert found["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(codes, clusters))
    assert found["v_measure"] == pytest.approx(metrics.v_measure_score(codes, clusters))
    assert found["homogeneity"] == pytest.approx(metrics.homogeneity_score(codes, clusters))
    frequent = sum(np.bincount(codes[clusters == n]).max() for n in range(4))
    assert found["purity"] == pytest.approx(frequent / 300)


def test_enrichment_is_fishers_test_with_the_correction_of_benjamini_and_hochberg(two):
    clusters, codes = two
    names = list("abcdef")
    table = enrichment(clusters, codes, names)
    p = np.ones((4, 6))
    for c in range(4):
        for k in range(6):
            inside = ((clusters == c) & (codes == k)).sum()
            cells = [
                [inside, (clusters == c).sum() - inside],
                [((clusters != c) & (codes == k)).sum(), ((clusters != c) & (codes != k)).sum()],
            ]
            p[c, k] = fisher_exact(cells, "greater").pvalue
    q = false_discovery_control(p.ravel()).reshape(4, 6)
    assert len(table["p"]) >= 4
    for c, name, mine, adjusted in zip(*(table[n] for n in ("cluster", "label", "p", "q"))):
        assert mine == pytest.approx(p[c, names.index(name)])
        assert adjusted == pytest.approx(q[c, names.index(name)])
    assert all(fold > 1 for fold in table["fold"])
    first = [table["label"][table["cluster"].index(c)] for c in range(4)]
    assert first == names[:4]


def test_tests_that_are_left_out_count(two):
    p = np.array([0.001, 0.2, 0.01, 0.04])
    padded = np.concatenate([p, np.ones(16)])
    np.testing.assert_allclose(benjamini_hochberg(p, 20), false_discovery_control(padded)[:4])


def test_labels_are_numbered_by_first_row_and_none_is_no_label():
    assert coded(["b", None, "a", "b", ""])[0] == ["b", "a", ""]
    assert coded(["b", None, "a", "b", ""])[1].tolist() == [0, -1, 1, 0, 2]


def test_numbers_that_are_missing_are_no_label():
    names, codes = coded([2.0, float("nan"), 1.0, float("nan"), 2.0])
    assert names == [2.0, 1.0]
    assert codes.tolist() == [0, -1, 1, -1, 0]


def test_any_column_can_be_compared(make_input, analyse, digits):
    few = digits.target[:300]
    columns = {
        "label": [str(n) for n in few],
        "even": [None if n == 9 else bool(n % 2) for n in few.tolist()],
    }
    data = make_input(digits.data[:300], **columns)
    found = analyse(KMeans, KMeansConfig, data, k=[10, 4], labels=["label", "even"])
    table = found.tables["agreement"]
    assert table["column"] == ["label", "label", "even", "even"]
    assert table["k"] == [10, 4, 10, 4]
    assert table["rows"] == [300, 300, (few != 9).sum(), (few != 9).sum()]
    labels = found.tables["assignments"]["cluster_k10"]
    assert table["ari"][0] == pytest.approx(metrics.adjusted_rand_score(few, labels))
    enriched = found.tables["enrichment"]
    assert set(enriched["column"]) == {"label", "even"}
    best = {c: k for c, k, q in zip(enriched["cluster"], enriched["k"], enriched["q"]) if q < 1e-6}
    assert len(best) >= 8
    again = analyse(KMeans, KMeansConfig, data, k=10)
    assert again.tables["agreement"]["column"] == ["label"]
    assert "agreement" not in analyse(KMeans, KMeansConfig, data, k=10, labels=[]).tables


def test_a_missing_column_is_named(make_input, analyse, digits):
    with pytest.raises(AnalysisError, match="no column is called 'colour'") as caught:
        analyse(KMeans, KMeansConfig, make_input(digits.data[:50]), k=2, labels=["colour"])
    assert "there are: sample" in caught.value.hint
