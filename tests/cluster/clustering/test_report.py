"""What the report shows of a clustering: clusters with their labels, exemplars in order, figures."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actx_cluster import figures
from actx_cluster.clustering.config import KMeansConfig
from actx_cluster.clustering.kmeans import KMeans


@pytest.fixture
def found(analyse, make_input):
    """Three groups of rows, one of them of two labels and one too small to tell anything."""
    generator = np.random.default_rng(0)
    centres = np.repeat([[0, 0], [50, 0], [0, 50]], (30, 20, 2), axis=0)
    labels = ["a: b"] * 27 + ["cat"] * 23 + ["cat", "dog"]
    return analyse(
        KMeans,
        KMeansConfig,
        make_input(centres + generator.normal(size=(52, 2)), label=labels),
        k=[3, 1],
    )


def test_each_cluster_has_its_top_label(found):
    table = found.tables["clusters"]
    of = [table["k"].index(3) + n for n in range(3)]
    assert [table["top_label"][n] for n in of] == ["a: b", "cat", "dog"]
    assert [table["top_label_share"][n] for n in of] == pytest.approx([0.9, 1, 0.5])
    enriched = found.tables["enrichment"]
    assert table["top_label_q"][of[1]] == enriched["q"][enriched["label"].index("cat")]
    assert table["top_label"][table["k"].index(1)] is None  # nothing is more frequent than in all


def test_titles_say_size_and_what_is_there_by_more_than_chance(found):
    titles = [title for title in found.groups if title.startswith("k = 3")]
    assert titles == [
        "k = 3: cluster 0 (30 rows, 90% a: b)",
        "k = 3: cluster 0 (30 rows, 90% a: b), farthest",
        "k = 3: cluster 1 (20 rows, 100% cat)",
        "k = 3: cluster 1 (20 rows, 100% cat), farthest",
        "k = 3: cluster 2 (2 rows)",
    ]


def test_the_map_says_how_much_it_holds(found):
    assert found.metrics["map_variance"] == pytest.approx(1)  # of two dimensions, all
    assert list(found.tables) == ["fits", "agreement", "clusters", "enrichment", "assignments"]


def test_without_exemplars_there_are_no_groups(make_input, analyse, digits):
    found = analyse(KMeans, KMeansConfig, make_input(digits.data[:50]), k=3, exemplars=0)
    assert found.groups == {}


def test_the_map_of_rows_far_from_zero_is_that_of_their_components(make_input, analyse):
    array = np.random.default_rng(0).normal(size=(600, 8)) * np.linspace(3, 1, 8)
    array = (array + 10_000).astype("float32")
    centred = array.astype(float) - array.mean(axis=0, dtype=float)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    found = analyse(KMeans, KMeansConfig, make_input(array), k=2)
    for places in (found.arrays["map"][0], figures.plane(array, 0)):
        np.testing.assert_allclose(np.abs(places), np.abs(centred @ directions[:2].T), atol=0.02)
    held = (sizes[:2] ** 2).sum() / (sizes**2).sum()
    assert found.metrics["map_variance"] == pytest.approx(held, rel=1e-3)


@pytest.mark.parametrize("count", [3, 600])
def test_sizes_are_drawn_beside_silhouettes(count):
    sizes = np.arange(count, 0, -1)
    judged = [None, *np.linspace(-0.2, 0.5, count - 1)]
    alone, both = (
        np.asarray(Image.open(BytesIO(figures.clusters(sizes, values)))) for values in ((), judged)
    )
    blue = (np.abs(both[..., :3].astype(int) - (0x00, 0x72, 0xB2)).max(axis=2) < 12).nonzero()[1]
    assert alone.shape == both.shape == (522, 1080, 4)
    assert (blue < 540).sum() > 1000
    assert ((blue > 540).sum() > 500) == (count == 600)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["s/m/a", "s/m/b"], ["a", "b"]), (["s/m/a", "s/n/a"], ["m/a", "n/a"]), (["s/m/a"], ["a"]),
        (["a", "a"], ["a", "a"]), (["s/m", "s/m/b"], ["m", "m/b"]), (["x" * 9, "y"], ["…xxxx", "y"]),
    ],
)  # fmt: skip
def test_names_leave_out_what_all_share(names, wanted):
    assert figures.brief(names, 5) == wanted
