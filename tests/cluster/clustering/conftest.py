"""Real activations in small, and rows whose clusters are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from actx_cluster import figures
from actx_cluster.clustering import pictures
from actx_cluster.clustering.space import Space
from actx_cluster.rows import Rows


@pytest.fixture(scope="session")
def digits():
    return load_digits()


@pytest.fixture
def make_space(make_input):
    def make(array, preprocess="none", seed=0):
        rows = Rows(make_input(np.asarray(array)))
        return Space(rows, rows.scaler(preprocess, rows.moments()), seed)

    return make


@pytest.fixture
def analyse(monkeypatch):
    """Run an analyzer on one input; figures are not drawn, stability is left out unless asked for."""
    for module in (figures, pictures):
        monkeypatch.setattr(module, "png", lambda figure: b"\x89PNG")

    def run(analyzer, config, data, **options):
        options.setdefault("stability", 0)
        return analyzer(config(**options)).run([data], Path())

    return run


@pytest.fixture(scope="session")
def separated():
    """Twelve clusters far apart, in 24 dimensions, and their numbers."""
    rng = np.random.default_rng(11)
    truth = rng.integers(0, 12, 1500)
    rows = rng.normal(size=(12, 24))[truth] * 3 + rng.normal(size=(1500, 24)) * 0.5
    return rows.astype(np.float32), truth
