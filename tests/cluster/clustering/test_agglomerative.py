"""Agglomerative: labels of scikit-learn and trees of scipy, one tree for all k, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import is_valid_linkage, linkage
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

import actx_cluster.clustering.agglomerative as module
from actx_cluster import costs
from actx_cluster.clustering.agglomerative import Agglomerative
from actx_cluster.clustering.config import AgglomerativeConfig
from actx_core import AnalysisError


def agglomerative(analyse, data, **options):
    return analyse(Agglomerative, AgglomerativeConfig, data, **options)


@pytest.mark.parametrize("method", ["ward", "average", "complete", "single"])
def test_labels_are_those_of_scikit_learn_and_the_tree_is_scipys(
    make_input, analyse, digits, method
):
    # counts have ties, and then several trees are right
    array = digits.data[:500] + np.random.default_rng(0).normal(size=(500, 64)) / 100
    found = agglomerative(analyse, make_input(array), k=[3, 40], linkage=method)
    for k in (3, 40):
        theirs = AgglomerativeClustering(k, linkage=method).fit_predict(array)
        labels = found.tables["assignments"][f"cluster_k{k}"]
        assert adjusted_rand_score(theirs, labels) == 1
    tree, axes = found.arrays["linkage"]
    assert axes == ("merge", "column")
    assert is_valid_linkage(tree)
    np.testing.assert_allclose(tree[:, 2], linkage(array, method)[:, 2], rtol=1e-4)
    assert {"clusters_k3", "clusters_k40", "dendrogram"} == set(found.figures)


def test_a_list_of_k_costs_one_tree_and_equals_separate_calls(
    make_input, analyse, digits, monkeypatch
):
    made = []
    ward = module.ward
    monkeypatch.setattr(
        module, "ward", lambda rows, **options: made.append(1) or ward(rows, **options)
    )
    data = make_input(digits.data[:400])
    ks = [2, 3, 17, 100]
    together = agglomerative(analyse, data, k=ks)
    assert made == [1]
    for k in (3, 100):
        alone = agglomerative(analyse, data, k=k)
        column = f"cluster_k{k}"
        assert together.tables["assignments"][column] == alone.tables["assignments"][column]
    assert together.tables["fits"]["k"] == ks  # three numbers are no start, stop and step


def test_every_row_is_assigned_the_last_too(make_input, analyse, digits):
    found = agglomerative(analyse, make_input(digits.data[:50]), k=5)
    labels = found.tables["assignments"]["cluster_k5"]
    assert len(labels) == 50
    assert None not in labels
    assert sum(found.tables["clusters"]["rows"]) == 50


def test_a_sweep_has_a_figure_and_a_suggestion(make_input, analyse, separated):
    found = agglomerative(analyse, make_input(separated[0]), k=[3, 12, 40], stability=1)
    assert "of these k, the silhouette is highest at k = 12" in found.notes
    assert "sweep" in found.figures
    stability = found.tables["fits"]["stability"]
    assert stability[1] > 0.99
    assert stability[1] > stability[2]
    assert found.metrics["stability_k12"] == stability[1]


def test_clusters_of_as_many_rows_as_there_are(make_input, analyse):
    found = agglomerative(analyse, make_input(np.random.default_rng(0).normal(size=(6, 3))), k=6)
    assert sorted(found.tables["assignments"]["cluster_k6"].to_pylist()) == list(range(6))


def test_a_chain_of_merges_can_be_drawn(make_input, analyse):
    # each merge adds one row: a tree 3000 deep
    array = np.cumsum(np.linspace(1, 2, 3000))[:, None]
    found = agglomerative(analyse, make_input(array), k=2, linkage="single", silhouette=0)
    assert "dendrogram" in found.figures


def test_rows_that_are_equal_are_refused_where_too_few_differ(make_input, analyse):
    array = np.repeat(np.eye(3), 10, axis=0)
    found = agglomerative(analyse, make_input(array), k=3)
    assert found.metrics["inertia_k3"] == pytest.approx(0)
    with pytest.raises(AnalysisError, match="at least k = 31 rows, found 30"):
        agglomerative(analyse, make_input(array), k=31)


@pytest.mark.parametrize("method", ["average", "complete", "single"])
def test_a_matrix_of_distances_that_does_not_fit_is_refused(make_input, analyse, method):
    data = make_input(np.random.default_rng(0).normal(size=(9000, 4)))
    with pytest.raises(AnalysisError, match="9000 rows needs about 7.. MB") as caught:
        agglomerative(analyse, data, k=2, linkage=method, memory="500MB")
    assert caught.value.hint.startswith('linkage = "ward" fits')
    assert data.array.largest == 0  # before the work


def test_memory_picks_leaders_and_says_so(make_input, analyse, separated, monkeypatch):
    monkeypatch.setattr(module, "LEADERS", 100)
    monkeypatch.setattr(costs, "FIXED", 0)
    rows, truth = separated
    found = agglomerative(
        analyse, make_input(rows), k=12, memory="1120kB", silhouette=0, stability=1
    )
    assert found.notes[0].startswith("Ward's tree of 100 leaders at most: one of all 1500 rows")
    assert "memory = 1.12 MB" in found.notes[0]
    assert adjusted_rand_score(truth, found.tables["assignments"]["cluster_k12"]) > 0.99
    assert is_valid_linkage(found.arrays["linkage"][0])
    with pytest.raises(AnalysisError, match="more than memory = 10 kB") as caught:
        agglomerative(analyse, make_input(rows), k=12, memory="10kB")
    assert 'algorithm = "minibatch"' in caught.value.hint
