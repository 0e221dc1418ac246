"""Dissimilarities from files (ratings, confusions, RDMs of other tools), with names for their conditions."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.distance import squareform

from actx_cluster.similarity.rdm_file import read_rdms
from actx_core import AnalysisError


@dataclass(frozen=True, slots=True)
class Measured:
    """The RDMs of one file: ``values`` is (rdms, pairs), condensed; ``labels`` tell the RDMs apart."""

    name: str
    conditions: list[str]
    labels: list[str]
    values: np.ndarray

    def picked(self, conditions: list[str]) -> np.ndarray:
        """The RDMs of some conditions, in their order; condensed, (rdms, pairs)."""
        place = {name: i for i, name in enumerate(self.conditions)}
        order = [place[name] for name in conditions]
        squares = (squareform(v, checks=False)[np.ix_(order, order)] for v in self.values)
        return np.array([squareform(square, checks=False) for square in squares])


def read_behaviour(path: Path, by: str) -> Measured:
    """Read .csv (names in the first line and column), .npy (names in a .txt beside it), or .h5 (rsatoolbox).

    Raises AnalysisError for a file of another kind, a matrix that is not square, symmetric, finite and zero
    on its diagonal, and for conditions without a name of their own.
    """
    if path.suffix in (".h5", ".hdf5"):
        names, labels, values = read_rdms(path, by)
    elif path.suffix == ".csv":
        names, square = _csv(path)
        labels, values = [""], _condensed(square, names, path)[None]
    elif path.suffix == ".npy":
        names, array = _npy(path)
        labels = [""]
        values = (array if array.ndim == 1 else _condensed(array, names, path))[None]
    else:
        raise AnalysisError(
            f"expected a .csv, .npy or .h5 file, found '{path.suffix}'", where=str(path)
        )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1][:3]
    if twice:
        raise AnalysisError(f"several conditions are named {twice}", where=str(path))
    pairs = len(names) * (len(names) - 1) // 2
    if values.shape[1] != pairs:
        raise AnalysisError(
            f"expected {pairs} pairs of {len(names)} conditions, found {values.shape[1]}",
            where=str(path),
        )
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])
        one, other = (names[int(k[bad])] for k in np.triu_indices(len(names), 1))
        raise AnalysisError(
            f"the pair '{one}', '{other}' has no finite value",
            where=str(path),
            hint="leave such conditions out of the file",
        )
    return Measured(path.stem, names, labels, values)


def _csv(path: Path) -> tuple[list[str], np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    names = [cell.strip() for cell in lines[0][1:]] if lines else []
    square = np.empty((len(names), len(names)))
    for number, line in enumerate(lines[1:], 2):
        where = f"{path}:{number}"
        name = names[number - 2] if number - 2 < len(names) else "the end"
        if line[0].strip() != name or len(line) != len(names) + 1:
            raise AnalysisError(
                f"expected '{name}' and {len(names)} numbers, found '{line[0]}' and {len(line) - 1}",
                where=where,
                hint="the first line and the first column hold the same names, in the same order",
            )
        try:
            square[number - 2] = [float(cell) for cell in line[1:]]
        except ValueError as error:
            raise AnalysisError(f"expected numbers: {error}", where=where) from error
    if len(lines) != len(names) + 1 or not names:
        raise AnalysisError(
            f"expected a line of names and one line for each, found {len(names)} names and"
            f" {max(0, len(lines) - 1)} lines",
            where=str(path),
        )
    return names, square


def _npy(path: Path) -> tuple[list[str], np.ndarray]:
    beside = path.with_suffix(".txt")
    if not beside.exists():
        raise AnalysisError(
            "expected the names of its conditions beside it",
            where=str(path),
            hint=f"write them to {beside.name}, one in a line: conditions are matched by name",
        )
    try:
        array = np.load(path, allow_pickle=False).astype(np.float64)
    except (ValueError, OSError) as error:
        raise AnalysisError(f"expected an array of numbers: {error}", where=str(path)) from error
    return [line.strip() for line in beside.read_text("utf-8").splitlines() if line.strip()], array


def _condensed(square: np.ndarray, names: list[str], path: Path) -> np.ndarray:
    """The upper triangle of a dissimilarity matrix that is one."""
    if square.shape != (len(names), len(names)):
        raise AnalysisError(
            f"expected {len(names)} x {len(names)} numbers for as many names, found"
            f" {' x '.join(map(str, square.shape))}",
            where=str(path),
        )
    scale = np.nanmax(np.abs(square), initial=0)
    off = np.argwhere(np.abs(square - square.T) > 1e-6 * scale)
    if len(off):
        one, other = (names[i] for i in off[0])
        raise AnalysisError(
            f"not symmetric: '{one}', '{other}' differs from '{other}', '{one}'", where=str(path)
        )
    if np.abs(np.diag(square)).max() > 1e-6 * scale:
        raise AnalysisError(
            "the diagonal is not zero: dissimilarities were expected",
            where=str(path),
            hint="turn similarities into dissimilarities, such as 1 - similarity",
        )
    return square[np.triu_indices(len(names), 1)]
