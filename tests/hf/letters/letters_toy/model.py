"""A model that counts the bytes of a text; slowly, and noting whose, where LETTERS_LOG names a file."""

import os
import time
from pathlib import Path

import numpy as np

from actx_core import Activation, Batch, Model, ModelConfig, Tap


class Letters(Model[ModelConfig]):
    accepts = "text"

    def taps(self, example=None):
        return [Tap("counts", ("sample", "channel"), (256,), module="Counts")]

    def prepare(self, samples):
        rows = [np.frombuffer(s.data.encode(), np.uint8) for s in samples]
        inputs = np.stack([np.bincount(row, minlength=256) for row in rows]).astype("float32")
        return Batch((inputs, [s.id for s in samples]), range(len(samples)))

    def open(self, taps):
        pass

    def extract(self, batch, pool):
        counts, ids = batch.inputs
        if log := os.environ.get("LETTERS_LOG"):
            time.sleep(0.1)
            with Path(log).open("a") as file:
                file.write("".join(f"{id}\n" for id in ids))
                os.fsync(file.fileno())
        return {"counts": pool("counts", Activation(counts, ("sample", "channel")))}
