"""An analyzer that can be chained: the norm of each row."""

import numpy as np

from actx_core import Analyzer, Config, Result


class Norms(Analyzer[Config]):
    def run(self, inputs, out):
        x = np.asarray(inputs[0].array[:]).reshape(inputs[0].array.shape[0], -1)
        norms = np.linalg.norm(x, axis=1)
        table = {"sample": inputs[0].rows["sample"].to_pylist(), "norm": norms}
        return Result(
            tables={"norms": table},
            arrays={"norms": (norms[:, None], ("row", "channel"))},
            groups={"largest": np.argsort(-norms)[:3].tolist()},
            notes=["row norms"],
            metrics={"mean": float(norms.mean())},
        )
