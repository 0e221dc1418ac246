"""What actx-hf offers; imported for listing, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actx_core import Component, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def actx_models() -> Iterator[Component]:
    yield Component(
        "transformers",
        "actx_hf.models.transformers_model:Transformers",
        "Language models of the package transformers, token by token.",
        config="actx_hf.models.config:TransformersConfig",
        extra="torch",
    )
    yield Component(
        "transformers-vision",
        "actx_hf.models.vision_model:Vision",
        "Vision transformers of the package transformers, with the checkpoint's own image processor.",
        config="actx_hf.models.config:LoadedConfig",
        extra="torch",
    )


@hookimpl
def actx_poolers() -> Iterator[Component]:
    yield Component(
        "words",
        "actx_hf.poolers:Words",
        "Rows of words: the first, the last or the mean of each word's tokens.",
    )


@hookimpl
def actx_sources() -> Iterator[Component]:
    yield Component(
        "datasets",
        "actx_hf.sources.datasets_source:datasets_source",
        "Data sets of the Hugging Face hub, and Parquet, JSON lines, CSV, text and Arrow files.",
        config="actx_hf.sources.config:DatasetsConfig",
        extra="datasets",
    )


@hookimpl
def actx_formats() -> Iterator[Component]:
    yield Component(
        "deeplens",
        "actx_hf.formats.deeplens:DeepLens",
        "features_layer_{layer}_{tokens}.pt per array, as DeepLens saves features.",
    )
    yield Component(
        "saelens",
        "actx_hf.formats.saelens:SaeLens",
        "A data set of contexts with token ids per array: SAELens' cached activations.",
        config="actx_hf.formats.config:SaeLensConfig",
        extra="datasets",
    )
    yield Component(
        "neurox",
        "actx_hf.formats.neurox:NeuroX",
        "An HDF5 or JSON file with all layers of each sentence, as NeuroX reads it.",
        extra="hdf5",
    )
