"""The layers of a stimulus file as arrays: a row per stimulus and replicate, for ``actx analyze FILE``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from actx_core import Input, StoreError, sha256_file
from actx_vision.formats.lazy_activations import LazyActivations, ModelActivations


def inputs(path: Path) -> list[Input]:
    """One input ``model/layer`` for every layer of each model's first stimulus."""
    acts, digest = LazyActivations(path), sha256_file(path)
    found = []
    for name in acts:
        model = acts[name]
        for layer in model.pick():
            array = LayerRows(model, layer)
            content = hashlib.sha256(f"{digest}/{name}/{layer}".encode()).hexdigest()
            found.append(Input(f"{name}/{layer}", array, ("row", "channel"), array.rows, content))
    return found


class LayerRows:
    """(stimuli x replicates, features) of one layer; reads the stimuli that a selection touches."""

    def __init__(self, model: ModelActivations, layer: str) -> None:
        self._model, self._layer, self._stimuli = model, layer, list(model)
        self._each = model.pick().shape(layer)
        if len(self._each) != 2:
            raise StoreError(
                f"expected (replicates, features), found {self._each}", where=f"{model!r} {layer}"
            )
        self.shape = (len(self._stimuli) * self._each[0], self._each[1])
        self.dtype: np.dtype[Any] = model.pick()[layer].dtype

    @property
    def rows(self) -> pa.Table:
        """Stimulus and replicate of each row."""
        replicates = self._each[0]
        samples = [stimulus for stimulus in self._stimuli for _ in range(replicates)]
        return pa.table(
            {"sample": samples, "replicate": list(range(replicates)) * len(self._stimuli)}
        )

    def __getitem__(self, rows: Any) -> np.ndarray:
        numbers = np.arange(self.shape[0])[rows]
        flat = np.atleast_1d(numbers)
        out = np.empty((len(flat), self.shape[1]), self.dtype)
        stimuli, replicates = np.divmod(flat, self._each[0])
        for stimulus in np.unique(stimuli).tolist():
            mine = stimuli == stimulus
            out[mine] = self._read(self._stimuli[stimulus])[replicates[mine]]
        return out if np.ndim(numbers) else out[0]

    def _read(self, stimulus: str) -> np.ndarray:
        values = self._model[stimulus][self._layer]
        if values.shape != self._each:
            raise StoreError(
                f"expected {self._each} of {self._layer}, found {values.shape}",
                where=f"stimulus '{stimulus}'",
                hint="actx verify names all that is wrong with the file",
            )
        return values
