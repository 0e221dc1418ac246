"""Options of ``nmf``, ``pca`` and ``ica``; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from actx_cluster.config import Counts, Seed
from actx_core import Config


class NmfConfig(Config):
    """Options of ``nmf``; those that scikit-learn's NMF has mean the same there."""

    components: Counts = (10,)
    """Number of parts, or a list of them: each is fitted on its own, from the same start."""
    init: Literal["nndsvd", "nndsvda", "random"] = "nndsvda"
    """Start: from singular vectors with zeros kept or set to the mean, or at random."""
    negative: Literal["error", "relu", "split", "semi"] = "error"
    """What to do with negative values: refuse, set to 0, give them dimensions of their own, or semi-NMF."""
    scale: Literal["none", "std"] = "none"
    """``std`` divides each dimension by its standard deviation, which is kept with the result."""
    alpha_W: float = Field(default=0.0, ge=0)  # noqa: N815 (scikit-learn's name)
    """Penalty on the weights, times the number of dimensions."""
    alpha_H: float | None = Field(default=None, ge=0)  # noqa: N815
    """Penalty on the parts, times the number of rows; by default that of the weights."""
    l1_ratio: float = Field(default=0.0, ge=0, le=1)
    """Share of L1 (sparse) in the penalties; the rest is L2."""
    tol: float = Field(default=1e-4, ge=0)
    """Stop when the projected gradient has fallen to this share of that of the first iteration."""
    max_iter: int = Field(default=200, ge=1)
    """Iterations at most; each reads the rows once."""
    refits: int = Field(default=3, ge=0)
    """Fits to random halves of the rows, from random starts, that tell how stable the parts are."""
    exemplars: int = Field(default=8, ge=0)
    """Rows with the largest weight of each part to show in the report."""
    seed: Seed = 0
    """Makes the result repeatable."""

    @model_validator(mode="after")
    def _bounded(self) -> NmfConfig:
        if self.negative == "semi" and self.alpha_W > 0 and not self._ridge_on_parts():
            raise ValueError(
                'with negative = "semi" and a penalty on the weights, the parts need one of L2 (alpha_H > 0'
                " and l1_ratio < 1): else they grow without end while the weights vanish"
            )
        return self

    def _ridge_on_parts(self) -> bool:
        alpha = self.alpha_W if self.alpha_H is None else self.alpha_H
        return alpha > 0 and self.l1_ratio < 1


class PcaConfig(Config):
    """Options of ``pca``."""

    components: int = Field(default=10, ge=1)
    """Components to keep, at most; fewer where rows or dimensions allow no more."""
    whiten: bool = False
    """Scale the scores of each component to unit variance."""
    seed: Seed = 0
    """For the randomized solver, which only inputs beyond 8192 dimensions and 4096 rows need."""


class IcaConfig(Config):
    """Options of ``ica``."""

    components: int = Field(default=10, ge=1)
    """Components to separate, at most: the rows are first reduced to as many principal components."""
    tol: float = Field(default=1e-4, gt=0)
    """Stop when no component turns by more than this (1 - cosine) in an iteration."""
    max_iter: int = Field(default=200, ge=1)
    """Iterations at most."""
    exemplars: int = Field(default=8, ge=0)
    """Rows with the largest value of each component to show in the report."""
    seed: Seed = 0
    """Of the start; makes the result repeatable."""
