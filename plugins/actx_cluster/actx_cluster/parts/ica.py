"""Independent component analysis: FastICA on whitened principal components, in passes over their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh

from actx_cluster import costs
from actx_cluster.parts.config import IcaConfig
from actx_cluster.parts.pca import project
from actx_cluster.parts.rowfile import RowFile
from actx_cluster.parts.top import Top
from actx_cluster.rows import Rows
from actx_cluster.shape import Shape
from actx_cluster.spectrum import Spectrum, principal
from actx_core import Analyzer, ArraySpec, Input, Result

BLOCK = 8192


class Ica(Analyzer[IcaConfig]):
    """FastICA (Hyvärinen 1999; parallel, log cosh), after whitening by PCA.

    Components are ordered by the variance they explain; the largest entry of each mixing pattern is positive.
    Table: ``components``. Arrays: ``sources`` (row, component) of unit variance, which other analyzers can
    read; ``mixing`` and ``unmixing`` (component, channel), ``mean``: rows are about
    sources @ mixing + mean, and sources are (rows - mean) @ unmixing.T.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options, rows = self.config, Rows(inputs[0])
        found = principal(rows, options.components, options.seed)
        white = project(rows, found, out / "white.part", whiten=True)
        fit = _fit(white, rows.count, options)
        deviations = np.sqrt(found.energies / (rows.count - 1))[:, None]
        mixing = fit.turn @ (deviations * found.directions)
        strength = np.einsum("ij,ij->i", mixing, mixing)
        order = np.argsort(-strength, kind="stable")
        largest = np.take_along_axis(mixing, np.abs(mixing).argmax(axis=1, keepdims=True), axis=1)
        turn = (fit.turn * np.sign(largest))[order]
        sources, kurtosis, top = _separate(white, turn, rows.count, out, options.exemplars)
        shares = strength[order] / (found.squares.sum() / (rows.count - 1))
        axes = ("component", rows.axis)
        return Result(
            tables={
                "components": {
                    "component": list(range(len(order))),
                    "share": shares.tolist(),
                    "kurtosis": kurtosis.tolist(),
                }
            },
            arrays={
                "sources": (sources, ("row", "component")),
                "mixing": ((turn @ (deviations * found.directions)).astype(rows.dtype), axes),
                "unmixing": ((turn @ (found.directions / deviations)).astype(rows.dtype), axes),
                "mean": (found.mean, (rows.axis,)),
            },
            groups={
                f"component {number} ({share:.1%} of the variance)": chosen
                for number, (share, chosen) in enumerate(zip(shares, top.rows(), strict=True))
            }
            if options.exemplars
            else {},
            notes=list(_notes(found, fit, options)),
            metrics={"variance_explained": float(shares.sum())},
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        shape, few = Shape.of(inputs[0]), self.config.components
        blocks = 6 * 8 * min(shape.count, BLOCK) * few
        told = shape.count * (costs.NUMBER + few * shape.itemsize)
        return costs.FIXED + costs.spectrum(shape, few) + blocks + told


@dataclass(frozen=True, slots=True)
class _Fit:
    """``turn`` (components, components) is orthogonal: sources are whitened scores @ turn.T."""

    turn: np.ndarray
    iterations: int
    converged: bool


def _fit(white: RowFile, count: int, options: IcaConfig) -> _Fit:
    size = white.width
    turn = _orthogonal(np.random.default_rng(options.seed).standard_normal((size, size)))
    for number in range(1, options.max_iter + 1):
        product, slope = np.zeros((size, size)), np.zeros(size)
        for _, block in _blocks(white, count):
            bent = np.tanh(block @ turn.T)
            product += bent.T @ block
            slope += (1 - bent**2).sum(axis=0)
        turned = _orthogonal(product / count - slope[:, None] / count * turn)
        moved = np.abs(np.abs(np.einsum("ij,ij->i", turned, turn)) - 1).max()
        turn = turned
        if moved < options.tol:
            return _Fit(turn, number, True)
    return _Fit(turn, options.max_iter, False)


def _orthogonal(turn: np.ndarray) -> np.ndarray:
    """The nearest orthogonal matrix: (W Wᵀ)^(-1/2) W."""
    values, vectors = eigh(turn @ turn.T)
    inverse: np.ndarray = (vectors / np.sqrt(values.clip(np.finfo(float).tiny))) @ vectors.T @ turn
    return inverse


def _separate(
    white: RowFile, turn: np.ndarray, count: int, out: Path, exemplars: int
) -> tuple[np.ndarray, np.ndarray, Top]:
    """The sources, their excess kurtosis, and the rows where each is largest."""
    sources = RowFile(out / "sources.part", count, len(turn), white.dtype)
    fourth, top = np.zeros(len(turn)), Top(len(turn), exemplars)
    for at, block in _blocks(white, count):
        values = block @ turn.T
        sources.write(at, values)
        fourth += (values**4).sum(axis=0)
        top.add(at, values)
    white.finish()
    return sources.finish(), fourth / count - 3, top


def _blocks(white: RowFile, count: int) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, count, BLOCK):
        at = slice(start, min(start + BLOCK, count))
        yield at, white.read(at).astype(np.float64)


def _notes(found: Spectrum, fit: _Fit, options: IcaConfig) -> Iterator[str]:
    if len(found.energies) < options.components:
        yield (
            f"{len(found.energies)} of the {options.components} components asked for exist:"
            " the rows span no more dimensions"
        )
    if not found.exact:
        yield "the reduction comes from a randomized SVD: small components are approximate"
    if not fit.converged:
        yield f"warning: components were still turning after max_iter = {options.max_iter} iterations"
