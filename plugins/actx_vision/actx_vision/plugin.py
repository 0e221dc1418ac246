"""What actx-vision offers; imported for listing, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actx_core import Component, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterator


@hookimpl
def actx_models() -> Iterator[Component]:
    yield Component(
        "torchvision",
        "actx_vision.models.torchvision_model:TorchvisionModel",
        "Any image model of torchvision.models.",
        config="actx_vision.models.config:TorchvisionConfig",
    )
    yield Component(
        "timm",
        "actx_vision.models.timm_model:TimmModel",
        "Any model of timm, with its weight tag: resnet50.a1_in1k.",
        config="actx_vision.models.config:TimmConfig",
        extra="timm",
    )
    yield Component(
        "cornet-s",
        "actx_vision.models.cornet_model:CornetS",
        "CORnet-S, a recurrent network of four visual areas; time steps are taps.",
        config="actx_vision.models.config:CornetSConfig",
    )
    yield Component(
        "slip",
        "actx_vision.models.slip_model:Slip",
        "The image tower of SLIP ViT-S/16.",
        config="actx_vision.models.config:SlipConfig",
        extra="timm",
    )
    yield Component(
        "panel",
        "actx_vision.models.panel_model:Panel",
        "A panel of models under names of their own: ann_pipe, or one of it, such as ResNet50.",
        config="actx_vision.models.panel:PanelConfig",
    )
    yield Component(
        "open-clip",
        "actx_vision.models.open_clip_model:OpenClip",
        "The image or text tower of any model of open_clip, with its weight tag.",
        config="actx_vision.models.open_clip_config:OpenClipConfig",
        extra="open-clip",
    )


@hookimpl
def actx_sources() -> Iterator[Component]:
    yield Component(
        "image-folder",
        "actx_vision.sources.image_folder:ImageFolder",
        "A folder of images, flat or one folder per class, with everything below it.",
        config="actx_vision.sources.config:ImageFolderConfig",
    )
    yield Component(
        "image-table",
        "actx_vision.sources.image_table:ImageTable",
        "Images listed in a CSV, TSV or Parquet table with ids and any columns, or in a list of paths.",
        config="actx_vision.sources.config:ImageTableConfig",
    )
    yield Component(
        "image-stack",
        "actx_vision.sources.image_stack:ImageStack",
        "Images in one array of an HDF5 or .npy file, such as NSD's imgBrick.",
        config="actx_vision.sources.config:ImageStackConfig",
        extra="hdf5",
    )
    yield Component(
        "things",
        "actx_vision.sources.things:Things",
        "The THINGS images: a folder per object, keyed on things_concepts.tsv.",
        config="actx_vision.sources.config:ThingsConfig",
    )


@hookimpl
def actx_formats() -> Iterator[Component]:
    yield Component(
        "stimulus-hdf5",
        "actx_vision.formats.stimulus_hdf5:StimulusHdf5",
        "An HDF5 file per source with /model/stimulus/layer, as ann_pipe writes it.",
        config="actx_vision.formats.stimulus_config:StimulusHdf5Config",
        extra="hdf5",
    )
    yield Component(
        "thingsvision",
        "actx_vision.formats.thingsvision:ThingsVision",
        "Folders with features.npy and file_names.txt, for what was built on thingsvision.",
    )
    yield Component(
        "activations",
        "actx_vision.formats.activations_format:Activations",
        "Folders with activations and targets as .npy or .txt, as thingsvision of 2020 left them.",
        config="actx_vision.formats.activations_config:ActivationsConfig",
    )
