"""Products of several inputs with each other, summed in one pass over their rows.

Two forms give the same: the products of all columns (many rows), or of all rows in tiles (many columns).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np

from actx_cluster.shape import Shape
from actx_cluster.similarity.points import Points
from actx_cluster.similarity.saved import Saved

BLOCK_BYTES = 2**26
HELD_BYTES = 2**28
"""Rows of all inputs that are held while tiles of their kernels are made."""
COLUMN_BYTES = 2**29
"""Products of columns, float64, at most: beyond it, rows are multiplied."""
TILE = 512


@dataclass(frozen=True, slots=True)
class Kernels:
    """Sums over the linear kernels K = X X' of each input, their diagonals left out; ``n`` rows.

    An input is shifted and scaled, so that a product of four values neither rounds to 0 nor overflows.
    ``traces[i, j]`` is tr(K L); ``rows`` holds (K 1)'(L 1), ``totals`` 1'K 1. Of the diagonals k and l:
    ``diagonals`` holds k'l, ``mixed`` k'(L 1), ``sums`` 1'k.
    """

    n: int
    traces: np.ndarray
    rows: np.ndarray
    totals: np.ndarray
    diagonals: np.ndarray
    mixed: np.ndarray
    sums: np.ndarray


def by_rows(every: Sequence[Points] | Sequence[Shape]) -> bool:
    """Whether products of rows are the better form: less work, or the only one that fits."""
    sizes = np.array([p.size for p in every], np.float64)
    entries = (sizes.sum() ** 2 + (sizes**2).sum()) / 2
    return bool(entries * 8 > COLUMN_BYTES or every[0].count * sizes.sum() / 2 < entries)


def working(every: Sequence[Shape]) -> int:
    """Bytes that :func:`kernels` takes at most."""
    n, width = min(p.count for p in every), sum(p.size for p in every)
    if by_rows(every):
        return 3 * min(HELD_BYTES, 4 * n * width) + len(every) * (12 * TILE**2 + 16 * n)
    entries = (width**2 + sum(p.size**2 for p in every)) // 2
    return 3 * min(BLOCK_BYTES, 4 * n * width) + 12 * entries


def kernels(every: Sequence[Points], saved: Saved) -> Kernels:
    """The sums of all pairs of inputs with the same conditions."""
    return _tiled(every, saved) if by_rows(every) else _columns(every, saved)


def _columns(every: Sequence[Points], saved: Saved) -> Kernels:
    """The sums from X'Y of each pair, by the identities tr(K L) = |X'Y|² and K 1 = X (X'1)."""
    m = len(every)
    edges = np.cumsum([0, *(p.size for p in every)])
    state = _column_products(every, edges, saved)
    products = [state[f"product{i}"] for i in range(m)]
    total = np.concatenate([product[:, -1] for product in products])
    traces, rows, mixed = np.empty((m, m)), np.empty((m, m)), np.empty((m, m))
    for i, (first, last) in enumerate(pairwise(edges)):
        pairs, own = products[i][:, : edges[-1] - first], total[first:last]
        starts = edges[i:-1] - first
        squares = np.einsum("ij,ij->j", pairs, pairs)
        traces[i, i:] = traces[i:, i] = np.add.reduceat(squares, starts)
        rows[i, i:] = rows[i:, i] = np.add.reduceat(own @ pairs * total[first:], starts)
        mixed[:, i] = own @ products[i][:, -m - 1 : -1]
    lengths, sums = state["lengths"], state["sums"]
    totals = np.add.reduceat(total**2, edges[:-1])
    return Kernels(
        n=every[0].count,
        traces=traces - lengths,
        rows=rows - mixed - mixed.T + lengths,
        totals=totals - sums,
        diagonals=lengths,
        mixed=mixed - lengths,
        sums=sums,
    )


def _column_products(
    every: Sequence[Points], edges: np.ndarray, saved: Saved
) -> dict[str, np.ndarray]:
    """Of each input X, ``product`` is X' times the rows of it and of all after it, and beside them
    the squared lengths of the rows of every input, and 1; ``sums`` and ``lengths`` are sums and products
    of the squared lengths. Blocks are multiplied in float32 and added up in float64.
    """
    m, n, width = len(every), every[0].count, int(edges[-1])
    state = saved.load() or {
        "done": np.array(0),
        "sums": np.zeros(m),
        "lengths": np.zeros((m, m)),
        **{
            f"product{i}": np.zeros((p.size, width - edges[i] + m + 1)) for i, p in enumerate(every)
        },
    }
    scalings = [_scaling(p) for p in every]
    step = min(n, max(1, BLOCK_BYTES // (4 * width)))
    block = np.ones((step, width + m + 1), np.float32)
    for start in range(int(state["done"]), n, step):
        stop = min(start + step, n)
        rows = block[: stop - start]
        parts = [rows[:, first:last] for first, last in pairwise(edges)]
        for values, p, (shift, scale) in zip(parts, every, scalings, strict=True):
            np.multiply(p.block(start, stop) - shift, scale, out=values, casting="same_kind")
        rows[:, width:-1] = np.stack([np.vecdot(values, values) for values in parts], 1)
        squares = rows[:, width:-1].astype(np.float64)
        state["sums"] += squares.sum(axis=0)
        state["lengths"] += squares.T @ squares
        for i, values in enumerate(parts):
            product = state[f"product{i}"]
            # of a matrix with itself, BLAS makes one triangle only; one wide product is faster than many
            product[:, : values.shape[1]] += values.T @ values
            product[:, values.shape[1] :] += values.T @ rows[:, edges[i + 1] :]
        state["done"] = np.array(stop)
        saved.save(state)
    saved.remove()
    return state


def _scaling(p: Points) -> tuple[np.ndarray, float]:
    """What to subtract from the rows, and then to multiply them with, by the first rows."""
    first = p.block(0, min(p.count, 4096, max(1, BLOCK_BYTES // (8 * p.size))))
    shift = first.mean(axis=0, dtype=np.float64).astype(first.dtype)
    # a mean of equal numbers is rounded
    shift = np.where(np.ptp(first, axis=0) == 0, first[0], shift)
    around = (first - shift).astype(np.float64)
    length = np.sqrt(np.vdot(around, around) / len(around))
    return shift, float(1 / length) if length > 0 else 1.0


def _tiled(every: Sequence[Points], saved: Saved) -> Kernels:
    """The same sums from tiles of all kernels at once; inputs are read again where they do not fit."""
    m, n = len(every), every[0].count
    state = saved.load() or {
        "done": np.array(0),
        "traces": np.zeros((m, m)),
        "ones": np.zeros((m, n)),
        "diagonal": np.zeros((m, n)),
    }
    scalings = [_scaling(p) for p in every]
    step = max(1, HELD_BYTES // (4 * sum(p.size for p in every)))
    held: dict[int, list[np.ndarray]] = {}
    for number, (start, other) in enumerate(_chunks(n, step)):
        if number < int(state["done"]):
            continue
        for first in {start, other} - held.keys():
            held[first] = [
                np.asarray((p.block(first, min(first + step, n)) - shift) * scale, np.float32)
                for p, (shift, scale) in zip(every, scalings, strict=True)
            ]
        held = {first: held[first] for first in (start, other)}
        if start == other:
            for i, block in enumerate(held[start]):
                state["diagonal"][i, start : start + step] = (block.astype(np.float64) ** 2).sum(1)
        _add_tiles(state, held[start], held[other], start, other)
        state["done"] = np.array(number + 1)
        saved.save(state)
    saved.remove()
    ones, diagonal = state["ones"], state["diagonal"]
    return Kernels(
        n=n,
        traces=state["traces"],
        rows=ones @ ones.T,
        totals=ones.sum(axis=1),
        diagonals=diagonal @ diagonal.T,
        mixed=diagonal @ ones.T,
        sums=diagonal.sum(axis=1),
    )


def _chunks(n: int, step: int) -> Iterator[tuple[int, int]]:
    """Pairs of chunks by their first rows; the upper triangle."""
    return combinations_with_replacement(range(0, n, step), 2)


def _add_tiles(
    state: dict[str, np.ndarray],
    rows: Sequence[np.ndarray],
    columns: Sequence[np.ndarray],
    start: int,
    other: int,
) -> None:
    """Add the tiles of two chunks; those above the diagonal stand for their mirror images too."""
    for top in range(0, len(rows[0]), TILE):
        for left in range(top if start == other else 0, len(columns[0]), TILE):
            some, others = slice(top, top + TILE), slice(left, left + TILE)
            tiles = np.stack([a[some] @ b[others].T for a, b in zip(rows, columns, strict=True)])
            own = start == other and top == left
            if own:
                for tile in tiles:
                    np.fill_diagonal(tile, 0)
            flat = tiles.reshape(len(tiles), -1)
            state["traces"] += (flat @ flat.T) * (1 if own else 2)
            across = tiles.sum(axis=2, dtype=np.float64)
            state["ones"][:, start + top : start + top + across.shape[1]] += across
            if not own:
                down = tiles.sum(axis=1, dtype=np.float64)
                state["ones"][:, other + left : other + left + down.shape[1]] += down
