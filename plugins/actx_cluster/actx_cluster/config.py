"""The options of the analyzers; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from actx_core import Config

Preprocess = Literal["none", "center", "zscore", "l2"]

Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _listed(k: Any) -> Any:
    return k if isinstance(k, list | tuple) else [k]


def _different(k: tuple[int, ...]) -> tuple[int, ...]:
    if not k or len(set(k)) < len(k):
        raise ValueError("expected one number of clusters or several different ones")
    return k


_ONE = {"type": "integer", "minimum": 1}

Counts = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...],
    BeforeValidator(_listed),
    AfterValidator(_different),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}),
]


class KMeansConfig(Config):
    """Options of ``kmeans``."""

    k: Counts
    """Number of clusters, or a list of them: each is fitted on its own."""
    seed: Seed = 0
    """Makes the result repeatable."""
    n_init: int = Field(default=4, ge=1)
    """Starts by k-means++, of which the one with the lowest inertia is kept."""
    max_iter: int = Field(default=300, ge=1)
    """Iterations of one start, at most."""
    exemplars: int = Field(default=8, ge=0)
    """Rows nearest each centre to show in the report."""
    preprocess: Preprocess = "none"
    """``center`` and ``zscore`` act on each dimension, ``l2`` gives every row unit length."""


class PcaConfig(Config):
    """Options of ``pca``."""

    components: int = Field(default=10, ge=1)
    """Components to keep, at most; fewer where rows or dimensions allow no more."""
    seed: Seed = 0
    """For the randomized solver, which only inputs beyond 4096 rows and dimensions need."""
    whiten: bool = False
    """Scale the scores of each component to unit variance."""
