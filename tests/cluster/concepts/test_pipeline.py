"""Seed 002 in one pipeline and one command: extract, cluster twice, ConceptX's files, labels, flow."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from actx_cluster.concepts.cluster_file import read_clusters
from actx_core import AnalysisError, Pipeline, TapError, open_run
from actx_core.cli.group import actx
from actx_core.verify import verify

LETTERS = "abcdefg"
LINES = [" ".join(f"{LETTERS[(n + 3 * m) % 7]}{(n * m) % 6}" for m in range(8)) for n in range(24)]
PIPELINE = """
actx = 1
run.out = "runs/words"
source = { type = "text", path = "corpus.txt" }
model = { type = "words", as = "net", taps = ["layer1", "layer2"] }

[[analyze]]
type = "agglomerative"
on = ["corpus/net/*"]
k = 7
caps = { column = "word", min = 2, max = 10, delete_above = 100 }

[[analyze]]
type = "kmeans"
on = ["corpus/net/*"]
k = [5, 7]

[[analyze]]
type = "conceptx"
on = ["agglomerative", "kmeans"]

[[analyze]]
type = "alignment"
on = ["kmeans"]
labels = "labels.txt"
types = 3

[[analyze]]
type = "flow"
on = ["kmeans"]

[[export]]
format = "conceptx"
path = "conceptx"
"""


@pytest.fixture
def project(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus.txt").write_text("\n".join(LINES) + "\n")
    (tmp_path / "labels.txt").write_text(
        "\n".join(" ".join(word[0].upper() for word in line.split()) for line in LINES) + "\n"
    )
    (tmp_path / "concepts.toml").write_text(PIPELINE)
    return tmp_path


def run(pipeline="concepts.toml", **options):
    return list(Pipeline.from_file(pipeline, **options).run())


def command(*words, code=0):
    with pytest.raises(SystemExit) as done:
        actx(words, prog_name="actx")
    assert done.value.code == code


def results(project, analysis):
    return sorted(project.glob(f"runs/words/analyses/{analysis}/*/"))


def test_one_pipeline_does_it_all(project):
    run()
    rows = open_run("runs/words")["corpus/net/layer2"].rows
    words = rows["word"].to_pylist()
    assert words == " ".join(LINES).split()
    tree, _, means, _ = results(project, "conceptx")
    assert [path.name for path in sorted(means.glob("c*"))] == [
        "clusters-kmeans-5.txt",
        "clusters-kmeans-7.txt",
        "clusters.csv",
        "clusters.parquet",
    ]
    assert (means / "CodeConceptNet-kmeans-7.json").exists()
    found = read_clusters(means / "clusters-kmeans-7.txt")
    assert len(found) == len(words) == 192
    source = pq.read_table(results(project, "kmeans")[0] / "assignments.parquet")
    wanted = zip(words, source["cluster_k7"].to_pylist(), strict=True)
    assert sorted(zip(found["word"].to_pylist(), found["cluster"].to_pylist())) == sorted(wanted)
    capped = read_clusters(tree / "clusters-agglomerative-7.txt")["word"].to_pylist()
    assert max(capped.count(word) for word in capped) == 10
    assert min(words.count(word) for word in set(capped)) >= 2
    assert json.loads((tree / "sentences.json").read_text()) == LINES
    note = json.loads((tree / "result.json").read_text())["notes"][0]
    assert note.startswith("clusters-agglomerative-7.txt: ")

    alignment = pq.read_table(results(project, "alignment")[0] / "alignment.parquet").to_pydict()
    deep = alignment["clustering"].index("kmeans/corpus/net/layer2", 3)
    assert alignment["k"][deep + 3 :] == [7, 7, 7]
    assert alignment["overall"][deep + 3] == 1.0  # the deep layer is made of first letters
    flow = pq.read_table(results(project, "flow")[0] / "flow.parquet").to_pydict()
    assert sum(flow["rows"]) == 2 * 192
    assert {path.name for path in results(project, "flow")[0].glob("*.png")} >= {"flow_k7.png"}

    points = np.load("conceptx/corpus/net/layer1/processed-point.npy")
    assert np.array_equal(points, open_run("runs/words")["corpus/net/layer1"].numpy())
    keys = np.load("conceptx/corpus/net/layer1/processed-vocab.npy")
    assert keys[9].split("|||")[2:] == ["1", "1"]
    assert verify(project / "runs" / "words", lambda _: None) == []
    report = (project / "runs/words/report.html").read_text("utf-8")
    assert "clusters-kmeans-7.txt" in report.replace("<wbr>", "")

    command("analyze", "conceptx/corpus/net/layer2", "--type", "kmeans", "--set", "k=7")
    folder = project / "conceptx/corpus/net/layer2.actx/analyses/kmeans/points"
    again = pq.read_table(folder / "assignments.parquet")
    assert again["cluster_k7"].equals(
        pq.read_table(results(project, "kmeans")[1] / "assignments.parquet")["cluster_k7"]
    )
    file, options = str(means / "clusters-kmeans-7.txt"), ("--set", "labels=labels.txt")
    command("analyze", file, "--type", "alignment", *options, "--out", "of-file")
    of_file = pq.read_table("of-file/analyses/alignment/all/alignment.parquet").to_pydict()
    first = alignment["clustering"].index("kmeans/corpus/net/layer1")
    assert of_file["overall"] == alignment["overall"][first + 3 : first + 6]


def test_one_line_picks_layer_and_clusters_as_the_script_does(project):
    taps, flow = 'model.0.taps=["layer0"]', 'analyze.4.on=["agglomerative", "kmeans"]'
    sets = [taps, "analyze.0.k=3", "analyze.1.k=3", flow]
    command("run", "concepts.toml", *(word for text in sets for word in ("--set", text)))
    assert [path.name for path in results(project, "conceptx")] == [
        "agglomerative%2fcorpus%2fnet%2flayer0%2fmap",
        "kmeans%2fcorpus%2fnet%2flayer0%2fmap",
    ]


def test_wrong_layers_and_missing_activations_are_named(project):
    with pytest.raises(TapError, match=r"layer12.*layer1"):
        run(overrides=['model.0.taps=["layer12"]'])
    with pytest.raises(AnalysisError, match=r"nothing matches.*did you mean 'corpus/net/layer2'"):
        run(overrides=['analyze.0.on=["corpus/net/layer12"]'])


def test_missing_activations_are_told_before_clustering(project, capsys):
    command("run", "concepts.toml", "--slice", "1/2", "--set", "run.shard_size=6")
    capsys.readouterr()
    command("finish", "concepts.toml", "--set", "run.shard_size=6", code=7)
    assert "2 of 4 shards" in capsys.readouterr().err
    command("analyze", "runs/words", "--type", "kmeans", "--set", "k=2", code=2)
    assert "finish it first" in capsys.readouterr().err
    command("run", "concepts.toml", "--slice", "2/2", "--set", "run.shard_size=6")
    command("finish", "concepts.toml", "--set", "run.shard_size=6")
    (project / "runs/words/corpus/net/layer1.npy").unlink()
    capsys.readouterr()
    command("analyze", "runs/words", "--type", "pca", code=6)
    assert "layer1.npy" in capsys.readouterr().err
