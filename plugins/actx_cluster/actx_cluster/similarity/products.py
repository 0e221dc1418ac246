"""Products of several inputs with each other, summed in one pass over their rows.

Two forms give the same: the products of all columns (many rows), or of all rows in tiles (many columns).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, pairwise

import numpy as np

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


def by_rows(every: Sequence[Points]) -> bool:
    """Whether products of rows are the better form: less work, or the only one that fits."""
    sizes = np.array([p.size for p in every], np.float64)
    entries = (sizes.sum() ** 2 + (sizes**2).sum()) / 2
    return bool(entries * 8 > COLUMN_BYTES or every[0].count * sizes.sum() / 2 < entries)


def kernels(every: Sequence[Points], saved: Saved) -> Kernels:
    """The sums of all pairs of inputs with the same conditions."""
    return _tiled(every, saved) if by_rows(every) else Columns(every, saved).kernels()


class Columns:
    """X'Y of each pair, less a shift that keeps the digits of data far from zero.

    Blocks are multiplied in float32 and added up in float64. ``weighted[i]`` is X' times the squared
    lengths of the rows of all inputs, ``lengths`` the products of these squared lengths.
    """

    def __init__(self, every: Sequence[Points], saved: Saved) -> None:
        self.every = every
        self.n = every[0].count
        few = min(self.n, 4096)
        self._shifts = [p.block(0, few).mean(axis=0, dtype=np.float64) for p in every]
        self._sum(saved)

    def _sum(self, saved: Saved) -> None:
        m = len(self.every)
        sizes = [p.size for p in self.every]
        edges = np.cumsum([0, *sizes])
        state = saved.load() or {
            "done": np.array(0),
            "sums": np.zeros(m),
            "lengths": np.zeros((m, m)),
            **{f"total{i}": np.zeros(sizes[i]) for i in range(m)},
            **{f"weighted{i}": np.zeros((sizes[i], m)) for i in range(m)},
            **{f"product{i}": np.zeros((sizes[i], sum(sizes[i:]))) for i in range(m)},
        }
        step = max(1, BLOCK_BYTES // (4 * sum(sizes)))
        for start in range(int(state["done"]), self.n, step):
            stop = min(start + step, self.n)
            block = np.empty((stop - start, edges[-1]), np.float32)
            blocks = [block[:, a:b] for a, b in pairwise(edges)]
            for values, p, shift in zip(blocks, self.every, self._shifts, strict=True):
                values[:] = p.block(start, stop) - shift.astype(p.rows.dtype)
            squares = np.stack([np.einsum("ij,ij->i", b, b, dtype=np.float64) for b in blocks], 1)
            state["sums"] += squares.sum(axis=0)
            state["lengths"] += squares.T @ squares
            for i, values in enumerate(blocks):
                state[f"total{i}"] += values.sum(axis=0, dtype=np.float64)
                state[f"weighted{i}"] += values.T.astype(np.float64) @ squares
                # one wide product is several times faster than one for each pair
                state[f"product{i}"] += values.T @ block[:, edges[i] :]
            state["done"] = np.array(stop)
            saved.save(state)
        saved.remove()
        self._state = state

    def product(self, i: int, j: int) -> np.ndarray:
        """X'Y, both shifted, (columns of X, columns of Y)."""
        if i > j:
            return self.product(j, i).T
        sizes = [p.size for p in self.every]
        first = sum(sizes[i:j])
        return self._state[f"product{i}"][:, first : first + sizes[j]]

    def total(self, i: int) -> np.ndarray:
        """The sum of the shifted rows."""
        return self._state[f"total{i}"]

    def kernels(self) -> Kernels:
        """The sums over the kernels, by the identities tr(K L) = |X'Y|², K 1 = X (X'1)."""
        m = len(self.every)
        traces, rows, mixed = np.empty((m, m)), np.empty((m, m)), np.empty((m, m))
        for i in range(m):
            for j in range(m):
                product = self.product(i, j)
                traces[i, j] = np.einsum("ij,ij->", product, product)
                rows[i, j] = self.total(i) @ product @ self.total(j)
                mixed[i, j] = self._state[f"weighted{j}"][:, i] @ self.total(j)
        lengths, sums = self._state["lengths"], self._state["sums"]
        totals = np.array([self.total(i) @ self.total(i) for i in range(m)])
        return Kernels(
            n=self.n,
            traces=traces - lengths,
            rows=rows - mixed - mixed.T + lengths,
            totals=totals - sums,
            diagonals=lengths,
            mixed=mixed - lengths,
            sums=sums,
        )


def _tiled(every: Sequence[Points], saved: Saved) -> Kernels:
    """The same sums from tiles of all kernels at once; inputs are read again where they do not fit."""
    m, n = len(every), every[0].count
    state = saved.load() or {
        "done": np.array(0),
        "traces": np.zeros((m, m)),
        "ones": np.zeros((m, n)),
        "diagonal": np.zeros((m, n)),
    }
    shifts = [p.block(0, min(n, 4096)).mean(axis=0).astype(np.float32) for p in every]
    step = max(1, HELD_BYTES // (4 * sum(p.size for p in every)))
    held: dict[int, list[np.ndarray]] = {}
    for number, (start, other) in enumerate(_chunks(n, step)):
        if number < int(state["done"]):
            continue
        for first in {start, other} - held.keys():
            held[first] = [
                np.asarray(p.block(first, min(first + step, n)) - shift, np.float32)
                for p, shift in zip(every, shifts, strict=True)
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
