"""ConceptX's files: written, read back exactly, and refused where they have lost something."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actx_cluster.concepts.cluster_file import read_clusters
from actx_cluster.concepts.conceptx import ConceptX
from actx_cluster.concepts.config import WordConfig
from actx_cluster.concepts.files import ConceptFiles
from actx_cluster.concepts.words import words_of
from actx_core import AnalysisError, StoreError

PUBLISHED = """\
returnBuffer|||1|||0|||0|||484
returnBuffer|||9|||9|||1|||484
.|||1|||0|||1|||2
||||||1|||2|||3|||2
a|b||||1|||2|||4|||2
(|||8|||7|||3|||184
"""


def by_hand(path):
    """A reader of its own: (word, occurrence, sentence, position, cluster) per line."""
    found = []
    for line in Path(path).read_text("utf-8").splitlines():
        head, occurrence, sentence, position, cluster = line.rsplit("|||", 4)
        found.append((head, int(occurrence), int(sentence), int(position), cluster))
    return found


def conceptx():
    return ConceptX(WordConfig())


def write(path, text):
    path.write_text(text, "utf-8", newline="")
    return path


@pytest.fixture
def clustered(words):
    """The words of five sentences in two clusterings; two rows have no cluster, two are noise."""
    count = len(words().rows)
    few = [None, None, *[n % 3 for n in range(count - 2)]]
    return words(cluster_k3=few, cluster=[-1, -1, *[n % 4 for n in range(count - 2)]])


def test_a_published_file_is_read_and_written_byte_for_byte(tmp_path):
    path = write(tmp_path / "clusters-500.txt", PUBLISHED)
    assert conceptx().knows(path)
    (found,) = conceptx().read(path)
    assert found.rows["word"].to_pylist() == ["returnBuffer"] * 2 + [".", "|||", "a|b|", "("]
    assert found.rows["cluster"].to_pylist() == [484, 484, 2, 2, 2, 184]
    assert found.array.tolist() == found.rows["cluster"].to_pylist()
    assert found.rows["sample"].to_pylist() == ["0", "9", "0", "2", "2", "7"]
    assert conceptx().check(path) == []
    result = ConceptFiles(WordConfig()).run([found], tmp_path)
    assert result.tables["files"]["file"] == ["clusters.txt"]
    assert (tmp_path / "clusters.txt").read_text("utf-8") == PUBLISHED


def test_files_of_windows_and_names_of_clusters_are_read(tmp_path):
    text = PUBLISHED.replace("\n", "\r\n")
    assert read_clusters(write(tmp_path / "a.txt", text)).equals(
        read_clusters(write(tmp_path / "b.txt", PUBLISHED))
    )
    path = write(tmp_path / "c.txt", "\ufefflove|||5|||0|||1|||cluster_1\n\nis|||1|||1|||1|||007\n")
    (found,) = conceptx().read(path)
    assert found.rows["cluster"].to_pylist() == ["cluster_1", "007"]
    assert found.rows["word"].to_pylist() == ["love", "is"]
    assert found.array.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word|||3", r"found 2 fields: 'word\|\|\|3'.*cannot be traced"),
        ("word|||1|||0|||3", "found 4 fields"),
        ("word|||1|||x|||0|||3", "expected a number as sentence, found 'x'"),
        ("word|||1|||0|||-1|||3", "expected a number as position, found '-1'"),
    ],
)
def test_lines_that_lost_their_origin_are_refused_with_their_number(tmp_path, line, message):
    path = write(tmp_path / "clusters.txt", f"{PUBLISHED}{line}\n")
    with pytest.raises(StoreError, match=f"clusters.txt:7: .*{message}"):
        conceptx().read(path)
    assert message[:12] in conceptx().check(path)[0]


def test_broken_text_and_empty_files_are_refused(tmp_path):
    path = tmp_path / "clusters.txt"
    path.write_bytes(PUBLISHED.encode() + b"caf\xe9|||1|||0|||1|||2\n")
    with pytest.raises(StoreError, match=r"clusters.txt:7: expected UTF-8, found the byte 0xe9"):
        conceptx().read(path)
    assert not conceptx().knows(write(tmp_path / "notes.txt", "a text\n"))
    with pytest.raises(StoreError, match="found no line"):
        read_clusters(write(path, "\n"))


def test_every_row_with_a_cluster_is_in_the_file_the_last_one_too(clustered, tmp_path):
    result = ConceptFiles(WordConfig()).run([clustered], tmp_path)
    rows = clustered.rows.to_pylist()
    for file, column in (("kmeans-3", "cluster_k3"), ("kmeans", "cluster")):
        lines = by_hand(tmp_path / f"clusters-{file}.txt")
        wanted = [
            (r["word"], int(r["sample"][1:]), r["position"], str(r[column]))
            for r in rows
            if r[column] not in (None, -1)
        ]
        assert sorted((w, s, p, c) for w, _, s, p, c in lines) == sorted(wanted)
        assert wanted[-1] == ("there", 4, 4, wanted[-1][3])
        groups = [c for *_, c in lines]
        assert len(list(dict.fromkeys(groups))) == sum(
            a != b for a, b in zip(groups, ["", *groups])
        )  # those of a cluster stand together
    occurrences = {(s, p): n for _, n, s, p, _ in by_hand(tmp_path / "clusters-kmeans.txt")}
    the = [(int(r["sample"][1:]), r["position"]) for r in rows if r["word"] == "the"]
    assert [occurrences.get(place) for place in the] == [None, 2, 3]
    sentences = json.loads((tmp_path / "sentences.json").read_text())
    for word, _, sentence, position, _ in lines:
        assert sentences[sentence].split(" ")[position] == word
    assert result.notes == [
        "clusters-kmeans-3.txt: 2 of 28 rows have no cluster and are left out",
        "clusters-kmeans.txt: 2 of 28 rows have no cluster and are left out",
    ]
    table = result.tables["clusters"]
    assert sum(table["rows"]) == 52
    assert table["words"][0].count(",") == table["types"][0] - 1


def test_words_with_line_breaks_stay_on_their_line_and_it_is_said(words, tmp_path):
    data = words(["a\nb c\rd e"], cluster_k2=[0, 1, 1])
    result = ConceptFiles(WordConfig()).run([data], tmp_path)
    assert [w for w, *_ in by_hand(tmp_path / "clusters-kmeans-2.txt")] == [r"a\nb", r"c\rd", "e"]
    assert result.notes == [r"2 words hold line breaks, which are written as \n and \r"]


def test_code_concept_net_keeps_words_sentences_and_what_people_said(clustered, tmp_path):
    ConceptFiles(WordConfig()).run([clustered], tmp_path)
    path = tmp_path / "CodeConceptNet-kmeans-3.json"
    net = json.loads(path.read_text("utf-8"))
    assert list(net) == ["0", "1", "2"]
    assert net["0"][0] == {
        "Word": "saw", "WordID": 1, "SentID": 0, "TokenID": 2, "Context": "the cat saw a tall tree"
    }  # fmt: skip
    assert all(entries[-1] == {"Labels": []} for entries in net.values())
    net["1"][-1] = {
        "Labels": ["article", 'with "quotes"'], "Meaningful": "Yes", "Syntactic": "3", "Count": 3,
        "Description": "[not JSON", "Semantic": None,
    }  # fmt: skip
    net["2"][0]["SentID"] = str(net["2"][0]["SentID"])  # the annotation tools take text as well
    path.write_text(json.dumps(net))
    assert conceptx().knows(path)
    (found,) = conceptx().read(path)
    assert len(found.rows) == 26
    assert found.rows["about.Meaningful"].to_pylist().count("Yes") == len(net["1"]) - 1
    (tmp_path / "again").mkdir()
    ConceptFiles(WordConfig()).run([found], tmp_path / "again")
    net["2"][0]["SentID"] = int(net["2"][0]["SentID"])
    again = json.loads((tmp_path / "again" / "CodeConceptNet.json").read_text("utf-8"))
    assert again == net
    assert sorted((tmp_path / "again" / "clusters.txt").read_text().splitlines()) == sorted(
        (tmp_path / "clusters-kmeans-3.txt").read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"1": [{"Word": "a", "SentID": 0}]}', "cluster '1': expected Word, WordID, SentID, TokenID"),
        ('{"7": {"Word": "a", "SentID": 0}}', "cluster '7': expected a list of objects"),
        ('{"1": [{"Word": "a",\n "SentID": ', "net.json:2: expected JSON"),
    ],
)  # fmt: skip
def test_a_damaged_concept_net_is_refused(tmp_path, content, message):
    path = write(tmp_path / "net.json", content)
    with pytest.raises(StoreError, match=message):
        conceptx().read(path)


def test_points_and_words_are_read_together(tmp_path):
    points = np.random.default_rng(0).standard_normal((5, 4))
    keys = [f"{w}|||1|||{n // 3}|||{n % 3}" for n, w in enumerate(["a", "|||", "c d", "é", "e"])]
    np.save(tmp_path / "processed-point.npy", points)
    np.save(tmp_path / "processed-vocab.npy", keys)
    for path in (tmp_path, tmp_path / "processed-point.npy"):
        assert conceptx().knows(path)
        (found,) = conceptx().read(path)
        assert np.array_equal(found.array, points)
        assert words_of(found.rows, "", WordConfig()).keys() == keys
    assert conceptx().check(tmp_path) == []
    points[3, 1] = np.nan
    np.save(tmp_path / "processed-point.npy", points)
    assert conceptx().check(tmp_path) == [
        f"{tmp_path}: points holds values that are not finite in row 3"
    ]


def test_points_that_lost_the_last_word_are_refused(tmp_path):
    np.save(tmp_path / "processed-point.npy", np.zeros((4, 2)))
    np.save(tmp_path / "processed-vocab.npy", [f"w|||{n}|||0|||{n}" for n in range(5)])
    with pytest.raises(StoreError, match=r"a vector for each of 5 words .*, found 4.*last word"):
        conceptx().read(tmp_path)
    np.save(tmp_path / "processed-vocab.npy", ["w", "w", "x", "y"])
    with pytest.raises(StoreError, match=r"vocab.npy: row 0: expected word.*found 1 fields: 'w'"):
        conceptx().read(tmp_path)
    np.save(tmp_path / "processed-vocab.npy", np.array(["w", None, 3, 4], object))
    with pytest.raises(StoreError, match="expected an array of numpy"):
        conceptx().read(tmp_path)


def neurox(path, sentences, layers=(3, 9), size=4):
    rng = np.random.default_rng(0)
    acts = {layer: [] for layer in layers}
    with path.open("w") as file:
        for number, sentence in enumerate(sentences):
            tokens = []
            for word in sentence.split():
                values = {layer: rng.standard_normal(size).astype(np.float32) for layer in layers}
                for layer, numbers in values.items():
                    acts[layer].append(numbers)
                stored = [{"index": n, "values": v.tolist()} for n, v in values.items()]
                tokens.append({"token": word, "layers": stored})
            file.write(json.dumps({"linex_index": number, "features": tokens}) + "\n")
    return {layer: np.array(rows) for layer, rows in acts.items()}


def test_json_lines_of_neurox_are_read_lazily_and_exactly(tmp_path):
    path = tmp_path / "acts.json"
    wanted = neurox(path, ["the cat sat", "", "a the dog"])
    assert conceptx().knows(path)
    three, nine = conceptx().read(path)
    assert (three.name, nine.name) == ("layer3", "layer9")
    assert three.digest != nine.digest
    for found, layer in ((three, 3), (nine, 9)):
        assert np.array_equal(found.array[:], wanted[layer])
        assert np.array_equal(found.array[1:5], wanted[layer][1:5])
        assert np.array_equal(found.array[[5, 0]], wanted[layer][[5, 0]])
        assert np.array_equal(found.array[4], wanted[layer][4])
    assert words_of(three.rows, "", WordConfig()).keys() == [
        "the|||1|||0|||0", "cat|||1|||0|||1", "sat|||1|||0|||2",
        "a|||1|||2|||0", "the|||2|||2|||1", "dog|||1|||2|||2",
    ]  # fmt: skip


def test_damaged_json_lines_are_refused_with_their_number(tmp_path):
    path = tmp_path / "acts.json"
    neurox(path, ["the cat sat", "a dog"])
    whole = path.read_text()
    path.write_text(whole[:-40])
    with pytest.raises(StoreError, match=r"acts.json:2: .*a damaged line of \d+ bytes"):
        conceptx().read(path)
    lines = whole.splitlines()
    odd = json.loads(lines[1])
    odd["features"][1]["layers"][0]["values"].append(1.0)
    path.write_text(f"{lines[0]}\n{json.dumps(odd)}\n")
    with pytest.raises(StoreError, match=r"acts.json:2: expected 4 numbers of layer 3.*found 5"):
        conceptx().read(path)


def test_columns_are_found_by_what_they_hold(words):
    def keys(rows, **options):
        return words_of(rows, "tap", WordConfig(**options)).keys()

    rows = words(["a b", "c"]).rows
    more = {"token": [0, 1, 0], "text": ["A", "B", "C"], "number": [4, 5, 6]}
    for name, values in more.items():
        rows = rows.append_column(name, pa.array(values))
    assert keys(rows) == ["a|||1|||0|||0", "b|||1|||0|||1", "c|||1|||1|||0"]
    assert keys(rows, word="text", position="number")[2] == "C|||1|||1|||6"
    bare = rows.drop_columns(["word", "position"])
    assert keys(bare) == ["A|||1|||0|||0", "B|||1|||0|||1", "C|||1|||1|||0"]
    coded = bare.drop_columns(["token"]).set_column(
        1, "text", pa.array(["x", "y", "x"]).dictionary_encode()
    )
    assert keys(coded) == ["x|||1|||0|||0", "y|||1|||0|||1", "x|||2|||1|||0"]
    with pytest.raises(AnalysisError, match=r"no column is called 'word'.*are: sample, token"):
        keys(bare.drop_columns(["text"]))
    gap = rows.set_column(2, "word", pa.array(["a", None, "c"]))
    with pytest.raises(AnalysisError, match="tap: 'word' has no value in row 1"):
        keys(gap)


def test_tokens_and_words_of_language_models_are_told_apart():
    tokens = {
        "sample": ["s"] * 3,
        "token": [0, 1, 2],
        "position": [0, 1, 2],
        "token_text": ["[CLS]", "un", "##do"],
        "word": [None, 0, 0],
        "word_text": [None, "undo", "undo"],
    }
    found = words_of(pa.table(tokens), "", WordConfig())
    assert (found.words, found.positions) == (["[CLS]", "un", "##do"], [0, 1, 2])
    words = {"sample": ["s"], "word": [0], "position": [1], "word_text": ["undo"]}
    found = words_of(pa.table(words), "", WordConfig())
    assert (found.words, found.positions) == (["undo"], [0])


def test_rows_without_clusters_say_what_to_read(words, tmp_path):
    with pytest.raises(AnalysisError, match=r"its rows have no clusters  hint: .*\"kmeans\""):
        ConceptFiles(WordConfig()).run([words()], tmp_path)
    with pytest.raises(AnalysisError, match="no row has a cluster in 'cluster_k2'"):
        ConceptFiles(WordConfig()).run([words(cluster_k2=[-1] * 28)], tmp_path)
