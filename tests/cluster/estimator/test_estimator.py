"""Any scikit-learn class: what comes out is what the class itself says; what cannot work is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import cluster, decomposition, ensemble, preprocessing
from sklearn.datasets import load_digits

from actx_cluster.estimator.config import EstimatorConfig
from actx_cluster.estimator.estimator import Estimator
from actx_core import AnalysisError

ARRAY = load_digits().data[:300]


def fit(data, name, **options):
    config = EstimatorConfig(estimator=name, **{"trust": True} | options)
    return Estimator(config).run([data], Path())


def test_birch_clusters_and_transforms(make_input):
    found = fit(
        make_input(ARRAY), "sklearn.cluster.Birch", params={"n_clusters": 6, "threshold": 20.0}
    )
    wanted = cluster.Birch(n_clusters=6, threshold=20.0).fit(ARRAY)
    assert found.tables["assignments"]["cluster"].to_pylist() == wanted.labels_.tolist()
    assert found.tables["assignments"]["sample"][:2].to_pylist() == ["img0000.png", "img0001.png"]
    np.testing.assert_array_equal(found.arrays["transformed"][0], wanted.transform(ARRAY))
    assert found.arrays["transformed"][1] == ("row", "component")
    assert found.arrays["labels"][1] == ("row",)
    assert found.tables["clusters"]["rows"] == np.bincount(wanted.labels_).tolist()
    title, rows = next(iter(found.groups.items()))
    members = np.flatnonzero(wanted.labels_ == 0)
    far = np.linalg.norm(ARRAY[members] - ARRAY[members].mean(axis=0), axis=1)
    assert title == f"cluster 0 ({len(members)} rows)"
    assert rows == members[np.argsort(far, kind="stable")][:8].tolist()
    assert found.figures["clusters"].startswith(b"\x89PNG")


def test_noise_is_no_cluster(make_input):
    found = fit(make_input(ARRAY), "sklearn.cluster.DBSCAN", params={"eps": 20.0})
    wanted = cluster.DBSCAN(eps=20.0).fit(ARRAY)
    assert found.tables["assignments"]["cluster"].to_pylist() == wanted.labels_.tolist()
    assert (wanted.labels_ == -1).any()
    assert found.tables["clusters"]["cluster"] == list(range(wanted.labels_.max() + 1))
    assert found.metrics["clusters"] == wanted.labels_.max() + 1


def test_what_only_transforms_gives_an_array_alone(make_input):
    found = fit(
        make_input(ARRAY),
        "sklearn.decomposition.FactorAnalysis",
        params={"n_components": 3},
        seed=5,
    )
    method = decomposition.FactorAnalysis(n_components=3, random_state=5)
    np.testing.assert_array_equal(found.arrays["transformed"][0], method.fit_transform(ARRAY))
    assert found.tables == {}
    for name in ("components_", "mean_", "noise_variance_"):
        np.testing.assert_array_equal(found.arrays[name][0], getattr(method, name))


def test_what_was_learned_of_each_row_follows_the_rows(make_input):
    found = fit(make_input(ARRAY), "sklearn.cluster.OPTICS")
    distances, axes = found.arrays["core_distances_"]
    np.testing.assert_array_equal(distances, cluster.OPTICS().fit(ARRAY).core_distances_)
    assert axes == ("row",)


def test_what_is_no_array_of_numbers_is_not_stored(make_input):
    found = fit(make_input(ARRAY), "sklearn.cluster.Birch", params={"threshold": 20.0})
    learned = {name for name in found.arrays if name.endswith("_")}
    assert learned == {"subcluster_centers_", "subcluster_labels_"}  # root_ is an object
    square = fit(make_input(ARRAY[:64]), "sklearn.decomposition.PCA", params={"n_components": 64})
    assert square.arrays["components_"][1] == ("axis0", "axis1")  # not the 64 rows


def test_predictions_preprocessing_and_sparse_results(make_input):
    found = fit(make_input(ARRAY), "sklearn.ensemble.IsolationForest", preprocess="zscore", seed=2)
    scale = np.where(ARRAY.std(axis=0) > 0, ARRAY.std(axis=0), 1)
    wanted = ensemble.IsolationForest(random_state=2).fit_predict(
        (ARRAY - ARRAY.mean(axis=0)) / scale
    )
    assert np.mean(np.array(found.tables["assignments"]["cluster"]) == wanted) > 0.99
    few = np.random.default_rng(0).integers(0, 3, (20, 2)).astype(float)
    found = fit(make_input(few), "sklearn.preprocessing.OneHotEncoder")
    wanted = preprocessing.OneHotEncoder().fit_transform(few).toarray()
    np.testing.assert_array_equal(found.arrays["transformed"][0], wanted)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("sklearn.cluster.Brich", {}, "cannot find the class sklearn.cluster.Brich"),
        ("sklearn.clusters.Birch", {}, "cannot find the class"),
        ("sklearn.cluster.k_means", {}, "expected a class with the method fit"),
        ("collections.Counter", {}, "expected a class with the method fit"),
        ("sklearn.cluster.Birch", {"clusters": 3}, "does not take these params: .*clusters"),
        (
            "sklearn.cluster.KMeans",
            {"n_clusters": 1000},
            "cannot be fitted to 300 rows of 64 values",
        ),
        ("sklearn.linear_model.Ridge", {}, "cannot be fitted to 300 rows"),
        ("sklearn.covariance.EmpiricalCovariance", {}, "says nothing of the rows"),
    ],
)
def test_what_cannot_work_is_named(make_input, name, params, message):
    with pytest.raises(AnalysisError, match=message):
        fit(make_input(ARRAY), name, params=params)


def test_code_needs_trust():
    with pytest.raises(ValidationError, match="say trust = true if you know it"):
        EstimatorConfig(estimator="sklearn.cluster.Birch")
    with pytest.raises(ValidationError, match="pattern"):
        EstimatorConfig(estimator="Birch; import os", trust=True)


def test_bad_rows_are_refused(make_input):
    array = ARRAY.copy()
    array[3, 0] = np.nan
    with pytest.raises(AnalysisError, match="sample 'img0003.png'"):
        fit(make_input(array), "sklearn.cluster.Birch")
