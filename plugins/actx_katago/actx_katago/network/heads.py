"""KataGo's policy and value heads as torch modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actx_katago.network import description as told
from actx_katago.network.blocks import (
    Board,
    GlobalPool,
    Norm,
    ValuePool,
    activation,
    conv,
    linear,
)

OFF_BOARD = -5000.0
"""The logit of a point off the board."""


class PolicyHead(nn.Module):
    """(N, C, y, x) → logits (N, policies, y · x + 1), the pass last."""

    def __init__(self, layer: told.PolicyHead) -> None:
        super().__init__()
        self.conv1p = conv(layer.conv1p)
        self.conv1g = conv(layer.conv1g)
        self.biasg = Norm(layer.biasg)
        self.actg = activation(layer.actg)
        self.gpool = GlobalPool()
        self.linear_g = linear(layer.linear_g)
        self.bias2 = Norm(layer.bias2)
        self.act2 = activation(layer.act2)
        self.conv2p = conv(layer.conv2p)
        self.linear_pass = linear(layer.linear_pass, layer.linear_pass_bias)
        if layer.act_pass is not None and layer.linear_pass2 is not None:
            self.act_pass = activation(layer.act_pass)
            self.linear_pass2 = linear(layer.linear_pass2)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        pooled = self.gpool(self.actg(self.biasg(self.conv1g(x), board)), board)
        points = self.conv1p(x) + self.linear_g(pooled)[:, :, None, None]
        points = self.conv2p(self.act2(self.bias2(points, board)))
        points = points + OFF_BOARD * (1 - board.mask)
        passes = self.linear_pass(pooled)
        if hasattr(self, "linear_pass2"):
            passes = self.linear_pass2(self.act_pass(passes))
        return torch.cat([points.flatten(2), passes[:, :, None]], 2)


class ValueHead(nn.Module):
    """(N, C, y, x) → logits of win, loss, no result (N, 3); raw scores (N, k); ownership (N, 1, y, x)."""

    def __init__(self, layer: told.ValueHead) -> None:
        super().__init__()
        self.conv1 = conv(layer.conv1)
        self.bias1 = Norm(layer.bias1)
        self.act1 = activation(layer.act1)
        self.gpool = ValuePool()
        self.linear2 = linear(layer.linear2, layer.bias2)
        self.act2 = activation(layer.act2)
        self.linear_valuehead = linear(layer.linear_valuehead, layer.bias_valuehead)
        self.linear_miscvaluehead = linear(layer.linear_miscvaluehead, layer.bias_miscvaluehead)
        self.conv_ownership = conv(layer.conv_ownership)

    def forward(self, x: Tensor, board: Board) -> tuple[Tensor, Tensor, Tensor]:
        points = self.act1(self.bias1(self.conv1(x), board))
        hidden = self.act2(self.linear2(self.gpool(points, board)))
        ownership = self.conv_ownership(points).tanh() * board.mask
        return self.linear_valuehead(hidden), self.linear_miscvaluehead(hidden), ownership
