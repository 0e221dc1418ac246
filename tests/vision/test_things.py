"""THINGS: a generated tree of its size and shape, and every way in which a copy can be incomplete."""

import csv
import io
import os
import random
import shutil
from time import process_time

import pytest
from PIL import Image

from actx_core import Pipeline, SourceError, open_run
from actx_core.testing import SourceTests
from actx_vision.sources.config import ThingsConfig
from actx_vision.sources.things import Things

HEADER = (
    "Word", "uniqueID", "Example image", "Bigram", "Percent_known", "Rank (combining COCA/concreteness)",
    "Concreteness (M)", "COCA word freq (online)", "COCA word freq", "COCA (dispersion)", "COCA (rank)",
    "BNC freq", "SUBTLEX freq", "Dominant Part of Speech", "Bottom-up Category (Human Raters)",
    "Top-down Category (WordNet)", "Top-down Category (manual selection)", "All Bottom-up Categories",
    "WordNet Synonyms", "WordNet ID", "Wordnet ID2", "Wordnet ID3", "Wordnet ID4", "Definition",
    "Number of word meanings in list",
)  # fmt: skip
CONCEPTS, IMAGES = 1854, 26_107


def row(number, concept):
    """A line of 25 columns with what makes such tables hard: quotes, tabs, commas, empty fields."""
    fields = [f"field {n}" for n in range(len(HEADER))]
    fields[:2] = concept.rstrip("12").replace("_", " "), concept
    fields[6] = "" if number % 7 == 0 else f"{1 + number % 400 / 100:.2f}"
    fields[10] = str(number * 3)
    fields[23] = f'the "{concept}", a thing\twith a tab' if number % 3 else "(of a kind) plain"
    fields[24] = str(1 + number % 2)
    return fields


def write_table(path, concepts, header=HEADER):
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(row(n, concept) for n, concept in enumerate(concepts))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(out.getvalue(), "utf-8")


def names(concept, count):
    """As THINGS calls them: the first dozen in one series, the others in another, not in order."""
    return [f"{concept}_{n + 1:02d}{'bs'[n % 2] if n < 12 else 'n'}.jpg" for n in range(count)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """1,854 concepts with 26,107 (empty) images, and the table beside them in its own order."""
    home = tmp_path_factory.mktemp("things")
    rng = random.Random(0)
    concepts = [f"{chr(97 + n % 26)}thing_{n}" for n in range(CONCEPTS - 2)] + ["bat1", "bat2"]
    rng.shuffle(concepts)
    write_table(home / "data" / "things_concepts.tsv", concepts)
    for number, concept in enumerate(concepts):
        folder = home / "images" / concept
        folder.mkdir(parents=True)
        for name in rng.sample(
            found := names(concept, 14 + (number < IMAGES - 14 * CONCEPTS)), len(found)
        ):
            os.close(os.open(folder / name, os.O_CREAT))
    return home, concepts


def test_the_whole_of_things(whole):
    home, concepts = whole
    assert concepts != sorted(concepts)
    start = process_time()
    samples = Things(ThingsConfig(path=home / "images")).listing()
    assert process_time() - start < 4
    assert len(samples) == IMAGES
    assert len({s.id for s in samples}) == IMAGES
    first = [s for s in samples if s.columns["target"] == 5]
    assert [s.columns["path"] for s in first] == [
        f"{concepts[5]}/{n}" for n in names(concepts[5], 15)
    ]
    assert {s.columns["label"] for s in first} == {concepts[5]}
    targets = [s.columns["target"] for s in samples]
    assert targets == sorted(targets)
    assert targets[-1] == CONCEPTS - 1


def test_the_first_of_each_concept(whole):
    home, concepts = whole
    samples = Things(ThingsConfig(path=home / "images", per_concept=12)).listing()
    assert len(samples) == 12 * CONCEPTS
    expected = [f"{c}/{n[:-4]}" for c in concepts for n in names(c, 12)]
    assert [s.id for s in samples] == expected
    assert [s.columns["target"] for s in samples] == [t for t in range(CONCEPTS) for _ in range(12)]


def test_columns_of_the_table(whole):
    home, concepts = whole
    columns = ("Concreteness (M)", "Definition", "COCA (rank)", "Word")
    samples = Things(ThingsConfig(path=home / "images", per_concept=1, columns=columns)).listing()
    for number, sample in enumerate(samples):
        fields = row(number, concepts[number])
        expected = [float(fields[6]) if fields[6] else None, fields[23], number * 3, fields[0]]
        assert [sample.columns[name] for name in columns] == expected


@pytest.fixture
def small(tmp_path):
    """Three concepts with two images each."""
    concepts = ["zebra", "air_conditioner", "bat2"]
    write_table(tmp_path / "data" / "things_concepts.tsv", concepts)
    for number, concept in enumerate(concepts):
        folder = tmp_path / "images" / concept
        folder.mkdir(parents=True)
        for n, name in enumerate(names(concept, 2)):
            Image.new("RGB", (9, 8), (number * 80, n * 80, 0)).save(folder / name)
    return tmp_path


def listed(home, **options):
    return Things(ThingsConfig(path=home / "images", **options)).listing()


class TestThings(SourceTests):
    @pytest.fixture
    def source(self, small):
        return Things(ThingsConfig(path=small / "images", columns=("Word",), per_concept=2))


@pytest.mark.parametrize("name", ["things_concepts.tsv", "things_concept.tsv"])
@pytest.mark.parametrize("folder", ["data", "images", "elsewhere"])
def test_where_the_table_is_found(small, name, folder):
    (small / folder).mkdir(exist_ok=True)
    shutil.move(small / "data" / "things_concepts.tsv", small / folder / name)
    concepts = small / folder / name if folder == "elsewhere" else None
    samples = listed(small, concepts=concepts)
    labels = ["zebra", "zebra", "air_conditioner", "air_conditioner", "bat2", "bat2"]
    assert [s.columns["label"] for s in samples] == labels


def test_images_are_ordered_by_their_numbers(small):
    folder = small / "images" / "zebra"
    for name in ("zebra_10s.jpg", "zebra_9n.jpg", "zebra_100b.jpg"):
        Image.new("RGB", (4, 4)).save(folder / name)
    found = [s.id for s in listed(small) if s.columns["target"] == 0]
    expected = ["zebra_01b", "zebra_02s", "zebra_9n", "zebra_10s", "zebra_100b"]
    assert found == [f"zebra/{name}" for name in expected]


def test_the_table_belongs_to_the_fingerprint(small):
    def fingerprint():
        return Things(ThingsConfig(path=small / "images")).fingerprint()

    before = fingerprint()
    assert before == fingerprint()
    write_table(small / "data" / "things_concepts.tsv", ["bat2", "zebra", "air_conditioner"])
    assert before != fingerprint()


def refused(home, **options):
    with pytest.raises(SourceError) as caught:
        listed(home, **options)
    return caught.value


def test_folders_and_concepts_must_agree(small):
    shutil.rmtree(small / "images" / "zebra")
    error = refused(small)
    assert "1 concepts have no folder ('zebra')" in error.message
    assert "are no concepts" not in error.message
    (small / "images" / "ant").mkdir()
    (small / "images" / "object_images_D-K").mkdir()
    error = refused(small)
    assert "each of 3 concepts: 1 concepts have no folder ('zebra')" in error.message
    assert "2 folders are no concepts ('ant', 'object_images_D-K')" in error.message
    assert error.where.endswith("images")
    assert "unzip" in error.hint


def test_long_lists_are_shortened(small):
    for n in range(9):
        (small / "images" / f"more{n}").mkdir()
    message = refused(small).message
    assert "9 folders are no concepts ('more0', 'more1', 'more2', 'more3', 'more4', …)" in message


def test_concepts_with_too_few_images(small):
    assert "found 2 of 'zebra' (3 concepts have too few)" in refused(small, per_concept=3).message
    for file in (small / "images" / "bat2").iterdir():
        file.unlink()
    assert "found 0 of 'bat2'" in refused(small).message


def test_images_beside_the_folders(small):
    Image.new("RGB", (4, 4)).save(small / "images" / "stray.jpg")
    assert "found 'stray.jpg' beside them" in refused(small).message


def test_missing_folder_and_table(small):
    assert "found nothing" in refused(small / "data").message
    os.unlink(small / "data" / "things_concepts.tsv")
    error = refused(small)
    assert "things_concepts.tsv or things_concept.tsv, found none" in error.message
    assert str(small / "data") in error.where
    assert "concepts = " in error.hint
    assert "cannot be read: No such file" in refused(small, concepts=small / "t.tsv").message


def test_tables_that_are_wrong(small):
    path = small / "data" / "things_concepts.tsv"
    text = path.read_text("utf-8")
    write_table(path, ["zebra", "bat2", "zebra"])
    error = refused(small)
    assert "found 'zebra' again, of line 2" in error.message
    assert error.where == f"{path}:4"
    write_table(path, ["zebra"], [h.replace("uniqueID", "uniqueid") for h in HEADER])
    error = refused(small)
    assert "expected a column 'uniqueID'" in error.message
    assert error.hint == "did you mean 'uniqueid'?"
    path.write_text(text.replace("bat2\t", "\t"), "utf-8")
    assert refused(small).where == f"{path}:4"
    path.write_text(text + "one\ttwo\n", "utf-8")
    error = refused(small)
    assert "expected 25 fields as in the header, found 2" in error.message
    assert error.where == f"{path}:5"
    path.write_text(text, "utf-8")
    error = refused(small, columns=["Definitions"])
    assert error.hint == "did you mean 'Definition'?"


def test_a_run_over_things_with_replicates(small, tmp_path):
    spec = {
        "actx": 1,
        "run": {"out": str(tmp_path / "run"), "batch_size": 4, "shard_size": 4},
        "source": {
            "type": "things",
            "path": str(small / "images"),
            "per_concept": 1,
            "preset": "ann_pipe",
            "replicates": 2,
        },
        "model": {
            "type": "module",
            "as": "tiny",
            "callable": "torchvision.models:squeezenet1_1",
            "trust": True,
            "preprocess": {"resize": 32, "crop": 32},
            "taps": ["features.0"],
        },
        "pool": {"type": "mean", "over": ["y", "x"]},
    }
    list(Pipeline.from_dict(spec).run())
    rows = open_run(tmp_path / "run")["images/tiny/features.0"].rows.to_pydict()
    assert rows["target"] == [0, 0, 1, 1, 2, 2]
    assert rows["replicate"] == [0, 1] * 3
    assert rows["label"][::2] == ["zebra", "air_conditioner", "bat2"]
    assert rows["jitter_hue"][::2] == [0.0] * 3
    write_table(small / "data" / "things_concepts.tsv", ["bat2", "zebra", "air_conditioner"])
    with pytest.raises(SourceError, match="its target was 0, is 1"):
        Pipeline.from_dict(spec).plan()
