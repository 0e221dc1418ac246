"""What axes mean, against plain modules that are built for pictures of other sizes."""

import pytest
import timm
import torch

from actx_vision.models.config import TimmConfig
from actx_vision.models.timm_model import TimmModel

# Which axes follow the picture, by name; those without a plane or a row of their own have no such name.
FOLLOW = {
    "resmlp_12_224": ["stem", "blocks.0", "blocks.0.linear_tokens", "blocks.11", "norm"],
    "cait_xxs24_224": ["blocks.0", "blocks.0.attn.proj_l", "blocks.0.attn.attn_drop"],
    "mobilevitv2_050": ["stages.2.1.conv_1x1", "stages.2.1.transformer.0", "stages.2.1.conv_proj"],
    "tnt_s_legacy_patch16_224": ["pixel_embed.proj", "pixel_embed.unfold", "norm"],
}


def shapes(name: str, taps: list[str], size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Shapes of outputs by plain hooks."""
    fixed = {} if name.startswith("mobilevit") else {"img_size": size}
    with torch.device("meta"), torch.no_grad():
        module = timm.create_model(name, **fixed).eval()
        found: dict[str, tuple[int, ...]] = {}
        for tap in taps:
            module.get_submodule(tap).register_forward_hook(
                lambda _module, _inputs, output, tap=tap: found.update({tap: tuple(output.shape)})
            )
        module(torch.zeros(2, 3, *size))
    return found


@pytest.mark.parametrize("name", FOLLOW)
def test_axes_follow_the_picture_as_their_names_say(name):
    model = TimmModel(TimmConfig(name=name, weights="random"))
    declared = {tap.name: tap for tap in model.taps()}
    side = model.example(1).shape[-1]
    usual, tall, wide = (
        shapes(name, FOLLOW[name], size)
        for size in ((side, side), (2 * side, side), (side, 2 * side))
    )
    for tap in FOLLOW[name]:
        assert usual[tap][1:] == declared[tap].shape
        for axis, *sizes in zip(declared[tap].axes, usual[tap], tall[tap], wide[tap], strict=True):
            y, x = (sizes[0] != other for other in sizes[1:])
            if axis.startswith("dim"):
                assert len(usual[tap]) == 4
            else:
                follows = {"y": (True, False), "x": (False, True), "token": (True, True)}
                assert (y, x) == follows.get(axis, (False, False)), (tap, declared[tap].axes)
