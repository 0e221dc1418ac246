"""Options of ``estimator``; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from actx_cluster.config import Preprocess, Seed
from actx_core import Config


class EstimatorConfig(Config):
    """Options of ``estimator``."""

    estimator: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    """Class that scikit-learn, or a library of its kind, offers: ``sklearn.cluster.Birch``."""
    params: dict[str, Any] = Field(default_factory=dict)
    """What the class is built with."""
    trust: bool = Field(default=False, validate_default=True)
    """Must be true: the class is code that runs on this machine."""
    preprocess: Preprocess = "none"
    """What is done to the rows first, as for ``kmeans``."""
    exemplars: int = Field(default=8, ge=0)
    """Rows nearest the mean of each cluster to show in the report."""
    seed: Seed = 0
    """The class's ``random_state``, where it has one and ``params`` says nothing of it."""

    @field_validator("trust")
    @classmethod
    def _trusted(cls, trust: bool) -> bool:
        if not trust:
            raise ValueError(
                "expected true: 'estimator' names code that will run on this machine;"
                " say trust = true if you know it"
            )
        return trust

    def label(self) -> str:
        return self.estimator.rpartition(".")[2].lower()
