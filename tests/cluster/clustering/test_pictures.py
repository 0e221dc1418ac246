"""The tree and the sweep are drawn, small enough to read with 600 clusters."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actx_cluster.clustering.pictures import dendrogram, sweep
from actx_cluster.clustering.ward import ward


@pytest.mark.parametrize("n", [2, 30, 900])
def test_a_tree_is_drawn_with_the_cuts_that_show(n):
    rows = np.random.default_rng(0).normal(size=(n, 4))
    tree = ward(rows)
    plain, cuts = (
        np.asarray(Image.open(BytesIO(dendrogram(tree, ks))).convert("RGBA")).astype(int)
        for ks in ((), (2, 10, 600))
    )
    assert cuts.shape[1] == 2196
    blue = np.abs(cuts[..., :3] - (0x00, 0x72, 0xB2)).max(axis=2) < 12
    assert (blue & (cuts[..., 3] > 150)).sum() > 100
    assert (cuts != plain).any()


def test_trees_without_height_are_drawn():
    assert dendrogram(ward(np.ones((9, 2))), [3]).startswith(b"\x89PNG")


def test_a_sweep_leaves_out_what_is_not_known():
    figure = sweep([5, 2, 9], {"silhouette": [0.1, None, 0.3], "stability": [None] * 3}, 9)
    assert Image.open(BytesIO(figure)).size[0] == 1080
    assert sweep([5, 2, 9], {"stability": [None] * 3}, None).startswith(b"\x89PNG")
