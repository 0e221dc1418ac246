"""The figures are drawn, from small clusterings and from many clusters, and repeat exactly."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from actx_cluster.concepts import pictures


def colours(png):
    image = np.asarray(Image.open(BytesIO(png)).convert("RGBA"))
    return {tuple(c) for c in np.unique(image[image[..., 3] == 255][:, :3], axis=0).tolist()}


def test_the_flow_shows_the_largest_clusters_and_the_rest_in_grey():
    rng = np.random.default_rng(0)
    few = [rng.integers(0, 3, 50) for _ in range(3)]
    small = pictures.flow(few, [f"kmeans/corpus/net/layer{n}" for n in range(3)])
    assert small == pictures.flow(few, [f"kmeans/corpus/net/layer{n}" for n in range(3)])
    names = ["a $", "b"]  # a name that matplotlib would take for a formula
    many = pictures.flow([rng.integers(-1, 600, 5000) for _ in names], names)
    assert (0x7B, 0x7B, 0x7B) in colours(many)
    assert len(colours(small) & {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)}) == 3


def test_alignment_is_a_line_for_each_threshold():
    lines = [
        {"clustering": f"kmeans/corpus/net/layer{n}", "k": 5, "threshold": t, "overall": 0.1 * n + t / 4}
        for n in range(3)
        for t in (0.9, 1.0)
    ]  # fmt: skip
    drawn = colours(pictures.alignments(lines))
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= drawn
