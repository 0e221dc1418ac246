"""A model of words, found as a plugin is, and inputs made from plain columns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actx_cluster import figures
from actx_core import Input
from actx_core.registry import registry

TOY = Path(__file__).parent / "toy"
SENTENCES = [
    "the cat saw a tall tree",
    "a small cow ate the corn",
    "tom told the cook a tale",
    "some salt spoiled a cake",
    "cats and cows sat there",
]


@pytest.fixture
def toy(monkeypatch):
    """The model ``words``, in this process and in others."""
    monkeypatch.syspath_prepend(str(TOY))
    path = os.pathsep.join([str(TOY), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Draw figures only where they are looked at."""
    from actx_cluster.concepts import flow, pictures

    if request.module.__name__.rpartition(".")[2] not in ("test_pictures", "test_pipeline"):
        monkeypatch.setattr(pictures, "png", lambda figure: b"\x89PNG")
        monkeypatch.setattr(flow, "matrix", lambda *_: b"\x89PNG")
        monkeypatch.setattr(figures, "png", lambda figure: b"\x89PNG")


@pytest.fixture
def words():
    """An input whose rows are the words of some sentences, with any columns beside."""

    def make(sentences=SENTENCES, name="kmeans/corpus/net/layer/map", **columns):
        texts = [sentence.split(" ") for sentence in sentences]
        rows = {
            "sample": [f"s{i}" for i, text in enumerate(texts) for _ in text],
            "position": [place for text in texts for place in range(len(text))],
            "word": [word for text in texts for word in text],
        }
        table = pa.table(rows | columns)
        array = np.zeros((len(table), 2), np.float32)
        return Input(name, array, ("row", "map"), table, "")

    return make
