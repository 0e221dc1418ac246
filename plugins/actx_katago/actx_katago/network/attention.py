"""Attention over the points of a board, with rotary embedding of rows and columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actx_katago.network import layers
from actx_katago.network.blocks import Board, linear


class FixedRope(nn.Module):
    """Angles of one base: the first half of the pairs turns with the row, the second with the column."""

    def __init__(self, layer: layers.FixedRope, q_dim: int) -> None:
        super().__init__()
        self.theta = layer.theta
        self.pairs = q_dim // 2

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """(L,), (L,) → (1, L, pairs)."""
        steps = torch.arange(0, self.pairs, 2, device=y.device, dtype=y.dtype)
        frequencies = self.theta ** (-steps / self.pairs)
        return torch.cat([y[:, None] * frequencies, x[:, None] * frequencies], 1)[None]


class LearnedRope(nn.Module):
    """Angles from learned frequencies along x and y, for each key-value head."""

    def __init__(self, layer: layers.LearnedRope) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.zeros(layer.heads, layer.pairs, 2))

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """(L,), (L,) → (heads, L, pairs)."""
        along_x, along_y = self.frequencies.to(y.dtype).unbind(2)
        return x[:, None] * along_x[:, None] + y[:, None] * along_y[:, None]


class AttentionBlock(nn.Module):
    """``attn_weights`` (N, heads, L, L) are the softmaxed weights of key points for each query point.

    L = y · x runs over rows. No weight falls on a key off the board; rows of queries off it mean nothing.
    """

    def __init__(self, layer: layers.AttentionBlock) -> None:
        super().__init__()
        self.heads, self.kv_heads = layer.heads, layer.kv_heads
        self.q_dim, self.v_dim = layer.q_dim, layer.v_dim
        self.norm1 = nn.RMSNorm(layer.norm1.channels, layer.norm1.epsilon)
        self.q_proj = linear(layer.q_proj)
        self.k_proj = linear(layer.k_proj)
        self.v_proj = linear(layer.v_proj)
        self.rope: nn.Module | None = None
        if isinstance(layer.rope, layers.FixedRope):
            self.rope = FixedRope(layer.rope, layer.q_dim)
        elif isinstance(layer.rope, layers.LearnedRope):
            self.rope = LearnedRope(layer.rope)
        self.attn_weights = nn.Identity()
        self.out_proj = linear(layer.out_proj)

    def forward(self, x: Tensor, board: Board) -> Tensor:
        points = self.norm1(x.flatten(2).mT)
        q = self._split(self.q_proj(points), self.heads)
        k = self._split(self.k_proj(points), self.kv_heads)
        v = self._split(self.v_proj(points), self.kv_heads)
        if self.rope is not None:
            angles = self.rope(*_places(x))
            cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
            q = _turn(q, self._per_head(cos, 0), self._per_head(sin, 0))
            k = _turn(k, cos, sin)
        k, v = self._per_head(k, 1), self._per_head(v, 1)
        logits = (q * self.q_dim**-0.5) @ k.mT
        logits = logits.masked_fill(board.off.flatten(2)[:, :, None], -torch.inf)
        mixed = self.attn_weights(logits.softmax(3)) @ v
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out.mT.reshape(x.shape)

    def _split(self, points: Tensor, heads: int) -> Tensor:
        """(N, L, heads · dim) → (N, heads, L, dim)."""
        return points.view(*points.shape[:2], heads, -1).transpose(1, 2)

    def _per_head(self, values: Tensor, axis: int) -> Tensor:
        """What key-value heads share, given to each head; one value for all heads stays one."""
        shared = values.shape[axis] == self.kv_heads and self.kv_heads < self.heads
        return values.repeat_interleave(self.heads // self.kv_heads, axis) if shared else values


def _places(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of each point (L,), in float32 or wider: low precision cannot tell angles apart."""
    wide = torch.promote_types(x.dtype, torch.float32)
    height, width = (torch.arange(n, device=x.device, dtype=wide) for n in x.shape[2:])
    return height.repeat_interleave(x.shape[3]), width.repeat(x.shape[2])


def _turn(values: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (0, 1), (2, 3) … of the last axis."""
    even, odd = values[..., 0::2], values[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(3)
