"""What a run holds of one model: stimuli without holes, layers block by block, and where they come from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from actx_core import StoreError, __version__
from actx_vision.formats.stimulus_file import ENCODED, listed

if TYPE_CHECKING:
    from actx_core import Run, TapArray

BLOCK = 2**26
"""Bytes of rows in memory at a time."""


class Layer:
    """One tap as stimuli x replicates x features; the axes of a row are flattened in C order."""

    def __init__(self, tap: TapArray) -> None:
        self._values = tap.replicates("drop")
        self._places = np.arange(len(self._values))
        self.tap = tap
        self.stimuli: Sequence[str] = self._values.samples
        self.replicates: Sequence[int] = self._values.replicates
        self.incomplete: Sequence[str] = self._values.dropped

    def take(self, stimuli: Sequence[str]) -> None:
        """Keep these, in this order."""
        places = {stimulus: place for place, stimulus in enumerate(self._values.samples)}
        self._places = np.array([places[stimulus] for stimulus in stimuli], np.int64)
        self.stimuli = stimuli

    @property
    def shape(self) -> tuple[int, int]:
        """(replicates, features) of one stimulus."""
        return len(self.replicates), math.prod(self.tap.spec.row_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of one stimulus."""
        return math.prod(self.shape) * self.tap.dtype.itemsize

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first stimulus, stimuli x replicates x features), in bounded memory."""
        step = max(1, BLOCK // max(1, self.nbytes))
        for start in range(0, len(self.stimuli), step):
            values = self._values[self._places[start : start + step]]
            yield start, np.ascontiguousarray(values).reshape(len(values), *self.shape)


@dataclass(frozen=True)
class Content:
    """A model's group in the file: layers that all have the same stimuli, and its attributes."""

    model: str
    layers: Mapping[str, Layer]
    attributes: Mapping[str, Any]

    @property
    def stimuli(self) -> Sequence[str]:
        return next(iter(self.layers.values())).stimuli


def contents(run: Run, missing: Literal["raise", "skip"]) -> dict[str, list[Content]]:
    """{source: what its file holds of each model}.

    Raises StoreError where rows are no samples, or where a stimulus was skipped or lacks a replicate or a
    layer; with ``missing = "skip"``, such stimuli are left out.
    """
    cells: dict[tuple[str, str], list[TapArray]] = {}
    for name in run.arrays:
        tap = run[name]
        cells.setdefault((tap.spec.source, tap.spec.model), []).append(tap)
    if not cells:
        raise StoreError("the run holds no arrays yet", where=str(run.path))
    found: dict[str, list[Content]] = {}
    for (source, model), taps in cells.items():
        found.setdefault(source, []).append(_content(run, f"{source}/{model}", taps, missing))
    return found


def _content(run: Run, cell: str, taps: Sequence[TapArray], missing: str) -> Content:
    _refuse_unpooled(cell, taps)
    layers = {tap.spec.tap: Layer(tap) for tap in taps}
    shown = {tuple(layer.replicates) for layer in layers.values()}
    if len(shown) > 1:
        raise StoreError(f"the layers have different replicates: {sorted(shown)}", where=cell)
    holes = _holes(run, cell, layers)
    if missing == "raise":
        _refuse_holes(run, cell, holes)
    first = next(iter(layers.values()))
    stimuli = [stimulus for stimulus in first.stimuli if stimulus not in holes]
    if not stimuli:
        raise StoreError("no stimulus is complete", where=cell)
    for layer in layers.values():
        layer.take(stimuli)
    return Content(taps[0].spec.model, layers, _provenance(run, cell, layers, sorted(holes)))


def _refuse_unpooled(cell: str, taps: Sequence[TapArray]) -> None:
    wrong = {tap.spec.tap: tap.tap.stored.varying for tap in taps if tap.spec.kind != "sample"}
    if wrong:
        over = json.dumps(sorted({axis for axes in wrong.values() for axis in axes}))
        raise StoreError(
            f"expected one row per stimulus and replicate, found a row per token or point of"
            f" {listed(list(wrong))}",
            where=cell,
            hint=f'pool these taps, such as with pool = [{{ type = "mean", over = {over} }}]',
        )


def _holes(run: Run, cell: str, layers: Mapping[str, Layer]) -> dict[str, str]:
    """{stimulus: why it cannot be in the file}."""
    holes = {s.sample: "skipped" for where, s in run.skipped if where == cell}
    every = dict.fromkeys(stimulus for layer in layers.values() for stimulus in layer.stimuli)
    for name, layer in layers.items():
        there = set(layer.stimuli)
        for stimulus in layer.incomplete:
            holes.setdefault(stimulus, f"lacks replicates of {name}")
        for stimulus in every:
            if stimulus not in there:
                holes.setdefault(stimulus, f"lacks {name}")
    return holes


def _refuse_holes(run: Run, cell: str, holes: Mapping[str, str]) -> None:
    leave_out = 'leave out what is missing with missing = "skip"'
    absent, shards = len(run.missing(run.cells[cell])), len(run.cells[cell].shards)
    if absent:
        message = f"{absent} of {shards} shards are not extracted yet"
        raise StoreError(message, where=cell, hint=f"end the run first, or {leave_out}")
    if holes:
        named = listed([f"{stimulus} ({why})" for stimulus, why in holes.items()])
        raise StoreError(
            f"{len(holes)} stimuli would be holes: {named}",
            where=cell,
            hint=f"repair them and `actx run --retry-skipped`, or {leave_out}",
        )


def _provenance(
    run: Run, cell: str, layers: Mapping[str, Layer], left_out: Sequence[str]
) -> dict[str, Any]:
    """Attributes of a model's group: numbers, or texts that are JSON but for ``actx`` and ``run``.

    ``run`` is a digest of all rows, ``model`` and ``source`` are what the pipeline said and the worker
    found (weights, their fingerprint, preprocessing), as in run.json.
    """
    digests = "\n".join(f"{name} {layer.tap.digest}" for name, layer in layers.items())
    request = run.cells[cell].request
    facts = run.manifest.get("cells", {}).get(cell, {}).get("model", {})
    about = {name: (layer.tap, layer.tap.tap) for name, layer in layers.items()}
    texts = {
        "model": {**request["model"], **facts},
        "source": request["source"],
        "layers": {
            name: {"axes": tap.axes[1:], "shape": tap.spec.row_shape, "pool": plan.pool}
            for name, (tap, plan) in about.items()
        },
        "left_out": left_out,
    }
    return {
        "actx": __version__,
        "run": hashlib.sha256(digests.encode()).hexdigest(),
        "replicates": np.array(next(iter(layers.values())).replicates),
        ENCODED: True,
        **{name: json.dumps(value, ensure_ascii=False) for name, value in texts.items()},
    }
