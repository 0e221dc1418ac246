"""Options of ``probe``; imports neither numpy nor scikit-learn."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from actx_cluster.config import Seed
from actx_core import Config


def _listed(alpha: Any) -> Any:
    return alpha if isinstance(alpha, list | tuple) else [alpha]


_ONE = {"type": "number", "exclusiveMinimum": 0}

Penalties = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...],
    Field(min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}),
]


class ProbeConfig(Config):
    """Options of ``probe``."""

    column: str = "label"
    """Column of the rows to predict; rows without a value in it are left out, and counted."""
    method: Literal["auto", "logistic", "ridge"] = "auto"
    """Logistic regression for classes, ridge regression for numbers; ``auto``: ridge for floats."""
    group: str = "sample"
    """Column whose equal values stay on one side of every split: no sample is both learned and tested."""
    folds: int = Field(default=5, ge=2)
    """Parts of the data; each is predicted by a probe that was fitted to the others."""
    alpha: Penalties = (1.0,)
    """L2 penalty (scikit-learn's C is 1 / alpha); of a list, grouped validation in each fold chooses."""
    controls: int = Field(default=1, ge=0)
    """Control tasks, in which the labels are shuffled, to average over."""
    control: str = ""
    """Column whose values each get a random label in the control task, such as the word of a token."""
    random: str = ""
    """Name of a model of the run with random weights, to compare the same taps of the others with."""
    rows: int = Field(default=20_000, ge=2)
    """Rows to use, at most: of more, a seeded choice of whole groups."""
    max_iter: int = Field(default=1000, ge=1)
    """Iterations of a logistic regression, at most."""
    seed: Seed = 0
    """Of folds, control tasks and intervals."""

    @model_validator(mode="after")
    def _chosen(self) -> ProbeConfig:
        if len(self.alpha) > 1 and self.folds < 3:
            raise ValueError(
                "to choose among several alpha, the rows that are learned are split once more: folds = 3"
                " or more are needed"
            )
        return self
