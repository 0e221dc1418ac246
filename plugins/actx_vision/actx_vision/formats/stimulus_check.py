"""Names everything that is wrong with an HDF5 file of ``/model/stimulus/layer``, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from actx_core import StoreError
from actx_vision.formats.stimulus_file import DAMAGED, is_encoded, listed, names, open_file, read

BLOCK = 2**26
"""Bytes in memory at a time."""


def may_be_ours(path: Path) -> bool:
    """Whether the file is called .h5 or .hdf5 and has arrays in groups in groups, or is damaged or empty."""
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return False
    try:
        with open_file(path) as file:
            groups = [item for item in file.values() if isinstance(item, h5py.Group)]
            return not len(file) or any(map(_looks_like_a_model, groups))
    except (StoreError, *DAMAGED):
        return True


def _looks_like_a_model(group: h5py.Group) -> bool:
    if isinstance(group.get("samples"), h5py.Dataset):  # core's format hdf5: /source/samples
        return False
    stimulus = next(iter(group.values()), None)
    if not isinstance(stimulus, h5py.Group):
        return False
    return all(isinstance(layer, h5py.Dataset) for layer in stimulus.values())


def check_file(path: Path) -> list[str]:
    """One sentence per flaw: structure, shapes, replicates, holes, NaN; data are read in blocks."""
    try:
        with open_file(path) as file:
            return list(_check(file))
    except StoreError as error:
        return [error.message]
    except DAMAGED as error:
        return [f"the file is damaged: {error}"]


def _check(file: h5py.File) -> Iterator[str]:
    if not len(file):
        yield "the file holds no model"
    stimuli: dict[str, set[str]] = {}
    for name in file:
        group = file[name]
        if not isinstance(group, h5py.Group):
            yield f"{name}: expected the group of a model, found an array of {group.shape}"
            continue
        model = _Model(name)
        yield from model.check(group)
        stimuli[name] = set(model.stimuli)
    every = set().union(*stimuli.values())
    for name, there in stimuli.items():
        if there and there != every:
            yield f"{name}: lacks stimuli that other models have: {listed(sorted(every - there))}"


@dataclass
class _Model:
    """What has been seen of one model; per layer, ``kinds`` says which stimuli have which shape and type."""

    name: str
    stimuli: dict[str, frozenset[str]] = field(default_factory=dict)
    kinds: dict[str, dict[tuple[str, tuple[int, ...]], list[str]]] = field(default_factory=dict)
    flaws: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """{(layer, what is wrong): stimuli}"""

    def check(self, group: h5py.Group) -> Iterator[str]:
        encoded = is_encoded(group)
        if not len(group):
            yield f"{self.name}: holds no stimulus"
        for stimulus, inner in names(group, encoded).items():
            self._check_stimulus(stimulus, group[inner], encoded)
        self._find_holes()
        self._compare_kinds()
        for (layer, what), stimuli in self.flaws.items():
            yield self._sentence(layer, what, stimuli)
        yield from self._compare_replicates()

    def _check_stimulus(
        self, stimulus: str, item: h5py.Group | h5py.Dataset, encoded: bool
    ) -> None:
        self.stimuli[stimulus] = frozenset()
        if not isinstance(item, h5py.Group):
            self._flaw("", "expected a group of layers, found an array", stimulus)
            return
        layers = names(item, encoded)
        if not layers:
            self._flaw("", "holds no layer", stimulus)
        self.stimuli[stimulus] = frozenset(layers)
        for layer, name in layers.items():
            self._check_array(item, name, stimulus, layer)

    def _sentence(self, layer: str, what: str, stimuli: Sequence[str]) -> str:
        one = stimuli[0] if len(stimuli) == 1 else "*"
        where = "/".join([self.name, one, *([layer] if layer else [])])
        if len(stimuli) == 1:
            return f"{where}: {what}"
        return (
            f"{where}: {what}, in {len(stimuli)} of {len(self.stimuli)} stimuli: {listed(stimuli)}"
        )

    def _flaw(self, layer: str, what: str, stimulus: str) -> None:
        self.flaws.setdefault((layer, what), []).append(stimulus)

    def _check_array(self, group: h5py.Group, name: bytes, stimulus: str, layer: str) -> None:
        try:
            dataset = group[name]
            if not isinstance(dataset, h5py.Dataset):
                self._flaw(layer, "expected an array, found a group", stimulus)
                return
            kind = str(dataset.dtype), dataset.shape
            self.kinds.setdefault(layer, {}).setdefault(kind, []).append(stimulus)
            if what := _flaw_of(dataset):
                self._flaw(layer, what, stimulus)
        except DAMAGED as error:
            self._flaw(layer, f"cannot be read: {error}", stimulus)

    def _find_holes(self) -> None:
        every = dict.fromkeys(layer for layers in self.stimuli.values() for layer in layers)
        for stimulus, layers in self.stimuli.items():
            for layer in every if layers else ():
                if layer not in layers:
                    self._flaw(layer, "is missing", stimulus)

    def _compare_kinds(self) -> None:
        """The kind that most stimuli have is taken for the right one."""
        for layer, kinds in self.kinds.items():
            usual = _usual(kinds)
            expected = f"expected {usual[0]} of {usual[1]} as in other stimuli"
            for kind, stimuli in kinds.items():
                if kind != usual:
                    for stimulus in stimuli:
                        self._flaw(layer, f"{expected}, found {kind[0]} of {kind[1]}", stimulus)

    def _compare_replicates(self) -> Iterator[str]:
        shapes = {layer: _usual(kinds)[1] for layer, kinds in self.kinds.items()}
        counts: dict[int, list[str]] = {}
        for layer, shape in shapes.items():
            if len(shape) == 2:
                counts.setdefault(shape[0], []).append(layer)
        if len(counts) > 1:
            found = "; ".join(f"{n} in {listed(layers)}" for n, layers in counts.items())
            yield f"{self.name}: expected as many replicates in every layer, found {found}"


def _usual(
    kinds: Mapping[tuple[str, tuple[int, ...]], Sequence[str]],
) -> tuple[str, tuple[int, ...]]:
    return max(kinds, key=lambda kind: len(kinds[kind]))


def _flaw_of(dataset: h5py.Dataset) -> str:
    """What is wrong with one array by itself."""
    if dataset.ndim != 2:
        return f"expected (replicates, features), found {dataset.shape}"
    if dataset.dtype.kind not in "biuf":
        return f"expected numbers, found {dataset.dtype}"
    if not dataset.size:
        return f"is empty: {dataset.shape}"
    written = dataset.is_virtual or dataset.id.get_space_status() == h5py.h5d.SPACE_STATUS_ALLOCATED
    if not written:
        return "was created but not written, or not all of it"
    if dataset.dtype.kind == "f" and not all(np.isfinite(part).all() for part in _parts(dataset)):
        return "holds NaN or infinite values"
    return ""


def _parts(dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    if dataset.nbytes <= BLOCK:
        yield read(dataset.id)
        return
    step = BLOCK // dataset.dtype.itemsize
    for row in range(dataset.shape[0]):
        for start in range(0, dataset.shape[1], step):
            yield dataset[row, start : start + step]
