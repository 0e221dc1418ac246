"""The options of the analyzers of similarity; imports neither numpy nor scipy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, computed_field

from actx_cluster.config import Seed
from actx_core import Config, InputPath

Metric = Literal["correlation", "cosine", "euclidean", "sqeuclidean", "mahalanobis"]
Comparison = Literal["pearson", "spearman", "kendall", "cosine"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


def _exists(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    return path


_TEXT = {"type": "string"}

By = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]
Files = Annotated[
    tuple[Annotated[InputPath, AfterValidator(_exists)], ...],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]}),
]


class _Distances(Config):
    metric: Metric = "correlation"
    """How two conditions are compared; ``correlation`` and ``cosine`` are 1 less the similarity."""
    shrinkage: float = Field(default=0.0, ge=0, le=1)
    """For ``mahalanobis``: how far the covariance is moved towards its diagonal."""


class RdmConfig(_Distances):
    """Options of ``rdm``."""

    by: By = ()
    """Columns whose equal values make one condition, rows averaged: ``"sample"``, ``"label"`` …"""
    order: str = "label"
    """Column that orders the heat map, or ``"tree"``: by average linkage."""
    rsatoolbox: bool = False
    """Write ``rdm.h5`` too, which rsatoolbox loads."""


class RsaConfig(_Distances):
    """Options of ``rsa``."""

    by: By = Field(default=("sample",), min_length=1)
    """Columns that tell which rows of two inputs belong together; rows with equal values are averaged."""
    split: str = ""
    """Column whose values divide each input into several matrices, such as ``"replicate"``."""
    compare: Comparison = "spearman"
    """How two matrices are compared; ``kendall`` is tau-b."""
    behaviour: Files = ()
    """Matrices of dissimilarities from files: .csv, .npy, or .h5 of rsatoolbox."""
    depth_bins: int | None = Field(default=None, ge=1)
    """Average the matrices of each model's taps within this many bins of depth."""
    permutations: int = Field(default=1000, ge=0)
    """Random relabellings of the conditions, for p."""
    bootstraps: int = Field(default=1000, ge=0)
    """Draws of conditions with replacement, for the intervals."""
    seed: Seed = 0
    """Makes permutations and draws repeatable."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def behaviour_names(self) -> tuple[Path, ...]:
        """Files beside those of ``behaviour`` that are read too: a change makes the result anew."""
        return tuple(p.with_suffix(".txt") for p in self.behaviour if p.suffix == ".npy")


class _Matched(Config):
    by: By = Field(default=("sample", "replicate"), min_length=1)
    """Columns that tell which rows of two inputs belong together; rows with equal values are averaged."""


class CkaConfig(_Matched):
    """Options of ``cka``."""

    estimator: Literal["debiased", "biased"] = "debiased"
    """``debiased``: HSIC of Song (2012); ``biased``: that of Kornblith (2019), too high for few rows."""


class ProcrustesConfig(_Matched):
    """Options of ``procrustes``."""

    distance: Literal["orthogonal", "angular"] = "orthogonal"
    """The squared residual of the best rotation (0 to 2), or the angle between the shapes in radians."""


class NeighboursConfig(Config):
    """Options of ``neighbours``."""

    k: int = Field(default=10, ge=1)
    """Neighbours of each row, itself left out."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """How rows are compared."""
    index: Literal["auto", "exact", "faiss"] = "auto"
    """``auto``: exact, and beyond a million rows faiss (approximate) where it is installed."""
    shown: int = Field(default=8, ge=0)
    """Rows whose neighbours the report shows, drawn at random."""
    seed: Seed = 0
    """Which rows are shown."""


class TuningConfig(Config):
    """Options of ``tuning``."""

    column: str
    """The numeric column whose values the responses are averaged over."""
    period: float | None = Field(default=None, gt=0)
    """For a circular column, the value at which it begins anew: 180 for orientations in degrees."""
    bins: int | None = Field(default=None, ge=2)
    """Group the values into this many bins of equal width; without it, each value stands alone."""
