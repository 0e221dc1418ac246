"""An analyzer that can be chained: the norm of each row."""

import numpy as np

from actx_core import AnalysisError, Analyzer, Config, Result


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

    def memory(self, inputs):
        if not inputs[0].row_shape:
            return None
        if inputs[0].row_shape[0] > 8:
            raise AnalysisError("rows are too long", where=inputs[0].name, hint="shorten them")
        return 1000 * inputs[0].rows
