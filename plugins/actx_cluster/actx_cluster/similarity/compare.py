"""Comparing RDMs with each other: correlations, permutation p, bootstrap intervals, noise ceiling.

All RDMs are condensed float64 vectors over the same conditions: (rdms, pairs).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import squareform
from scipy.stats import kendalltau, rankdata

from actx_cluster.similarity.config import Comparison
from actx_cluster.similarity.saved import Saved


class Comparer:
    """Similarities between all pairs of some RDMs, also after permuting or drawing conditions."""

    def __init__(self, rdms: np.ndarray, how: Comparison) -> None:
        self.rdms = rdms
        self.how = how
        self.count = round((1 + np.sqrt(1 + 8 * rdms.shape[1])) / 2)
        self._pairs = np.triu_indices(self.count, 1)
        self._places = squareform(np.arange(rdms.shape[1]))
        self._scores = scores(rdms, how)
        if how == "spearman":
            self._codes = [np.unique(rdm, return_inverse=True)[1] for rdm in rdms]

    def observed(self) -> np.ndarray:
        """(rdms, rdms)."""
        return similarity(self.rdms, self.rdms, self.how)

    def permuted(self, order: np.ndarray) -> np.ndarray:
        """Similarity of each RDM, its conditions relabelled, to each other as it is."""
        place = self._places[np.ix_(order, order)][self._pairs]
        if self.how == "kendall":
            return similarity(self.rdms[:, place], self.rdms, self.how)
        found: np.ndarray = self._scores[:, place] @ self._scores.T
        return found

    def drawn(self, times: np.ndarray) -> np.ndarray:
        """Similarity when condition ``i`` was drawn ``times[i]`` times; pairs of one condition do not count.

        A pair of conditions then counts as often as the product says, so nothing is copied.
        """
        weights = (times[self._pairs[0]] * times[self._pairs[1]]).astype(np.float64)
        if self.how == "kendall":
            copies = np.repeat(np.arange(self.rdms.shape[1]), weights.astype(np.int64))
            return similarity(self.rdms[:, copies], self.rdms[:, copies], self.how)
        weights /= weights.sum() or 1
        values = self._scores
        if self.how == "spearman":
            values = np.array([_ranks(codes, weights) for codes in self._codes])
        if self.how != "cosine":
            values = values - (values @ weights)[:, None]
        products = (values * weights) @ values.T
        lengths = np.sqrt(np.diag(products))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(products / np.outer(lengths, lengths))


def scores(rdms: np.ndarray, how: Comparison) -> np.ndarray:
    """RDMs as unit vectors whose products are the similarity; for kendall, as for spearman."""
    if how in ("spearman", "kendall"):
        rdms = rankdata(rdms, axis=1)
    if how != "cosine":
        rdms = rdms - rdms.mean(axis=1, keepdims=True)
    found: np.ndarray = rdms / np.linalg.norm(rdms, axis=1, keepdims=True)
    return found


def similarity(some: np.ndarray, others: np.ndarray, how: Comparison) -> np.ndarray:
    """Similarity of RDMs to others, (some, others)."""
    if how == "kendall":
        return np.array([[kendalltau(a, b).statistic for b in others] for a in some])
    return np.asarray(np.clip(scores(some, how) @ scores(others, how).T, -1, 1))


def _ranks(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mid-ranks, to a constant and a factor, of values given as numbers of their order."""
    at_value = np.bincount(codes, weights)
    ranks: np.ndarray = (np.cumsum(at_value) - at_value / 2)[codes]
    return ranks


def permutation_p(comparer: Comparer, times: int, seed: int, saved: Saved) -> np.ndarray:
    """One-sided p (Mantel 1967): share of relabellings that are as similar, the observed one included."""
    observed = comparer.observed()
    state = saved.load() or {"done": np.array(0), "reached": np.zeros(observed.shape, np.int64)}
    reached = state["reached"]
    for number in range(int(state["done"]), times):
        order = np.random.default_rng([seed, 0, number]).permutation(comparer.count)
        reached += comparer.permuted(order) >= observed - 1e-12
        saved.save({"done": np.array(number + 1), "reached": reached})
    return np.asarray((1 + reached) / (1 + times))


def bootstrap(comparer: Comparer, times: int, seed: int, saved: Saved) -> tuple[np.ndarray, ...]:
    """Low and high ends of the 95 % percentile intervals over draws of conditions with replacement."""
    shape = (times, len(comparer.rdms), len(comparer.rdms))
    state = saved.load() or {"done": np.array(0), "drawn": np.full(shape, np.nan, np.float32)}
    drawn = state["drawn"]
    for number in range(int(state["done"]), times):
        generator = np.random.default_rng([seed, 1, number])
        picked = generator.integers(comparer.count, size=comparer.count)
        drawn[number] = comparer.drawn(np.bincount(picked, minlength=comparer.count))
        saved.save({"done": np.array(number + 1), "drawn": drawn})
    if not times:
        return tuple(np.full((2, *shape[1:]), np.nan))
    return tuple(np.nanpercentile(drawn, [2.5, 97.5], axis=0))


def noise_ceiling(rdms: np.ndarray, how: Comparison) -> tuple[float, float]:
    """Lower and upper bound of the similarity that a true model would have to each RDM (Nili 2014).

    Upper: each against the mean of all; lower: against the mean of the others. RDMs are brought to one
    scale before they are averaged: ranks, z-scores or lengths, as ``how`` says.
    """
    # sums of ranks are exact, so that ties stay ties
    scaled = rankdata(rdms, axis=1) if how in ("spearman", "kendall") else scores(rdms, how)
    whole = scaled.sum(axis=0)
    upper = similarity(whole[None], rdms, how).mean()
    lower = [similarity((whole - scaled[i])[None], rdms[[i]], how)[0, 0] for i in range(len(rdms))]
    return float(np.mean(lower)), float(upper)


def refuse_constant(rdms: np.ndarray, names: Sequence[str]) -> list[str]:
    """Names of RDMs whose distances are all equal: they have no correlation with anything."""
    return [name for name, rdm in zip(names, rdms, strict=True) if np.ptp(rdm) == 0]
