"""One factorization with its weights on disk: a pass over the rows per iteration, resumed where it was."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actx_cluster.parts.config import NmfConfig
from actx_cluster.parts.data import Data
from actx_cluster.parts.hals import improve, penalties, solve
from actx_cluster.parts.rowfile import RowFile
from actx_cluster.parts.start import make
from actx_cluster.spectrum import Spectrum
from actx_core import atomic

SCALARS = ("iterations", "first", "converged", "done")
SECONDS = 30.0
"""Time after which the factors are saved again; the end is always saved."""


@dataclass(slots=True)
class State:
    """Where a fit is.

    ``energies`` are each part's sums of squares in the weights, ``first`` is the size of the projected
    gradient in the first iteration, ``done`` says whether the fit has ended.
    """

    parts: np.ndarray
    energies: np.ndarray
    iterations: int = 0
    first: float = 0.0
    converged: bool = False
    done: bool = False


class Fit:
    """Rows as weights (row, k) times parts (k, dimensions), both without negative values.

    ``folder`` holds the weights and what a later call needs to go on; the way there does not change the
    result. Raises AnalysisError where the start is impossible.
    """

    def __init__(
        self, data: Data, k: int, options: NmfConfig, spectrum: Spectrum | None, folder: Path
    ) -> None:
        self.data, self.k, self.options, self.folder = data, k, options, folder
        self.weights = RowFile(folder / "weights.npy", data.count, k, data.dtype)
        self.penalties = penalties(options, data.count, data.size)
        self.state = self._restored(spectrum)
        self._run()

    def _run(self) -> None:
        if self.state.done:
            return
        saved = time.monotonic()
        while not self.state.done:
            self._iterate()
            if time.monotonic() - saved >= SECONDS:
                self._save()
                saved = time.monotonic()
        self._save()

    def _iterate(self) -> None:
        """Improve all weights, block by block, then all parts."""
        state, (on_weights, on_parts) = self.state, self.penalties
        gram = state.parts @ state.parts.T
        inner, outer, violation = np.zeros((self.k, self.k)), np.zeros(state.parts.shape), 0.0
        for at, block in self.data.blocks():
            held = np.ascontiguousarray(self.weights.read(at).T)
            weights, moved = improve(held, gram, state.parts @ block.T, on_weights)
            self.weights.write(at, weights.T)
            violation += moved
            inner += weights @ weights.T
            outer += weights @ block
        inner, outer = inner.astype(self.data.dtype), outer.astype(self.data.dtype)
        if self.data.free:
            fitted = solve(inner, outer, on_parts).astype(self.data.dtype)
            violation += float(np.abs((fitted - state.parts) * inner.diagonal()[:, None]).sum())
            state.parts = fitted
        else:
            state.parts, moved = improve(state.parts, inner, outer, on_parts)
            violation += moved
        state.iterations += 1
        state.energies = inner.diagonal().astype(np.float64)
        state.first = state.first or violation
        state.converged = violation <= self.options.tol * state.first
        state.done = state.converged or state.iterations == self.options.max_iter

    def _begun(self, spectrum: Spectrum | None) -> State:
        start = make(self.data, self.k, self.options, spectrum)
        for at, block in self.data.blocks():
            self.weights.write(at, start.weights(block))
        return State(start.parts, np.zeros(self.k))

    def _copy(self, iteration: int) -> Path:
        return self.folder / f"weights.{iteration}.npy"

    def _save(self) -> None:
        """The weights get a file of their own, and the state, replaced at once, tells which."""
        state = self.state
        with atomic(self._copy(state.iterations)) as temporary:
            shutil.copyfile(self.weights.path, temporary)
        with atomic(self.folder / "state.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: getattr(state, name) for name in State.__slots__})
        for old in self.folder.glob("weights.*.npy"):
            if old != self._copy(state.iterations):
                old.unlink()

    def _restored(self, spectrum: Spectrum | None) -> State:
        path = self.folder / "state.npz"
        if not path.exists():
            return self._begun(spectrum)
        with np.load(path) as saved:
            state = State(saved["parts"], saved["energies"], *(saved[n].item() for n in SCALARS))
        shutil.copyfile(self._copy(state.iterations), self.weights.path)
        return state
