"""Named lists of taps of published analyses, by library and architecture.

``ann_pipe``: the layers that github.com/FabianKamp/ann_pipe extracts. ``brainscore``: those that the model
definitions of Brain-Score list. Both in the names of the library that the model comes from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Presets = Mapping[str, Sequence[str]]


def tap_presets(library: str, name: str) -> Presets:
    """The presets of an architecture (without its weight tag); none for one that no analysis lists.

    ``library`` is the type of model: ``torchvision``, ``timm``, ``open-clip`` (image towers), ``cornet-s``,
    ``slip``.
    """
    return _PRESETS.get((library, name), {})


def _each(pattern: str, counts: Sequence[int]) -> tuple[str, ...]:
    """The pattern for every block of every stage: ``counts[stage]`` blocks, at ``{s}`` and ``{b}``."""
    return tuple(pattern.format(s=s, b=b) for s, n in enumerate(counts) for b in range(n))


def _resnet(*convs: int) -> tuple[str, ...]:
    """Convolutions of the first blocks of each stage, as many as ResNet-50 has."""
    blocks = [f"layer{s}.{b}" for s, n in enumerate((3, 4, 6, 3), 1) for b in range(n)]
    return tuple(f"{block}.conv{conv}" for block in blocks for conv in convs)


_RESNET50 = {"ann_pipe": ("conv1", *_resnet(1, 2))}
_VIT = {"ann_pipe": _each("blocks.{b}.mlp.fc2", [12])}
_CLIP_VIT = {"ann_pipe": _each("transformer.resblocks.{b}.mlp.c_fc", [12])}

_PRESETS: Mapping[tuple[str, str], Presets] = {
    ("torchvision", "alexnet"): {
        "brainscore": (
            *(f"features.{n}" for n in (0, 3, 6, 8, 10)),
            *(f"classifier.{n}" for n in (1, 4, 6)),
        )
    },
    ("torchvision", "resnet50"): _RESNET50,
    ("torchvision", "resnext101_32x8d"): _RESNET50,
    ("torchvision", "vgg19"): {
        "ann_pipe": tuple(f"features.{n}" for n in (4, 9, 18, 27, 36)),
        "brainscore": (
            *(f"features.{n}" for n in (4, 8, 18, 27, 36)),
            *(f"classifier.{n}" for n in (0, 3)),
        ),
    },
    ("timm", "resnet50"): _RESNET50,
    ("timm", "resnext101_32x8d"): _RESNET50,
    ("timm", "convnext_large"): {
        "ann_pipe": _each("stages.{s}.blocks.{b}.conv_dw", [3, 3, 27, 3]),
        "brainscore": (
            *("stem", "stages.0.blocks.2", "stages.1.blocks.2"),
            *(f"stages.2.blocks.{n}" for n in (0, 8, 17, 26)),
            *("stages.3.blocks.2", "head.global_pool"),
        ),
    },
    ("timm", "vit_base_patch16_224"): _VIT,
    ("timm", "vit_base_patch32_224"): _VIT,
    ("timm", "deit_base_patch16_224"): _VIT,
    ("timm", "vit_base_patch16_clip_224"): _VIT,
    ("open-clip", "RN50"): {"ann_pipe": _resnet(1, 2, 3)},
    ("open-clip", "convnext_large_d_320"): {
        "ann_pipe": _each("trunk.stages.{s}.blocks.{b}.conv_dw", [3, 3, 27, 3])
    },
    ("open-clip", "ViT-B-16"): _CLIP_VIT,
    ("open-clip", "ViT-B-32"): _CLIP_VIT,
    ("cornet-s", "cornet_s"): {
        "ann_pipe": ("V1", "V2", "V4", "IT"),
        "brainscore": (
            "V1.output",
            *(
                f"{area}.output:{t}"
                for area, n in (("V2", 2), ("V4", 4), ("IT", 2))
                for t in range(n)
            ),
            "decoder.avgpool",
        ),
    },
    ("slip", "slip_small"): {"ann_pipe": tuple(f"blocks.{b}" for b in (1, 3, 6, 9, 11))},
}
