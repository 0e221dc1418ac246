"""Non-negative matrix factorization of a tap's rows: parts that add up, for any number of rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from actx_cluster import costs
from actx_cluster.parts import figures
from actx_cluster.parts.config import NmfConfig
from actx_cluster.parts.data import Data
from actx_cluster.parts.factorize import Fit
from actx_cluster.parts.stability import ROWS, stability, uniqueness
from actx_cluster.parts.start import SCATTER, singular
from actx_cluster.parts.top import Top
from actx_cluster.rows import Rows
from actx_cluster.shape import Shape
from actx_cluster.spectrum import OVERSAMPLING
from actx_core import Analyzer, ArraySpec, Input, Result

BLOCK = 8192


class Nmf(Analyzer[NmfConfig]):
    """NMF by hierarchical alternating least squares, with the weights on disk.

    Parts have unit length and are numbered by their share, the largest first. Tables: ``fits`` and ``parts``.
    Arrays for each k: ``weights_kK`` (row, component), which other analyzers can read, and ``parts_kK``
    (component, channel); under ``split`` also ``negative_parts_kK``, for what the negative values say;
    ``scale`` where the rows were scaled: rows / scale are about weights @ parts.
    """

    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        options, rows = self.config, Rows(inputs[0])
        data = Data(rows, options)
        spectrum = singular(data, options)
        fits = {
            k: Fit(data, k, options, spectrum, out / "fits" / f"k{k}") for k in options.components
        }
        found = [_finished(data, fit, options) for fit in fits.values()]
        shutil.rmtree(out / "fits", ignore_errors=True)
        arrays: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {}
        for one in found:
            arrays |= _arrays(one, rows)
        if data.scale is not None:
            arrays["scale"] = (data.scale, (rows.axis,))
        return Result(
            tables={"fits": _fits(found), "parts": _parts(found)},
            arrays=arrays,
            figures=_figures(found),
            groups=dict(_groups(found)) if options.exemplars else {},
            notes=list(_notes(found, options)),
            metrics={
                f"{name}_k{one.k}": value
                for one in found
                for name, value in (("error", one.error), ("r2", one.r2))
            },
        )

    def memory(self, inputs: Sequence[ArraySpec]) -> int:
        options, shape = self.config, Shape.of(inputs[0])
        if options.negative == "split":
            shape = replace(shape, size=2 * shape.size)
        count, size, ks = shape.count, shape.size, options.components
        few = max(ks)
        start = 24 * size**2 if size <= SCATTER else 40 * (few + OVERSAMPLING) * size
        refits = 2 * min(count, ROWS) * (size + 3 * few) * shape.itemsize
        parts = 8 * size * (2 * sum(ks) + 6 * few)
        told = count * (costs.NUMBER + sum(ks) * shape.itemsize)
        blocks = costs.reading(shape)
        return costs.FIXED + max(blocks + start, blocks + parts + told, refits + parts + told)


@dataclass(frozen=True, slots=True)
class Found:
    """One factorization, as it is reported; ``stable`` is empty where nothing was fitted again."""

    weights: np.ndarray
    parts: np.ndarray
    shares: np.ndarray
    error: float
    r2: float
    unique: np.ndarray
    stable: np.ndarray
    top: list[list[int]]
    iterations: int
    converged: bool

    @property
    def k(self) -> int:
        return len(self.parts)


def _finished(data: Data, fit: Fit, options: NmfConfig) -> Found:
    """Give the parts unit length and an order, and measure what they leave, in one more pass."""
    state = fit.state
    lengths = np.linalg.norm(state.parts.astype(np.float64), axis=1)
    energies = state.energies * lengths**2
    order = np.argsort(-energies, kind="stable")
    lengths, energies = lengths[order], energies[order]
    parts = (state.parts[order] / np.where(lengths > 0, lengths, 1)[:, None]).astype(data.dtype)
    left, top = 0.0, Top(fit.k, options.exemplars)
    for at, block in data.blocks():
        weights = fit.weights.read(at)[:, order] * lengths.astype(data.dtype)
        fit.weights.write(at, weights)
        rest = block - weights @ parts
        left += float(np.einsum("ij,ij->", rest, rest, dtype=np.float64))
        top.add(at, weights)
    return Found(
        weights=fit.weights.finish(),
        parts=parts,
        shares=energies / max(energies.sum(), np.finfo(float).tiny),
        error=float(np.sqrt(left / data.sums.squares)),
        r2=1 - left / data.sums.around,
        unique=uniqueness(parts),
        stable=stability(data, parts, options),
        top=top.rows(),
        iterations=state.iterations,
        converged=state.converged,
    )


def _arrays(found: Found, rows: Rows) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
    axes = ("component", rows.axis)
    arrays: dict[str, tuple[np.ndarray, tuple[str, ...]]] = {
        f"weights_k{found.k}": (found.weights, ("row", "component")),
        f"parts_k{found.k}": (found.parts[:, : rows.size], axes),
    }
    if found.parts.shape[1] > rows.size:
        arrays[f"negative_parts_k{found.k}"] = (found.parts[:, rows.size :], axes)
    return arrays


def _fits(found: Sequence[Found]) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {
        "k": [one.k for one in found],
        "error": [one.error for one in found],
        "r2": [one.r2 for one in found],
        "uniqueness": [float(one.unique.mean()) for one in found],
        "iterations": [one.iterations for one in found],
        "converged": [one.converged for one in found],
    }
    if all(len(one.stable) for one in found):
        table["stability"] = [float(one.stable.mean()) for one in found]
    return table


def _parts(found: Sequence[Found]) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {
        "k": [one.k for one in found for _ in range(one.k)],
        "part": [number for one in found for number in range(one.k)],
        "share": [share for one in found for share in one.shares.tolist()],
        "uniqueness": [value for one in found for value in one.unique.tolist()],
    }
    if all(len(one.stable) for one in found):
        table["stability"] = [value for one in found for value in one.stable.tolist()]
    return table


def _figures(found: Sequence[Found]) -> dict[str, bytes]:
    drawn = {f"parts_k{one.k}": figures.parts(one.shares, one.unique, one.stable) for one in found}
    if len(found) > 1:
        drawn = {"sweep": figures.sweep(_fits(found))} | drawn
    return drawn


def _groups(found: Sequence[Found]) -> Iterator[tuple[str, list[int]]]:
    """The rows with the largest weight of each part, the largest first."""
    for one in found:
        prefix = f"k = {one.k}: " if len(found) > 1 else ""
        for number, (share, top) in enumerate(zip(one.shares, one.top, strict=True)):
            if share > 0:
                yield f"{prefix}part {number} ({share:.1%})", top


def _notes(found: Sequence[Found], options: NmfConfig) -> Iterator[str]:
    for one in found:
        dead = int((one.shares == 0).sum())
        if dead:
            yield f"warning: {dead} of {one.k} parts are empty: fewer are enough"
        if not one.converged:
            yield (
                f"k = {one.k} stopped at max_iter = {options.max_iter} iterations,"
                f" before the tolerance of {options.tol:g} was met"
            )
