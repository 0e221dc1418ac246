"""Show what is in an HDF5 file of /model/stimulus/layer, reading no more of it than is shown.

python read_activations_example.py model_activations_semantic.h5 --model ResNet50 --show_layers
"""

from __future__ import annotations

import argparse
from pathlib import Path

from actx_vision import (
    get_activation_shape,
    get_available_images,
    get_available_layers,
    get_available_models,
    load_lazy_activations,
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Show what a file of activations holds.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", help="by default the first one")
    parser.add_argument("--show_layers", action="store_true", help="every layer with its shape")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    models = get_available_models(given.file)
    model = given.model or models[0]
    images = get_available_images(given.file, model)
    layers = get_available_layers(given.file, model)
    print(f"models: {', '.join(models)}")
    print(f"{model}: {len(images)} stimuli, {len(layers)} layers")
    print(f"stimuli: {', '.join(images[:5])}{' …' * (len(images) > 5)}")
    if given.show_layers:
        for layer in layers:
            replicates, features = get_activation_shape(given.file, model, layer=layer)
            print(f"  {layer}: {replicates} replicates x {features} features")

    with load_lazy_activations(given.file) as acts:
        one = acts[model][images[0]][layers[0]]  # (replicates, features)
        whole = acts.matrix(model, layers[-1], replicates="mean")  # (stimuli, features)
    print(f"{images[0]}, {layers[0]}: mean {one.mean():.4g}, deviation {one.std():.4g}")
    print(f"{layers[-1]} of all stimuli, replicates averaged: {whole.shape}")


if __name__ == "__main__":
    main()
