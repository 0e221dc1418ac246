"""CORnet-S, a recurrent network of four areas named after visual cortex.

Written from the description of the architecture (Kubilius et al., "Brain-like object recognition with
high-performing shallow recurrent ANNs", 2019). The parameters have the names and shapes of those published.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn.functional import conv2d

EXPANSION = 4
"""Channels inside an area's bottleneck per channel outside."""


class SteppedConv2d(nn.Conv2d):
    """A convolution whose stride comes with each call, for it depends on the time step."""

    def forward(self, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return conv2d(x, self.weight, self.bias, stride, self.padding)


class Area(nn.Module):
    """V2, V4 or IT: one bottleneck, applied ``times`` times; only the first step halves the image.

    The weights of the convolutions are shared by all steps, the batch normalisations are not. ``output``
    is called once per step, so that its calls are the area's activity over time.
    """

    def __init__(self, before: int, channels: int, times: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.times = times
        self.conv_input = nn.Conv2d(before, channels, 1, bias=False)
        self.skip = nn.Conv2d(channels, channels, 1, stride=2, bias=False)
        self.norm_skip = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, wide, 1, bias=False)
        self.nonlin1 = nn.ReLU()
        self.conv2 = SteppedConv2d(wide, wide, 3, padding=1, bias=False)
        self.nonlin2 = nn.ReLU()
        self.conv3 = nn.Conv2d(wide, channels, 1, bias=False)
        self.nonlin3 = nn.ReLU()
        self.output = nn.Identity()
        for t in range(times):
            self.add_module(f"norm1_{t}", nn.BatchNorm2d(wide))
            self.add_module(f"norm2_{t}", nn.BatchNorm2d(wide))
            self.add_module(f"norm3_{t}", nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_input(x)
        for t in range(self.times):
            norm1, norm2, norm3 = (self.get_submodule(f"norm{n}_{t}") for n in (1, 2, 3))
            skip = x if t else self.norm_skip(self.skip(x))
            x = self.nonlin1(norm1(self.conv1(x)))
            x = self.nonlin2(norm2(self.conv2(x, 1 if t else 2)))
            x = self.output(self.nonlin3(norm3(self.conv3(x)) + skip))
        return x


def cornet_s() -> nn.Sequential:
    """CORnet-S for (n, 3, 224, 224) images and the 1000 classes of ImageNet; 53,416,616 parameters."""
    v1 = _parts(
        conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        norm1=nn.BatchNorm2d(64),
        nonlin1=nn.ReLU(),
        pool=nn.MaxPool2d(3, stride=2, padding=1),
        conv2=nn.Conv2d(64, 64, 3, padding=1, bias=False),
        norm2=nn.BatchNorm2d(64),
        nonlin2=nn.ReLU(),
        output=nn.Identity(),
    )
    decoder = _parts(
        avgpool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        linear=nn.Linear(512, 1000),
        output=nn.Identity(),
    )
    return _parts(
        V1=v1, V2=Area(64, 128, 2), V4=Area(128, 256, 4), IT=Area(256, 512, 2), decoder=decoder
    )


def _parts(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))
