"""Assigning new rows to stored clusters: through a whole result on disk, and results that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from actx_cluster.clustering.agglomerative import Agglomerative
from actx_cluster.clustering.assign import Assign
from actx_cluster.clustering.config import AgglomerativeConfig, AssignConfig, KMeansConfig
from actx_cluster.clustering.kmeans import KMeans
from actx_core import AnalysisError


def assign(data, folder, **options):
    return Assign(AssignConfig(result=folder, **options)).run([data], Path())


@pytest.fixture
def stored(tmp_path, make_input, analyse, digits):
    """Writes a result as core does."""

    def store(analyzer=KMeans, config=KMeansConfig, kind="cluster/kmeans", **options):
        found = analyse(analyzer, config, make_input(digits.data[:1000]), **options)
        arrays = {}
        for name, (array, axes) in found.arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
            arrays[name] = {"file": f"{name}.npy", "axes": list(axes)}
        about = {
            "arrays": arrays,
            "type": kind,
            "options": options,
            "analysis": "old",
            "digest": "abc123",
            "inputs": [{"name": "photos/net/layer"}],
        }
        (tmp_path / "result.json").write_text(json.dumps(about))
        return tmp_path, found

    return store


@pytest.mark.parametrize("preprocess", ["none", "center", "zscore", "l2", "pca:8", "whiten:8"])
def test_the_old_rows_get_their_old_clusters(make_input, digits, stored, preprocess):
    folder, old = stored(k=[4, 9], preprocess=preprocess)
    found = assign(make_input(digits.data[:1000]), folder)
    for k in (4, 9):
        was, now = (one.tables["assignments"] for one in (old, found))
        assert now[f"cluster_k{k}"] == was[f"cluster_k{k}"]
        np.testing.assert_allclose(now[f"distance_k{k}"], was[f"distance_k{k}"], rtol=1e-6)
        assert found.metrics[f"inertia_k{k}"] == pytest.approx(old.metrics[f"inertia_k{k}"])
    assert "from old with digest abc123" in found.notes[0]


def test_new_rows_go_to_the_nearest_centre(make_input, digits, stored):
    folder, old = stored(Agglomerative, AgglomerativeConfig, "cluster/agglomerative", k=6)
    new = digits.data[1000:1001]  # one row is enough
    centers = old.arrays["centers_k6"][0]
    found = pa.table(assign(make_input(new), folder).tables["assignments"]).to_pydict()
    distances = np.linalg.norm(centers - new, axis=1)
    assert found["cluster_k6"] == [distances.argmin()]
    assert found["distance_k6"] == pytest.approx([distances.min()])
    assert found["sample"] == ["img0000.png"]


def test_labels_are_compared_as_by_a_clustering(make_input, digits, stored):
    folder, _ = stored(k=[4, 9])
    label = digits.target[1000:1400].tolist()
    found = assign(make_input(digits.data[1000:1400], label=label), folder)
    clusters = np.array(found.tables["assignments"]["cluster_k9"])
    compared = found.tables["agreement"]
    assert (compared["column"], compared["k"]) == (["label"] * 2, [4, 9])
    assert compared["ari"][1] == pytest.approx(adjusted_rand_score(label, clusters))
    enriched = found.tables["enrichment"]
    assert set(enriched["k"]) == {4, 9}
    assert min(enriched["q"]) < 1e-9
    sizes = [n for k, n in zip(*map(found.tables["clusters"].get, ("k", "rows"))) if k == 9]
    assert sizes == np.bincount(clusters, minlength=9).tolist()
    one = assign(make_input(digits.data[1000:1001]), folder).tables["clusters"]
    assert sorted(one["rows"][:4]) == [0, 0, 0, 1]
    named = assign(make_input(digits.data[:30], kind=label[:30]), folder, labels=("kind",))
    assert set(named.tables["agreement"]["column"]) == {"kind"}


def test_rows_lie_in_the_plane_of_the_old_centres(make_input, digits, stored):
    folder, old = stored(k=[4, 9])
    centers = old.arrays["centers_k9"][0]
    places, axes = assign(make_input(centers), folder).arrays["map"]
    assert axes == ("row", "map")
    wanted = PCA(2).fit_transform(centers)
    np.testing.assert_allclose(np.abs(places), np.abs(wanted), atol=1e-4)


def test_what_does_not_fit_is_refused(make_input, digits, stored, tmp_path):
    folder, _ = stored(k=3)
    data = make_input(digits.data[:20])
    with pytest.raises(AnalysisError, match="digest other, found abc123"):
        assign(data, folder, digest="other")
    with pytest.raises(AnalysisError, match="rows of 64 numbers.*found 30"):
        assign(make_input(digits.data[:20, :30]), folder)
    with pytest.raises(AnalysisError, match="expected the folder of a result"):
        assign(data, tmp_path / "nowhere")
    broken = digits.data[:20].copy()
    broken[4] = np.nan
    with pytest.raises(AnalysisError, match=r"sample 'img0004.png' \(row 4\)"):
        assign(make_input(broken), folder)
    folder, _ = stored(k=3, kind="cluster/hdbscan")
    with pytest.raises(AnalysisError, match="expected a result with centres"):
        assign(data, folder)
