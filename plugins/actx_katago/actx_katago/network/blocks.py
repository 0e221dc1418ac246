"""The parts of KataGo's trunk as torch modules, with KataGo's names; a block's output is its residual."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from actx_katago.network import layers
from actx_katago.network.description import TipNorm as TipNormLayer

USUAL_WIDTH = 14.0
"""KataGo measures the size of a board by (its width - 14) / 10."""


class Board(NamedTuple):
    """Where the boards of a batch are: ``mask`` (N, 1, y, x) of ones and zeros, ``off`` its opposite as bool.

    ``area`` (N, 1) counts the points, in float32 or wider; ``size`` is (sqrt(area) - 14) / 10.
    """

    mask: Tensor
    off: Tensor
    area: Tensor
    size: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> Board:
        """From a mask in the type of the activations, which counts for no gradient."""
        mask = mask.detach()
        wide = torch.promote_types(mask.dtype, torch.float32)
        area = mask.sum((2, 3), dtype=wide)
        return cls(mask, mask == 0, area, (area.sqrt() - USUAL_WIDTH) / 10)


class Norm(nn.Module):
    """Batch normalisation with fixed statistics, folded to a scale and a bias; zero off the board."""

    def __init__(self, layer: layers.Norm) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, layer.channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, layer.channels, 1, 1))

    def forward(self, x: Tensor, board: Board) -> Tensor:
        return torch.addcmul(self.bias, x, self.weight) * board.mask


class TipNorm(nn.Module):
    """RMS normalisation over channels, and over all points of the board where ``spatial``."""

    def __init__(self, layer: TipNormLayer) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, layer.channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, layer.channels, 1, 1))
        self.spatial = bool(layer.spatial)
        self.epsilon = layer.epsilon

    def forward(self, x: Tensor, board: Board) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        square = x.to(wide).square().mean(1, keepdim=True)
        if self.spatial:
            total = (square * board.mask).sum((2, 3), keepdim=True)
            square = total / board.area[:, :, None, None]
        scale = torch.rsqrt(square + self.epsilon).to(x.dtype)
        return torch.addcmul(self.beta, x * scale, self.gamma) * board.mask


class GlobalPool(nn.Module):
    """(N, C, y, x) → (N, 3 C): mean, mean weighed by the size of the board, largest."""

    def forward(self, x: Tensor, board: Board) -> Tensor:
        mean = x.sum((2, 3), dtype=board.area.dtype) / board.area
        largest = x.masked_fill(board.off, -torch.inf).amax((2, 3))
        return torch.cat([mean.to(x.dtype), (mean * board.size).to(x.dtype), largest], 1)


class ValuePool(nn.Module):
    """(N, C, y, x) → (N, 3 C): mean, and mean weighed by the size of the board and by its square."""

    def forward(self, x: Tensor, board: Board) -> Tensor:
        mean = x.sum((2, 3), dtype=board.area.dtype) / board.area
        return torch.cat([mean, mean * board.size, mean * (board.size.square() - 0.1)], 1).to(
            x.dtype
        )


def conv(layer: layers.Conv) -> nn.Conv2d:
    dilation = (layer.dilation_y, layer.dilation_x)
    padding = (dilation[0] * (layer.height // 2), dilation[1] * (layer.width // 2))
    kernel = (layer.height, layer.width)
    return nn.Conv2d(
        layer.c_in, layer.c_out, kernel, padding=padding, dilation=dilation, bias=False
    )


def linear(layer: layers.MatMul, bias: layers.MatBias | None = None) -> nn.Linear:
    return nn.Linear(layer.c_in, layer.c_out, bias=bias is not None)


def activation(layer: layers.Activation) -> nn.Module:
    kinds: tuple[type[nn.Module], ...] = (nn.Identity, nn.ReLU, nn.Mish, nn.SiLU)
    return dict(zip(layers.ACTIVATIONS, kinds, strict=True))[layer.kind]()


class ConvPool(nn.Module):
    """A convolution to which globally pooled channels of a second one are added."""

    def __init__(self, layer: layers.ConvPool) -> None:
        super().__init__()
        self.conv1r = conv(layer.conv1r)
        self.conv1g = conv(layer.conv1g)
        self.normg = Norm(layer.normg)
        self.actg = activation(layer.actg)
        self.gpool = GlobalPool()
        self.linear_g = linear(layer.linear_g)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        regular = self.conv1r(x)
        pooled = self.gpool(self.actg(self.normg(self.conv1g(x), board)), board)
        mixed: Tensor = regular + self.linear_g(pooled)[:, :, None, None]
        return mixed


class NormActConv(nn.Module):
    """Norm, activation and convolution, in this order."""

    def __init__(self, layer: layers.NormActConv) -> None:
        super().__init__()
        self.norm = Norm(layer.norm)
        self.act = activation(layer.act)
        self.conv = conv(layer.conv)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        out: Tensor = self.conv(self.act(self.norm(x, board)))
        return out


class NormActPool(nn.Module):
    """The same with a pooling convolution."""

    def __init__(self, layer: layers.NormActPool) -> None:
        super().__init__()
        self.norm = Norm(layer.norm)
        self.act = activation(layer.act)
        self.convpool = ConvPool(layer.convpool)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        out: Tensor = self.convpool(self.act(self.norm(x, board)), board)
        return out


class ResidualBlock(nn.Module):
    """Two convolutions; in a global-pooling block the first one knows the whole board."""

    def __init__(self, layer: layers.OrdinaryBlock | layers.GpoolBlock) -> None:
        super().__init__()
        self.normactconv1: nn.Module = (
            NormActPool(layer.normactconv1)
            if isinstance(layer, layers.GpoolBlock)
            else NormActConv(layer.normactconv1)
        )
        self.normactconv2 = NormActConv(layer.normactconv2)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        out: Tensor = self.normactconv2(self.normactconv1(x, board), board)
        return out


class NestedBlock(nn.Module):
    """A bottleneck with a stream of its own: ``stack_after_block{j}`` is that stream after block j."""

    def __init__(self, layer: layers.NestedBlock) -> None:
        super().__init__()
        self.normactconvp = NormActConv(layer.normactconvp)
        self.blockstack = nn.ModuleList(block(inner) for inner in layer.blockstack)
        for j in range(len(layer.blockstack)):
            self.add_module(f"stack_after_block{j}", nn.Identity())
        self.normactconvq = NormActConv(layer.normactconvq)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        x = self.normactconvp(x, board)
        for j, inner in enumerate(self.blockstack):
            x = getattr(self, f"stack_after_block{j}")(x + inner(x, board))
        out: Tensor = self.normactconvq(x, board)
        return out


class FeedForwardBlock(nn.Module):
    """The gated feed-forward half of a transformer layer."""

    def __init__(self, layer: layers.FeedForwardBlock) -> None:
        super().__init__()
        if layer.ffn_linear_gate is None:
            raise AssertionError("check() refuses a feed-forward block without a gate")
        self.norm = nn.RMSNorm(layer.channels, layer.norm.epsilon)
        self.ffn_linear1 = linear(layer.ffn_linear1)
        self.ffn_linear_gate = linear(layer.ffn_linear_gate)
        self.ffn_act = nn.SiLU()
        self.ffn_linear2 = linear(layer.ffn_linear2)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        points = self.norm(x.flatten(2).mT)
        gated = self.ffn_act(self.ffn_linear1(points)) * self.ffn_linear_gate(points)
        out: Tensor = self.ffn_linear2(gated).mT.reshape(x.shape)
        return out


def block(layer: layers.Block) -> nn.Module:
    """The module for a block of any kind."""
    from actx_katago.network.attention import AttentionBlock

    if isinstance(layer, layers.NestedBlock):
        return NestedBlock(layer)
    if isinstance(layer, layers.AttentionBlock):
        return AttentionBlock(layer)
    if isinstance(layer, layers.FeedForwardBlock):
        return FeedForwardBlock(layer)
    return ResidualBlock(layer)
