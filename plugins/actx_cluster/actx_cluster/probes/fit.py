"""Cross-validated probes: predictions of rows that the probe has not seen, their score and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from warnings import catch_warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from actx_cluster.probes.config import ProbeConfig
from actx_cluster.probes.task import Fold, Task, split

RESAMPLES = 1000
LEVELS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Scored:
    """Out-of-fold score of all rows with a 95 % interval, and that of each fold; ``alphas`` were chosen."""

    score: float
    low: float
    high: float
    folds: list[float]
    alphas: list[float]
    unconverged: int


def probe(
    matrix: np.ndarray, task: Task, labels: np.ndarray, folds: Sequence[Fold], options: ProbeConfig
) -> Scored:
    """Fit to each fold's training rows and predict the others; all preprocessing is fitted there too."""
    classify = bool(task.classes)
    if (
        not classify
    ):  # scikit-learn rounds them to the rows' dtype; R² is that of any shift and scale
        labels = (labels - labels.mean()) / (np.ptp(labels) or 1)
    guesses, alphas, unconverged = np.empty(len(labels), labels.dtype), [], 0
    for train, test in folds:
        model = _model(task, labels[train], task.groups[train], options)
        with catch_warnings(record=True, action="always", category=ConvergenceWarning) as caught:
            model.fit(matrix[train], labels[train])
        unconverged += bool(caught)
        guesses[test] = model.predict(matrix[test])
        alphas.append(_alpha(model, options))
    low, high = _interval(labels, guesses, task.groups, options.seed, classify=classify)
    return Scored(
        score=score(labels, guesses, classify=classify),
        low=low,
        high=high,
        folds=[score(labels[test], guesses[test], classify=classify) for _, test in folds],
        alphas=alphas,
        unconverged=unconverged,
    )


def score(labels: np.ndarray, guesses: np.ndarray, *, classify: bool) -> float:
    """Accuracy, or R²."""
    shift = 0 if classify else labels.mean()  # keeps digits of the sum of squares
    sums = _sums(labels - shift, guesses - shift, classify=classify).sum(axis=0)
    return float(_value(sums, classify=classify))


def _model(
    task: Task, labels: np.ndarray, groups: np.ndarray, options: ProbeConfig
) -> Pipeline | GridSearchCV:
    classify = bool(task.classes)
    alpha = options.alpha[0]
    last: Any = (
        LogisticRegression(C=1 / alpha, max_iter=options.max_iter) if classify else Ridge(alpha)
    )
    model = Pipeline([("scale", StandardScaler()), ("probe", last)])
    if len(options.alpha) == 1:
        return model
    grid = (
        {"probe__C": [1 / a for a in options.alpha]}
        if classify
        else {"probe__alpha": list(options.alpha)}
    )
    inner = split(labels, groups, options.folds - 1, options.seed, classify=classify)
    return GridSearchCV(model, grid, cv=inner)


def _alpha(model: Pipeline | GridSearchCV, options: ProbeConfig) -> float:
    if isinstance(model, GridSearchCV):
        return options.alpha[int(model.best_index_)]
    return options.alpha[0]


def _sums(labels: np.ndarray, guesses: np.ndarray, *, classify: bool) -> np.ndarray:
    """For each row, what a score is made of when it is added up: (rows, 2) or (rows, 4)."""
    if classify:
        return np.stack([np.ones(len(labels)), labels == guesses], axis=1)
    return np.stack([np.ones(len(labels)), labels, labels**2, (labels - guesses) ** 2], axis=1)


def _value(sums: np.ndarray, *, classify: bool) -> np.ndarray:
    if classify:
        accuracy: np.ndarray = sums[..., 1] / sums[..., 0]
        return accuracy
    count, total, squares, left = np.moveaxis(sums, -1, 0)
    around = squares - total**2 / count
    explained: np.ndarray = 1 - left / np.maximum(around, np.finfo(float).tiny)
    return explained


def _interval(
    labels: np.ndarray, guesses: np.ndarray, groups: np.ndarray, seed: int, *, classify: bool
) -> tuple[float, float]:
    """Percentiles of the score over bootstrap samples of groups: rows of a group are not independent."""
    shift = 0 if classify else labels.mean()
    rows = _sums(labels - shift, guesses - shift, classify=classify)
    count = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups, column, minlength=count) for column in rows.T], axis=1)
    random = np.random.default_rng(seed)
    values = [
        _value(sums[random.integers(count, size=count)].sum(axis=0), classify=classify)
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(values, LEVELS)
    return float(low), float(high)
