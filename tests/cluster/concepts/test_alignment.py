"""Alignment and coverage against a plain count; labels found by their sentence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from actx_cluster.concepts.alignment import Alignment
from actx_cluster.concepts.config import AlignmentConfig
from actx_cluster.concepts.words import words_of
from actx_core import AnalysisError

LABELS = [
    "DET NOUN VERB DET ADJ NOUN",
    "DET ADJ NOUN VERB DET NOUN",
    "NAME VERB DET NOUN DET NOUN",
    "DET NOUN VERB DET NOUN",
    "NOUN CONJ NOUN VERB ADV",
]


def align(inputs, **options):
    inputs = inputs if isinstance(inputs, list) else [inputs]
    return Alignment(AlignmentConfig(**options)).run(inputs, Path())


def plainly(words, labels, clusters, threshold, types):
    """Alignment and coverage of one clustering, as the papers put it."""
    aligned = {}
    for cluster in set(clusters) - {None}:
        mine = [n for n, c in enumerate(clusters) if c == cluster]
        counts = Counter(labels[n] for n in mine if labels[n] is not None)
        if counts and len({words[n] for n in mine}) >= types:
            label, count = counts.most_common(1)[0]
            if count / len(mine) >= threshold:
                aligned[cluster] = label
    total = len(set(clusters) - {None})
    return len(aligned) / total, len(set(aligned.values())) / len(set(labels) - {None})


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_a_plain_count_on_random_clusters(words, seed):
    rng = np.random.default_rng(seed)
    text = [" ".join(rng.choice(list("abcdefghijkl"), 20)) for _ in range(30)]
    letters = " ".join(text).split()
    labels = [None if w == "l" else "vowel" if w in "aei" else f"c{ord(w) % 4}" for w in letters]
    clusters = [{"vowel": 0, "c1": 1, "c2": 2}.get(label, 3) for label in labels]
    noisy = rng.random(600)
    clusters = [
        None if r < 0.05 else int(rng.integers(0, 6)) if r < 0.15 else c
        for c, r in zip(clusters, noisy)
    ]
    data = words(text, cluster_k6=clusters, tag=labels)
    result = align(data, column="tag", thresholds=(0.95, 0.5, 0.8), types=3)
    table = result.tables["alignment"]
    assert table["threshold"] == [0.5, 0.8, 0.95]
    for n, threshold in enumerate(table["threshold"]):
        wanted = plainly(letters, labels, clusters, threshold, 3)
        assert (table["alignment"][n], table["coverage"][n]) == pytest.approx(wanted)
        assert table["overall"][n] == pytest.approx(sum(wanted) / 2)
    assert 0 < table["aligned"][0] < table["clusters"][0]
    assert result.notes == [
        f"kmeans/corpus/net/layer k=6: {labels.count(None)} of 600 rows have no label"
    ]


def test_shares_are_of_all_clusters_however_many(words):
    data = words(
        ["a b c d e f g h", "i j k l m n o p"], cluster=[0] * 8 + [1] * 8, label=["x"] * 16
    )
    table = align(data, thresholds=[1]).tables["alignment"]
    assert (table["clusters"], table["alignment"], table["coverage"]) == ([2], [1.0], [1.0])


def test_few_different_words_are_no_concept(words):
    data = words(["a a a a b c", "d e f g h i"], cluster=[0] * 6 + [1] * 6, label=["x"] * 12)
    assert align(data).tables["clusters"]["aligned_at"] == [None, 1.0]
    assert align(data, types=6).tables["clusters"]["aligned_at"] == [None, 1.0]
    assert align(data, types=3).tables["clusters"]["aligned_at"] == [1.0, 1.0]
    assert align(data, types=7).tables["alignment"]["overall"] == [0, 0, 0]


def test_labels_of_other_sentences_do_not_overwrite_each_other(words, tmp_path):
    sentences = ["runs a b c d", "runs e f g h"]
    path = tmp_path / "labels.txt"
    path.write_text("NOUN N N N N\nVERB V V V V\n")
    data = words(sentences, cluster=[0, *[0] * 4, 1, *[1] * 4])
    table = align(data, labels=path, thresholds=[1]).tables["clusters"]
    assert (table["label"], table["share"]) == (["N", "V"], [0.8, 0.8])
    path.write_text("N N N N N\nV V V V V\n")
    table = align(data, labels=path, thresholds=[1]).tables["clusters"]
    assert (table["label"], table["share"]) == (["N", "V"], [1.0, 1.0])


def test_labels_come_from_lines_json_or_a_table(words, tmp_path):
    data = words(cluster_k4=[n % 4 for n in range(28)])
    rows = data.rows.to_pylist()
    tags = " ".join(LABELS).split()
    (tmp_path / "a.label").write_text("\n".join(LABELS) + "\n")
    (tmp_path / "a.json").write_text(json.dumps(LABELS))
    lines = [f"{r['sample']},{r['position']},{t}" for r, t in zip(rows, tags)]
    (tmp_path / "a.csv").write_text("\n".join(["sample,position,label", *reversed(lines)]) + "\n")
    direct = words(cluster_k4=[n % 4 for n in range(28)], label=tags)
    wanted = align(direct, thresholds=[0.4]).tables
    for name in ("a.label", "a.json", "a.csv"):
        assert align(data, labels=tmp_path / name, thresholds=[0.4]).tables == wanted
    half = lines[:14]
    (tmp_path / "a.csv").write_text("\n".join(["sample,position,label", *half]) + "\n")
    assert "14 of 28 rows have no label" in align(data, labels=tmp_path / "a.csv").notes[0]


def test_an_empty_label_of_a_table_is_none(words, tmp_path):
    data = words(cluster_k4=[n % 4 for n in range(28)])
    samples, positions = (data.rows[name].to_pylist() for name in ("sample", "position"))
    tags = [None if n % 3 else "é, x" for n in range(28)]
    table = pa.table({"sample": samples, "position": positions, "label": tags})
    pq.write_table(table, tmp_path / "a.parquet")
    csv.write_csv(table, tmp_path / "a.csv")
    direct = words(cluster_k4=[n % 4 for n in range(28)], label=tags)
    wanted = align(direct, thresholds=[0.3], types=1)
    for name in ("a.parquet", "a.csv"):
        found = align(data, labels=tmp_path / name, thresholds=[0.3], types=1)
        assert found.tables == wanted.tables
        assert found.notes == wanted.notes
    assert wanted.tables["alignment"]["labels"] == [1]


def test_labels_that_do_not_fit_are_refused(words, tmp_path):
    data = words(cluster=[0] * 28)
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(LABELS[:4]) + "\n")
    with pytest.raises(AnalysisError, match="a line of labels for each of 5 sentences, found 4"):
        align(data, labels=path)
    path.write_text("\n".join([*LABELS, "DET"]) + "\n")
    with pytest.raises(AnalysisError, match=r"5 sentences, found 6.*table with the columns"):
        align(data, labels=path)
    path.write_text("\n".join([*LABELS[:4], "NOUN CONJ NOUN VERB"]) + "\n")
    with pytest.raises(AnalysisError, match=r"txt:5: .* for word 4 \('there'\), found 4 labels"):
        align(data, labels=path)
    table = tmp_path / "labels.csv"
    table.write_text("sample,label\ns0,x\n")
    with pytest.raises(AnalysisError, match="columns sample, position, label, found sample, label"):
        align(data, labels=table)
    table.write_text("sample,position,label\n0,0,x\n")
    with pytest.raises(
        AnalysisError, match=r"no line fits any row: expected sample 's0'.*'0' and 0"
    ):
        align(data, labels=table)
    table.write_text("sample,position,label\ns0,0,x\ns0,0,y\n")
    with pytest.raises(AnalysisError, match="two lines have sample 's0' and position 0"):
        align(data, labels=table)
    with pytest.raises(AnalysisError, match=r"no column is called 'label'.*there are: sample"):
        align(data)
    with pytest.raises(AnalysisError, match="no row has a label"):
        align(words(cluster=[0] * 28, label=[None] * 28))
    with pytest.raises(ValueError, match="no such file"):
        AlignmentConfig(labels=tmp_path / "gone.txt")


def test_sentences_of_conceptx_are_found_by_their_number(words, tmp_path):
    numbers = [7] * 6 + [3] * 6
    data = words(["a b c d e f", "g h i j k l"], cluster=[0] * 6 + [1] * 6, sentence=numbers)
    lines = [f"t{n} " * 6 for n in range(9)]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    table = align(data, labels=tmp_path / "a.txt").tables["clusters"]
    assert table["label"] == ["t7", "t3"]
    assert len(words_of(data.rows, "", AlignmentConfig()).texts()) == 8


def test_several_layers_stand_in_one_table(words):
    first = words(cluster_k2=[0] * 14 + [1] * 14, label=["x"] * 14 + ["y"] * 14)
    second = words(
        name="kmeans/corpus/net/deeper/map", cluster_k2=[0, 1] * 14, label=["x"] * 14 + ["y"] * 14
    )
    result = align([first, second])
    table = result.tables["alignment"]
    assert table["clustering"] == ["kmeans/corpus/net/layer"] * 3 + ["kmeans/corpus/net/deeper"] * 3
    assert table["overall"] == [1.0] * 3 + [0.0] * 3
    assert list(result.figures) == ["alignment"]
