"""HDBSCAN: scikit-learn's labels and probabilities; noise, no cluster at all, too few rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.cluster import HDBSCAN
from sklearn.metrics import adjusted_rand_score

from actx_cluster.clustering.config import HdbscanConfig
from actx_cluster.clustering.hdbscan import Hdbscan
from actx_core import AnalysisError


def test_labels_are_those_of_scikit_learn_with_noise(make_input, analyse, separated):
    rows = separated[0].astype(np.float64)
    rows[::60] = np.random.default_rng(0).uniform(-12, 12, size=(25, 24))
    data = make_input(rows)
    found = analyse(Hdbscan, HdbscanConfig, data, min_cluster_size=20, min_samples=4)
    wanted = HDBSCAN(min_cluster_size=20, min_samples=4, copy=True).fit(rows)
    table = pa.table(found.tables["assignments"]).to_pydict()
    labels = np.array(table["cluster"])
    assert adjusted_rand_score(wanted.labels_, labels) == 1
    assert ((labels == -1) == (wanted.labels_ == -1)).all()
    assert table["probability"] == wanted.probabilities_.tolist()
    noise = int((labels == -1).sum())
    assert noise >= 20
    assert found.tables["fits"]["noise"] == [noise]
    assert [table["distance"][row] for row in np.flatnonzero(labels == -1)] == [None] * noise
    assert f"{noise} of 1500 rows are noise: in no cluster" in found.notes
    assert all((labels[rows] >= 0).all() for rows in found.groups.values())


def test_where_nothing_is_dense_it_says_so(make_input, analyse):
    array = np.random.default_rng(0).normal(size=(60, 80))
    found = analyse(Hdbscan, HdbscanConfig, make_input(array, label=["a", "b"] * 30))
    assert set(found.tables["assignments"]["cluster"].to_pylist()) == {-1}
    assert any("no cluster is dense enough" in note for note in found.notes)
    assert any('preprocess = "pca:20"' in note for note in found.notes)
    assert "clusters" in found.figures


def test_fewer_rows_than_a_cluster_needs(make_input, analyse):
    with pytest.raises(AnalysisError, match="at least 5 rows, found 3"):
        analyse(Hdbscan, HdbscanConfig, make_input(np.eye(3)))
