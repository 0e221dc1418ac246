"""Extract one model of the panel over one folder of images, into an HDF5 file per stimulus and layer.

    python run_single_model.py --stimuli stimuli/semantic --model ResNet50 --output output

The same command goes on where it was stopped. Without --weights published nothing is downloaded: the
network then has random weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from actx_core import Pipeline
from actx_vision import load_lazy_activations


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Extract one model over one folder of images.")
    parser.add_argument("--stimuli", type=Path, required=True, help="folder of images")
    parser.add_argument("--model", default="ResNet50", help="as the panel ann_pipe calls it")
    parser.add_argument("--weights", default="random", choices=["random", "published"])
    parser.add_argument("--layers", nargs="+", default=["preset:ann_pipe"], help="taps, globs")
    parser.add_argument("--replicates", type=int, default=4, help="the first is clean")
    parser.add_argument("--output", type=Path, default=Path("output"))
    return parser.parse_args()


def main() -> None:
    given = arguments()
    source = given.stimuli.resolve().name
    pipeline = Pipeline.from_dict(
        {
            "actx": 1,
            "run": {"out": str(given.output / "runs" / f"{source}_{given.model}")},
            "source": {
                "type": "image-folder",
                "path": str(given.stimuli),
                "preset": "ann_pipe",
                "replicates": given.replicates,
            },
            "model": {
                "type": "panel",
                "name": given.model,
                "weights": given.weights,
                "taps": given.layers,
            },
            "export": {"format": "stimulus-hdf5", "path": str(given.output)},
        }
    )
    for receipt in pipeline.run():
        print(f"{receipt.cell}: {receipt.samples} exposures stored")
    path = given.output / f"model_activations_{source}.h5"
    with load_lazy_activations(path) as acts:
        for stimulus, layers in acts[given.model].items():
            print(stimulus, {layer: layers.shape(layer) for layer in layers})
    print(path)


if __name__ == "__main__":
    main()
