"""Matrices of dissimilarities in the HDF5 files of rsatoolbox (0.1.5 and later): written, and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from actx_core import AnalysisError, atomic

CONDITION = "condition"


def write_rdm(
    path: Path, distances: np.ndarray, names: Sequence[str], measure: str, tap: str
) -> None:
    """One RDM, given condensed, as a file that ``rsatoolbox.rdm.load_rdm`` reads."""
    # names beyond ASCII are attributes, and large ones need the later file version
    with atomic(path) as temporary, h5py.File(temporary, "w", libver="latest") as file:
        file.attrs["dissimilarity_measure"] = measure
        stored = file.create_dataset("dissimilarities", (1, len(distances)), "float32")
        for start in range(0, len(distances), 2**22):
            stored[0, start : start + 2**22] = distances[start : start + 2**22]
        file.create_group("descriptors").attrs["tap"] = tap
        _describe(file.create_group("rdm_descriptors"), "tap", [tap])
        patterns = file.create_group("pattern_descriptors")
        _describe(patterns, CONDITION, names)
        patterns["index"] = np.arange(len(names))


def _describe(group: h5py.Group, name: str, texts: Sequence[str]) -> None:
    if all(text.isascii() for text in texts):  # it decodes datasets as ASCII, attributes as UTF-8
        group[name] = np.array(texts).astype("S")
    else:
        group.attrs.create(name, list(texts), dtype=h5py.string_dtype())


def read_rdms(path: Path, by: str) -> tuple[list[str], list[str], np.ndarray]:
    """Names of the conditions, names of the RDMs, and the condensed RDMs (rdms, pairs) of a file.

    The conditions are named by the descriptor ``by``, or by the only one that tells them apart. Raises
    AnalysisError where there is none.
    """
    try:
        with h5py.File(path) as file:
            found = np.asarray(file["dissimilarities"], np.float64)
            patterns = _descriptors(file["pattern_descriptors"])
            rdms = _descriptors(file["rdm_descriptors"])
    except (OSError, KeyError) as error:
        raise AnalysisError(
            f"expected RDMs of rsatoolbox, found another file: {error}", where=str(path)
        ) from error
    usable = {
        name: values
        for name, values in patterns.items()
        if name != "index" and len(set(values)) == len(values)
    }
    if by not in usable and len(usable) != 1:
        raise AnalysisError(
            f"expected a pattern descriptor '{by}' with a name for each condition, found"
            f" {', '.join(patterns) or 'none'}",
            where=str(path),
            hint=f"add it in rsatoolbox: rdms.pattern_descriptors['{by}'] = names",
        )
    names = usable[by] if by in usable else next(iter(usable.values()))
    labels = next((v for k, v in rdms.items() if k != "index" and len(set(v)) == len(v)), None)
    return names, labels or [str(i) for i in range(len(found))], found


def _descriptors(group: h5py.Group) -> Mapping[str, list[str]]:
    found = {name: np.asarray(group[name]) for name in group}
    found |= {name: np.asarray(group.attrs[name]) for name in group.attrs}
    return {
        name: [v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()]
        for name, values in found.items()
        if values.ndim == 1
    }
