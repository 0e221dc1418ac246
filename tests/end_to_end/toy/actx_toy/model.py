"""A model on token sequences of different lengths: fixed-size and varying taps, padded batches."""

import os
import signal
import uuid
from pathlib import Path

import numpy as np

from actx_core import Activation, Batch, InputPath, Model, ModelConfig, Tap


class ToyConfig(ModelConfig):
    width: int = 6
    seed: int = 0
    fail_above: int = 10**9
    """Batches larger than this do not fit in memory."""
    dies: InputPath | None = None
    """A folder: the process dies at sample n007 until so many files lie there as the folder's name says."""


class Toy(Model[ToyConfig]):
    accepts = "array"

    def taps(self, example=None):
        w = self.config.width
        return [
            Tap("embed", ("sample", "token", "channel"), (None, w), rows_at_most=9, module="Embed"),
            Tap(
                "hidden", ("sample", "channel", "token"), (w, None), rows_at_most=9, module="Layer"
            ),
            Tap("length", ("sample",), (), module="Length"),
            Tap("last", ("sample", "channel"), (w,), module="Layer"),
            Tap("silent", (), (), problem="it is never called"),
        ]

    def prepare(self, samples):
        for s in samples:
            if np.ndim(s.data) != 1:
                raise ValueError(f"expected one axis, got {np.ndim(s.data)}")
        longest = max(len(s.data) for s in samples)
        x = np.full((len(samples), longest), np.nan)
        for row, s in zip(x, samples, strict=True):
            row[: len(s.data)] = s.data
        mask = ~np.isnan(x)
        columns = {
            "sample": {"n_tokens": mask.sum(1)},
            "token": {
                "value": np.nan_to_num(x),
                "special": np.arange(longest)[None] + np.zeros((len(samples), 1), int) == 0,
            },
        }
        return Batch((x, mask), range(len(samples)), columns)

    def open(self, taps):
        self.opened = list(taps)
        rng = np.random.default_rng(self.config.seed)
        self.up = rng.standard_normal(self.config.width)
        self.mix = rng.standard_normal((self.config.width, self.config.width))

    def extract(self, batch, pool):
        x, mask = batch.inputs
        if self.config.dies and np.any(batch.columns["sample"]["n_tokens"] == 8):
            self.die()
        if len(x) > self.config.fail_above:
            raise MemoryError("too much")
        embed = x[..., None] * self.up
        hidden = np.tanh(np.nan_to_num(embed) @ self.mix)
        last = hidden[np.arange(len(x)), mask.sum(1) - 1]
        found = {
            "embed": Activation(embed, ("sample", "token", "channel"), mask[..., None]),
            "hidden": Activation(
                hidden.transpose(0, 2, 1), ("sample", "channel", "token"), mask[:, None]
            ),
            "length": Activation(mask.sum(1).astype(np.float64), ("sample",)),
            "last": Activation(last, ("sample", "channel")),
        }
        return {tap: pool(tap, found[tap]) for tap in self.opened}

    def die(self):
        folder = Path(self.config.dies)
        if len(list(folder.iterdir())) < int(folder.name):
            (folder / uuid.uuid4().hex).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def fingerprint(self):
        return f"toy-{self.config.width}-{self.config.seed}"
