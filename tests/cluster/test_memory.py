"""Memory of analyses: foretold from shapes, and kept by the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actx_cluster import plugin
from actx_cluster.clustering.config import KMeansConfig
from actx_cluster.clustering.kmeans import KMeans
from actx_core import AnalysisError, ArraySpec
from actx_core.config.load import load_analyses
from actx_core.registry import registry

SILENT = {"estimator", "conceptx", "alignment", "flow", "assign"}
"""Analyzers whose memory is not known, or depends on an old result."""
NEEDED = {
    "kmeans": {"k": 20},
    "agglomerative": {"k": 20},
    "tuning": {"column": "angle"},
    "estimator": {"estimator": "sklearn.cluster.Birch", "trust": True},
}


def spec(rows=10_000, size=64, name="t", dtype="float32", axes=("channel",)):
    shape = (size,) if len(axes) == 1 else (size, *[7] * (len(axes) - 1))
    return ArraySpec("s", "m", name, ("row", *axes), shape, dtype, rows)


def build(kind, **options):
    (entry,) = load_analyses({"actx": 1, "analyze": [{"type": kind, **options}]})
    return registry().load(entry.component)(entry.config)


@pytest.mark.parametrize("kind", [c.name for c in plugin.actx_analyzers() if c.name not in SILENT])
def test_more_and_longer_rows_never_take_less(kind):
    analyzer = build(kind, **NEEDED.get(kind, {}))

    def told(**options):
        return analyzer.memory([spec(**options), spec(**options, name="u")])

    assert 0 < told(rows=2000) <= told(rows=4000) <= told(rows=4000, size=128)
    assert told(size=128, dtype="int8_per_channel") == told(size=128, dtype="bfloat16")
    assert told(size=128) <= told(size=128, dtype="float64")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("estimator", NEEDED["estimator"]),
        ("map", {"method": "umap"}),
        ("leaders", {"tau": 2.0}),
        ("rdm", {"by": "label"}),
        ("rsa", {"by": "label"}),
        ("rsa", {"split": "replicate"}),
        # refused with all rows, but caps may leave few
        ("kmeans", {"k": 2, "memory": "50MB", "caps": {"column": "label", "max": 10}}),
    ],
)
def test_what_depends_on_more_than_shapes_is_not_known(kind, options):
    assert build(kind, **options).memory([spec(100_000), spec(100_000)]) is None


@pytest.mark.parametrize("kind", ["kmeans", "pca", "nmf", "cka", "rdm", "probe", "neighbours"])
def test_rows_that_are_not_vectors_are_refused_beforehand(kind):
    with pytest.raises(AnalysisError, match="each has the axes channel 64 x y 7 x x 7") as caught:
        build(kind, **NEEDED.get(kind, {})).memory([spec(axes=("channel", "y", "x"))] * 2)
    assert 'over = ["y", "x"]' in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("kmeans", {"k": 11}, "expected at least k = 11 rows, found 10"),
        ("neighbours", {"k": 10}, "expected more than 10 rows for 10 neighbours, found 10"),
    ],
)
def test_too_few_rows_are_refused_beforehand(kind, options, message):
    with pytest.raises(AnalysisError, match=message):
        build(kind, **options).memory([spec(rows=10)])


def test_the_plan_and_the_run_refuse_alike(make_input):
    config = KMeansConfig(k=20, algorithm="bisecting", memory="50MB")
    rows = make_input(np.empty((10_000, 64), np.float32), name="s/m/t")
    said = []
    for refused in (
        lambda: KMeans(config).memory([spec()]),
        lambda: KMeans(config).run([rows], Path()),
    ):
        with pytest.raises(AnalysisError, match="more than memory = 50 MB") as caught:
            refused()
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert rows.array.largest == 0


def old_result(folder):
    """A stored clustering: its centres."""
    folder.mkdir()
    np.save(folder / "centers.npy", np.random.default_rng(0).standard_normal((20, 64)))
    about = {
        "arrays": {"centers": {"file": "centers.npy"}},
        "type": "cluster/kmeans",
        "options": {},
        "analysis": "old",
        "digest": "abc",
        "inputs": [{"name": "s/m/t"}],
    }
    (folder / "result.json").write_text(json.dumps(about))
    return str(folder)


def test_assigning_needs_the_old_centres(tmp_path):
    analyzer = build("assign", result=old_result(tmp_path / "old"))
    assert 0 < analyzer.memory([spec(2000)]) < analyzer.memory([spec(100_000)])
    (tmp_path / "old/result.json").unlink()
    with pytest.raises(AnalysisError, match="expected the folder of a result"):
        analyzer.memory([spec()])


CASES = [
    ("kmeans", {"k": 20}, [(20_000, 512)]),
    ("agglomerative", {"k": [20, 50]}, [(4000, 1024)]),
    ("agglomerative", {"k": 20, "linkage": "average"}, [(6000, 32)]),
    ("agglomerative", {"k": 20, "preprocess": "pca:50"}, [(3000, 2048)]),
    ("leaders", {"k": 20, "leaders": 1000}, [(20_000, 512)]),
    ("hdbscan", {}, [(6000, 20)]),
    ("pca", {"components": 50}, [(10_000, 2048)]),
    ("pca", {}, [(2000, 8000)]),
    ("ica", {"max_iter": 5}, [(40_000, 256)]),
    ("nmf", {"components": [5, 20], "max_iter": 5}, [(10_000, 1024)]),
    ("rdm", {}, [(3000, 512)]),
    ("rdm", {"metric": "euclidean"}, [(8000, 64)]),
    ("rsa", {"permutations": 10, "bootstraps": 10}, [(1500, 64)] * 2),
    ("cka", {}, [(20_000, 512)] * 2),
    ("cka", {}, [(1000, 2048)] * 3),
    ("procrustes", {}, [(1000, 2048)] * 2),
    ("neighbours", {}, [(10_000, 64)]),
    ("tuning", NEEDED["tuning"], [(40_000, 256)]),
    ("probe", {"folds": 3, "max_iter": 20}, [(10_000, 256)]),
    ("map", {}, [(40_000, 256)]),
]
STREAMED = [
    ("pca", {}, 1, 150),
    ("nmf", {"max_iter": 2}, 1, 120),
    ("ica", {"max_iter": 2}, 1, 140),
    ("tuning", NEEDED["tuning"], 1, 250),
    ("cka", {}, 2, 600),
    ("kmeans", {"k": 20, "algorithm": "minibatch"}, 1, 180),
]
"""Options, inputs, and the bytes for each row that its names and its line of the result may take."""
FEW, MANY = 50_000, 500_000


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What each case took at most, and what was foretold."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process can only be reset on Linux")
    folder = tmp_path_factory.mktemp("rows")
    script = Path(__file__).with_name("measure_memory.py")

    def measure(cases):
        command = [sys.executable, str(script), str(folder), json.dumps(cases)]
        one = {**os.environ, "OMP_NUM_THREADS": "1", "ACTX_PLUGINS": "cluster"}
        done = subprocess.run(command, capture_output=True, text=True, env=one, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return measure


@pytest.mark.slow
def test_the_peak_is_at_most_what_was_foretold(measured, tmp_path):
    wrong = {}
    assign = ("assign", {"result": old_result(tmp_path / "old")}, [(100_000, 64)])
    cases = [*CASES, assign]
    for case, (peak, told) in zip(cases, measured(cases), strict=True):
        if peak > 1.2 * told or told > 3 * peak + 2**26:
            wrong[str(case)] = f"{peak / 1e6:.0f} MB, foretold {told / 1e6:.0f} MB"
    assert not wrong


@pytest.mark.slow
def test_streaming_analyzers_hold_no_rows(measured):
    cases = [(kind, o, [(rows, 64)] * n) for kind, o, n, _ in STREAMED for rows in (FEW, MANY)]
    found = measured(cases)
    for (kind, _, _, each), few, many in zip(STREAMED, found[::2], found[1::2], strict=True):
        assert many[0] - few[0] <= (MANY - FEW) * each, (kind, few, many)
        assert many[0] <= 1.2 * many[1], (kind, many)
