"""Group caps: the word filters of ConceptX in general; what is left out, and that it is told."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from actx_cluster.clustering.caps import capped
from actx_cluster.clustering.config import Caps, KMeansConfig
from actx_cluster.clustering.kmeans import KMeans
from actx_cluster.rows import Rows
from actx_core import AnalysisError

WORDS = ["the"] * 40 + ["cat"] * 6 + ["rare"] + ["dog"] * 5 + [None] * 3


def kept(make_input, seed=0, **options):
    rows = Rows(make_input(np.arange(len(WORDS) * 2.0).reshape(-1, 2), word=WORDS))
    numbers, note = capped(rows, Caps(column="word", **options), seed)
    assert (np.diff(numbers) > 0).all()
    return Counter(WORDS[n] for n in numbers), note, numbers


def test_small_and_large_groups_are_left_out_and_others_are_capped(make_input):
    assert kept(make_input)[0] == {"the": 40, "cat": 6, "rare": 1, "dog": 5}
    assert kept(make_input, min=2)[0] == {"the": 40, "cat": 6, "dog": 5}
    assert kept(make_input, min=2, max=5)[0] == {"the": 5, "cat": 5, "dog": 5}
    found, note, _ = kept(make_input, min=6, max=10, delete_above=39)
    assert found == {"cat": 6}
    assert note == "6 of 55 rows take part, of 1 of the 4 groups of 'word'"


def test_the_cap_draws_by_the_seed_and_not_the_first_come(make_input):
    first, again, other = (kept(make_input, seed, max=5)[2].tolist() for seed in (0, 0, 1))
    assert first == again != other
    assert max(number for number in first if number < 40) > 10


def test_no_row_left_is_an_error(make_input):
    with pytest.raises(AnalysisError, match="caps leave none of 55 rows.* 1 to 40 rows"):
        kept(make_input, min=50)
    with pytest.raises(AnalysisError, match="no column is called 'token'"):
        capped(Rows(make_input(np.eye(3))), Caps(column="token"), 0)


def test_rows_left_out_have_no_cluster_and_change_nothing(make_input, analyse, digits):
    array = digits.data[:300].copy()
    out = np.arange(0, 300, 7)
    group = np.where(np.isin(np.arange(300), out), "rare", "common").tolist()
    array[out[0]] = np.nan  # what takes no part may hold anything
    found = analyse(
        KMeans,
        KMeansConfig,
        make_input(array, kind=group),
        k=6,
        caps={"column": "kind", "min": 100},
    )
    labels = found.tables["assignments"]["cluster_k6"].to_pylist()
    rest = np.setdiff1d(np.arange(300), out)
    assert [row for row, label in enumerate(labels) if label is None] == out.tolist()
    alone = analyse(KMeans, KMeansConfig, make_input(array[rest]), k=6)
    assert [labels[row] for row in rest] == alone.tables["assignments"]["cluster_k6"].to_pylist()
    for title, rows in alone.groups.items():
        assert found.groups[title] == rest[rows].tolist()
    places, axes = found.arrays["map"]
    assert (axes, places.shape, places.dtype) == (("row", "map"), (300, 2), np.float32)
    np.testing.assert_allclose(places[rest], alone.arrays["map"][0], atol=1e-4)
    assert found.tables["assignments"]["sample"][299].as_py() == "img0299.png"


def test_bad_rows_are_named_by_their_number_in_the_input(make_input, analyse, digits):
    array = digits.data[:60].copy()
    array[42] = np.inf
    data = make_input(array, kind=["x"] * 30 + ["y"] * 30)
    with pytest.raises(AnalysisError, match=r"sample 'img0042.png' \(row 42\)"):
        analyse(KMeans, KMeansConfig, data, k=2, caps={"column": "kind", "max": 29, "min": 1})
