"""The figures of similarity: drawn for few and many, with names of any script, the same bytes every time."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from actx_cluster.similarity import figures
from actx_cluster.similarity.config import RsaConfig, TuningConfig
from actx_cluster.similarity.rsa import Rsa
from actx_cluster.similarity.tuning import Tuning

ODD = ["_hidden", r"$\\nonsense$", "猫", "x" * 200, "", "<dog>"]


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGBA")).astype(int)


def close_to(picture, colour):
    return (np.abs(picture[..., :3] - colour).max(axis=2) < 8) & (picture[..., 3] > 200)


@pytest.mark.parametrize(("count", "shape"), [(6, (918, 1080, 4)), (60, (1647, 2196, 4))])
def test_matrices_with_few_and_many_names(count, shape):
    square = np.random.default_rng(0).normal(size=(count, count))
    names = (ODD * 10)[:count]
    drawn = figures.matrix(square, names, "CKA")
    assert drawn == figures.matrix(square, names, "CKA")
    assert pixels(drawn).shape == shape


def test_groups_of_a_dissimilarity_matrix_show_as_blocks():
    square = 1.0 - np.kron(np.eye(2), np.ones((5, 5)))
    picture = pixels(figures.dissimilarities(square, ["a"] * 5 + ["b"] * 5, "correlation"))
    dark, bright = close_to(picture, (68, 1, 84)).sum(), close_to(picture, (253, 231, 37)).sum()
    assert dark > 100_000
    assert dark == pytest.approx(bright, rel=0.1)


def test_every_condition_may_be_its_own_group():
    square = np.random.default_rng(0).random((200, 200))
    assert figures.dissimilarities(square, list(range(200)), "cosine").startswith(b"\x89PNG")


def test_rsa_draws_depth_for_each_behaviour_and_other_source(tap, tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "b.npy"
    np.save(path, np.abs(np.subtract.outer(np.arange(8.0), np.arange(8.0))))
    path.with_suffix(".txt").write_text("\n".join(f"img{row:04d}" for row in range(8)))
    taps = [
        tap(generator.normal(size=(8, 5)), f"{source}/net/l{k}")
        for source in ("baseline", "leaves")
        for k in range(3)
    ]
    options = RsaConfig(behaviour=str(path), permutations=0, bootstraps=9)
    found = Rsa(options).run(taps, tmp_path)
    assert set(found.figures) == {"matrix", "depth_b", "depth_baseline/net"}
    picture = pixels(found.figures["depth_b"])
    assert close_to(picture, (0x00, 0x72, 0xB2)).sum() > 300  # the first line
    assert close_to(picture, (0xD5, 0x5E, 0x00)).sum() > 300  # the second


def test_tuning_draws_flat_dimensions_too(tap, tmp_path):
    array = np.column_stack([np.zeros(9), np.arange(9.0)])
    found = Tuning(TuningConfig(column="$odd")).run(
        [tap(array, **{"$odd": [1, 2, 3] * 3})], tmp_path
    )
    assert pixels(found.figures["tuning"]).shape == (612, 1080, 4)
