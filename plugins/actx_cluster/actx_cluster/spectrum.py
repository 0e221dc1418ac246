"""Eigenvectors of the scatter matrix of rows read in blocks: what PCA, whitening, ICA and NMF begin with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from actx_core import AnalysisError

if TYPE_CHECKING:
    from actx_cluster.rows import Rows

EXACT = 8192
"""Dimensions up to which the scatter matrix itself is made."""
FEW = 4096
"""Rows up to which, where they are fewer than the dimensions, their Gram matrix is made instead."""
MEMORY = 2**30
"""Bytes up to which few, long rows are held in memory for it."""
CHUNK = 8192
SMALL = 1000
"""Roundings of the largest component's energy below which another is looked at in float64."""
PASSES = 7
OVERSAMPLING = 10

Blocks = Callable[[], Iterable[np.ndarray]]
"""Starts one pass over all rows; each block is (rows, dimensions)."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Directions (components, dimensions) of unit length, the largest first, in float64.

    ``energies`` are sums of squares over the rows along each direction, ``squares`` along each dimension,
    after ``mean`` was taken off.
    """

    mean: np.ndarray
    directions: np.ndarray
    energies: np.ndarray
    squares: np.ndarray
    exact: bool = True


def principal(rows: Rows, few: int, seed: int) -> Spectrum:
    """The principal components of rows: exact unless both rows and dimensions are too many.

    Fewer than asked for where the rows span no more. The largest entry of each direction is positive.
    Raises AnalysisError where rows are not finite, all equal, or only one.
    """
    if rows.count < 2:
        raise AnalysisError(
            f"expected at least 2 rows, found {rows.count}",
            where=rows.data.name,
            hint="extract more samples",
        )
    few = min(few, rows.count - 1, rows.size)
    noise = max(rows.count, rows.size) * float(np.finfo(float).eps)
    if rows.size > rows.count and rows.count <= FEW and rows.count * rows.size * 8 <= MEMORY:
        found = _from_gram(rows, few)
    elif rows.size <= EXACT:
        found = _from_scatter(rows, few)
    else:
        mean = rows.moments().mean
        found = randomized(lambda: _centred(rows, mean), rows.size, few, seed)
        found = replace(found, mean=mean)
        noise = max(noise, float(np.finfo(rows.dtype).eps))
    # what rounding leaves of a missing dimension, here or where the values were stored, is no component
    means = rows.count * float(found.mean @ found.mean) / rows.size
    stored = float(np.finfo(rows.dtype).eps) ** 2 / 4 * (means + found.energies[0])
    floor = max(noise * found.energies[0], stored)
    kept = found.energies >= min(floor, found.energies[0])
    directions = found.directions[kept]
    largest = np.abs(directions).argmax(axis=1, keepdims=True)
    directions = directions * np.sign(np.take_along_axis(directions, largest, axis=1))
    return replace(found, directions=directions, energies=found.energies[kept])


def _from_scatter(rows: Rows, few: int) -> Spectrum:
    """In one pass, or in two where some components are small beside the first.

    Products in float32 are too rough for those: they would be mixed, or lost in noise.
    """

    def blocks() -> Iterator[np.ndarray]:
        return (block for _, block in rows.blocks())

    found = scatter(blocks, rows.size, few)
    _check(rows, found)
    rough = SMALL * np.finfo(np.float32).eps * found.energies[0]
    if rows.dtype == np.float32 and found.energies[-1] < rough:
        found = scatter(blocks, rows.size, few, wide=True)
    return found


def scatter(
    blocks: Blocks, size: int, few: int, *, centre: bool = True, wide: bool = False
) -> Spectrum:
    """Exact, in one pass: products in the rows' own precision, or in float64 if ``wide``; sums in float64."""
    step = CHUNK // 16 if wide else CHUNK
    count, total, sums, shift = 0, np.zeros((size, size)), np.zeros(size), np.zeros(size)
    for block in blocks():
        if centre and not count:  # near the mean: little is lost when the rest of it is taken off
            shift = block.mean(axis=0, dtype=np.float64 if wide else None)
        for start in range(0, len(block), step):
            part = block[start : start + step]
            with np.errstate(over="ignore", invalid="ignore"):  # looked for at the end
                part = part - shift if centre else part
                total += part.T @ part
            sums += part.sum(axis=0, dtype=np.float64)
        count += len(block)
    rest = sums / count if centre else np.zeros(size)
    total -= count * np.outer(rest, rest)
    squares = total.diagonal().clip(0).copy()
    if not np.isfinite(total).all():
        return Spectrum(sums, np.empty((0, size)), np.empty(0), squares)
    values, vectors = eigh(total, subset_by_index=(size - few, size - 1), overwrite_a=True)
    return Spectrum(shift + rest, vectors[:, ::-1].T, values[::-1].clip(0), squares)


def randomized(blocks: Blocks, size: int, few: int, seed: int) -> Spectrum:
    """Seeded subspace iteration (Halko, Martinsson, Tropp 2011), in 8 passes and little memory."""
    many = min(few + OVERSAMPLING, size)
    basis = np.random.default_rng(seed).standard_normal((size, many))
    squares = np.zeros(size)
    for number in range(PASSES):
        basis = np.linalg.qr(basis)[0]
        product = np.zeros_like(basis)
        for block in blocks():
            product += block.T @ (block @ basis.astype(block.dtype))
            if number == 0:
                squares += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        basis = product
    basis = np.linalg.qr(basis)[0]
    small = np.zeros((many, many))
    for block in blocks():
        part = (block @ basis.astype(block.dtype)).astype(np.float64)
        small += part.T @ part
    values, vectors = eigh(small)
    directions = (basis @ vectors[:, ::-1]).T[:few]
    return Spectrum(np.zeros(size), directions, values[::-1][:few].clip(0), squares, exact=False)


def _from_gram(rows: Rows, few: int) -> Spectrum:
    """The same where there are fewer rows than dimensions, from the smaller matrix."""
    moments = rows.moments()
    matrix = np.empty((rows.count, rows.size))
    for at, block in rows.blocks():
        matrix[at] = block - moments.mean
    values, vectors = eigh(
        matrix @ matrix.T, subset_by_index=(rows.count - few, rows.count - 1), overwrite_a=True
    )
    directions = vectors[:, ::-1].T @ matrix
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    squares = moments.variance * rows.count
    return Spectrum(moments.mean, directions, values[::-1].clip(0), squares)


def _centred(rows: Rows, mean: np.ndarray) -> Iterator[np.ndarray]:
    for _, block in rows.blocks():
        yield block - mean.astype(block.dtype)


def _check(rows: Rows, found: Spectrum) -> None:
    """Look closer where one pass found something odd: values that are not finite, rows that hardly differ."""
    square = float(found.squares.sum()) / rows.count
    if not len(found.energies) or not square > 1e-9 * float(found.mean @ found.mean):
        rows.moments()  # names the rows, or says that all are equal
    rows.squarable(square if len(found.energies) else np.inf)
