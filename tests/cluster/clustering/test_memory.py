"""Memory: foretold before the work, kept, and what is picked or refused where it is too little."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import actx_cluster.clustering.kmeans
from actx_cluster.clustering import leaders
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
    monkeypatch.setattr(actx_cluster.clustering.kmeans, "FIXED", 0)
    data = make_input(separated[0])
    found = analyse(KMeans, KMeansConfig, data, k=12, memory="300kB", silhouette=50)
    assert found.notes[0].startswith('algorithm = "minibatch": "lloyd" needs about')
    held = analyse(KMeans, KMeansConfig, data, k=12, memory="10MB", silhouette=50)
    assert not any("minibatch" in note for note in held.notes)


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
    monkeypatch.setattr(leaders, "FIXED", 0)
    found = analyse(
        LeadersWard, LeadersConfig, make_input(separated[0]), leaders=1000, memory="700kB"
    )
    assert "leaders: more do not fit in memory = 700 kB" in found.notes[0]
    assert 10 < found.metrics["leaders"] < 300


SCRIPT = """
import sys
from pathlib import Path
import numpy as np, pyarrow as pa
from actx_core import Input
from actx_cluster.clustering import agglomerative, kmeans, leaders, config
from actx_cluster.clustering.budget import FIXED

class Made:  # rows that exist only while they are read
    def __init__(self, n, d):
        self.shape, self.dtype = (n, d), np.dtype("float32")
        rng = np.random.default_rng(9)
        self.centres = (rng.normal(size=(20, d)) * 3).astype("float32")
        self.noise = rng.normal(size=(997, d)).astype("float32")
    def __getitem__(self, rows):
        numbers = np.arange(*rows.indices(self.shape[0]))
        return self.centres[numbers % 20] + self.noise[numbers % 997] * (1 + numbers[:, None] / 1e6)

def peak():
    lines = open("/proc/self/status").read().splitlines()  # ru_maxrss begins with the parent's
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

name, n, d = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
analyzer, kind, options = {
    "minibatch": (kmeans.KMeans, config.KMeansConfig, {"k": 20, "algorithm": "minibatch"}),
    "lloyd": (kmeans.KMeans, config.KMeansConfig, {"k": 20}),
    "ward": (agglomerative.Agglomerative, config.AgglomerativeConfig, {"k": [20, 50]}),
    "leaders": (leaders.LeadersWard, config.LeadersConfig, {"k": 20, "leaders": 1000}),
}[name]
data = Input("made/up/tap", Made(n, d), ("row", "channel"), pa.table({"row": range(n)}), "",
             lambda rows: [None] * len(rows))
given = kind(**options, silhouette=100, stability=0, exemplars=2)
before = peak()
analyzer(given).run([data], Path())
print(peak() - before)
"""


def grown(name, n, d):
    command = [sys.executable, "-c", SCRIPT, name, str(n), str(d)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "n"), [("lloyd", 20_000), ("ward", 4_000), ("leaders", 20_000)])
def test_the_peak_is_at_most_what_was_foretold(make_input, name, n):
    d = 512
    rows = n * (d * 4 + 64) + n * 100 * 3
    fixed = 5 * 2**25
    needed = {
        "lloyd": fixed + rows + n * d * 4,
        "ward": fixed + rows + n * d * 8,
        "leaders": fixed + rows + 1000 * d * 48,
    }[name]
    assert grown(name, n, d) <= 1.2 * needed


@pytest.mark.slow
def test_mini_batches_need_no_more_for_more_rows():
    few, many = (grown("minibatch", n, 512) for n in (20_000, 80_000))
    assert many - few < 60_000 * 512 * 4 / 2  # labels and tables; half of what the rows would take


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
