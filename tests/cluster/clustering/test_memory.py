"""Memory: foretold before the work, kept, and what is picked or refused where it is too little."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from actx_cluster import costs
from actx_cluster.clustering import kmeans
from actx_cluster.clustering.agglomerative import Agglomerative
from actx_cluster.clustering.budget import limit, said
from actx_cluster.clustering.config import (
    AgglomerativeConfig,
    HdbscanConfig,
    KMeansConfig,
    LeadersConfig,
)
from actx_cluster.clustering.hdbscan import Hdbscan
from actx_cluster.clustering.kmeans import KMeans
from actx_cluster.clustering.leaders import LeadersWard
from actx_core import AnalysisError


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 MB", 1_500_000), ("4KiB", 4096), ("1GiB", 2**30), (7, 7)],
)
def test_memory_is_said_in_units(text, size):
    assert KMeansConfig(k=2, memory=text).memory == size


def test_sizes_in_words():
    assert [said(n) for n in (7, 1500, 2 * 10**9)] == ["7 B", "1.5 kB", "2 GB"]
    assert limit(5) == 5
    assert limit(None) > 10**8


def test_kmeans_reads_mini_batches_where_the_rows_do_not_fit(
    make_input, analyse, separated, monkeypatch
):
    monkeypatch.setattr(costs, "FIXED", 0)
    monkeypatch.setattr(kmeans, "DRAWN", 200)
    data = make_input(separated[0])

    def found(memory):
        return analyse(KMeans, KMeansConfig, data, k=12, memory=memory, silhouette=0, stability=0)

    assert (
        found("1200kB").notes[0].startswith('algorithm = "minibatch": "lloyd" needs about 1.71 MB')
    )
    assert not any("minibatch" in note for note in found("3MB").notes)
    with pytest.raises(AnalysisError, match="k-means of 1500 x 24 numbers needs about 865 kB"):
        found("800kB")


@pytest.mark.parametrize(
    ("analyzer", "config", "options"),
    [
        (KMeans, KMeansConfig, {"k": 2, "algorithm": "bisecting"}),
        (LeadersWard, LeadersConfig, {"k": 2}),
        (Hdbscan, HdbscanConfig, {}),
        (Agglomerative, AgglomerativeConfig, {"k": 2}),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(
    make_input, analyse, digits, analyzer, config, options
):
    data = make_input(digits.data)
    with pytest.raises(AnalysisError, match="needs about .* MB, more than memory = 2 MB") as caught:
        analyse(analyzer, config, data, memory="2MB", **options)
    assert 'algorithm = "minibatch"' in caught.value.hint
    assert data.array.largest == 0  # nothing was read


def test_a_budget_lowers_the_number_of_leaders(make_input, analyse, separated, monkeypatch):
    monkeypatch.setattr(costs, "FIXED", 0)
    options = {"leaders": 1000, "memory": "1070kB", "silhouette": 0, "stability": 0}
    found = analyse(LeadersWard, LeadersConfig, make_input(separated[0]), **options)
    room = int(found.notes[0].split()[2])
    assert found.notes[0] == f"at most {room} leaders: more do not fit in memory = 1.07 MB"
    assert 500 < room < 600
    assert 10 < found.metrics["leaders"] <= room


def test_one_thread_and_two_give_the_same_clusters(make_input, analyse, digits):
    rows = np.tile(digits.data[:800], (1, 4)).astype(np.float32)
    rows += np.random.default_rng(0).normal(size=rows.shape)
    for analyzer, config, options in (
        (KMeans, KMeansConfig, {"k": 10}),
        (KMeans, KMeansConfig, {"k": 10, "algorithm": "minibatch"}),
        (Agglomerative, AgglomerativeConfig, {"k": [10, 30], "stability": 1}),
        (LeadersWard, LeadersConfig, {"k": 10, "leaders": 100}),
    ):
        results = []
        for threads in (1, 2):
            with threadpool_limits(threads):
                results.append(analyse(analyzer, config, make_input(rows), **options))
        one, two = results
        for name, column in one.tables["assignments"].items():
            if name.startswith(("cluster", "leader")):
                assert column == two.tables["assignments"][name]
        assert one.metrics == pytest.approx(two.metrics, rel=1e-6)
        for name in one.arrays.keys() - {"map"}:
            np.testing.assert_allclose(one.arrays[name][0], two.arrays[name][0], rtol=1e-6)
