"""The layers and blocks that KataGo's networks of versions 3 to 17 are made of, as their files name them.

Attributes are called as in KataGo's checkpoints (``blocks.3.normactconv1.conv``). ``name`` is what the file
calls a layer: before version 11 that is something else (``rconv4/w1``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias

from actx_katago.network.fields import Count, Layer, Scope, Shape, Since, When

RELU = "ACTIVATION_RELU"
ACTIVATIONS = ("ACTIVATION_IDENTITY", RELU, "ACTIVATION_MISH", "ACTIVATION_SILU")


@dataclass(frozen=True, kw_only=True)
class Conv(Layer):
    """A convolution without bias, padded with zeros to keep the size of the board."""

    axes = (3, 2, 0, 1)
    name: str
    height: int
    width: int
    c_in: int
    c_out: int
    dilation_y: int = 1
    dilation_x: int = 1

    def arrays(self) -> dict[str, Shape]:
        return {"weight": (self.height, self.width, self.c_in, self.c_out)}


@dataclass(frozen=True, kw_only=True)
class Norm(Layer):
    """Batch normalisation with fixed statistics."""

    name: str
    channels: int
    epsilon: float
    has_scale: int
    has_bias: int

    def arrays(self) -> dict[str, Shape]:
        names = ["mean", "variance"] + ["scale"] * self.has_scale + ["bias"] * self.has_bias
        return dict.fromkeys(names, (self.channels,))


@dataclass(frozen=True, kw_only=True)
class Activation(Layer):
    """A nonlinearity; always ReLU before version 11."""

    name: str
    kind: Annotated[str, Since(11)] = RELU


@dataclass(frozen=True, kw_only=True)
class MatMul(Layer):
    """A linear map without bias."""

    axes = (1, 0)
    name: str
    c_in: int
    c_out: int

    def arrays(self) -> dict[str, Shape]:
        return {"weight": (self.c_in, self.c_out)}


@dataclass(frozen=True, kw_only=True)
class MatBias(Layer):
    """The bias of a linear map."""

    name: str
    channels: int

    def arrays(self) -> dict[str, Shape]:
        return {"bias": (self.channels,)}


@dataclass(frozen=True, kw_only=True)
class NormActConv(Layer):
    """Norm, activation and convolution, in this order."""

    norm: Norm
    act: Activation
    conv: Conv


@dataclass(frozen=True, kw_only=True)
class ConvPool(Layer):
    """A convolution to which globally pooled channels of a second one are added."""

    conv1r: Conv
    conv1g: Conv
    normg: Norm
    actg: Activation
    linear_g: MatMul


@dataclass(frozen=True, kw_only=True)
class NormActPool(Layer):
    """The same with a pooling convolution."""

    norm: Norm
    act: Activation
    convpool: ConvPool


@dataclass(frozen=True, kw_only=True)
class OrdinaryBlock(Layer):
    """Two convolutions."""

    token: ClassVar[str] = "ordinary_block"
    name: str
    normactconv1: NormActConv
    normactconv2: NormActConv


@dataclass(frozen=True, kw_only=True)
class GpoolBlock(Layer):
    """Two convolutions, of which the first knows the whole board."""

    token: ClassVar[str] = "gpool_block"
    name: str
    normactconv1: NormActPool
    normactconv2: NormActConv


@dataclass(frozen=True, kw_only=True)
class NestedBlock(Layer):
    """A bottleneck: fewer channels, some blocks on those, and back."""

    token: ClassVar[str] = "nested_bottleneck_block"
    name: str
    n_blocks: int
    normactconvp: NormActConv
    blockstack: Annotated[tuple[Block, ...], Count("n_blocks")]
    normactconvq: NormActConv


@dataclass(frozen=True, kw_only=True)
class PointNorm(Layer):
    """RMS normalisation of every point over its channels."""

    name: str
    channels: int
    epsilon: float

    def arrays(self) -> dict[str, Shape]:
        return {"weight": (self.channels,)}


@dataclass(frozen=True, kw_only=True)
class FixedRope(Layer):
    """Rotary position embedding by row and column, with the frequencies of one base."""

    name: str
    theta: float


@dataclass(frozen=True, kw_only=True)
class LearnedRope(Layer):
    """Rotary position embedding with learned frequencies along x and y."""

    name: str
    heads: int
    pairs: int
    two: int

    def arrays(self) -> dict[str, Shape]:
        return {"frequencies": (self.heads, self.pairs, self.two)}


def _rope(scope: Scope) -> type[Layer] | None:
    if not scope["use_rope"]:
        return None
    return LearnedRope if scope["learn_rope"] else FixedRope


@dataclass(frozen=True, kw_only=True)
class AttentionBlock(Layer):
    """Attention between all points of the board; ``kv_heads`` are shared by groups of ``heads``."""

    token: ClassVar[str] = "transformer_attention_block"
    name: str
    heads: int
    kv_heads: int
    q_dim: int
    v_dim: int
    use_rope: int
    learn_rope: int
    norm1: PointNorm
    q_proj: MatMul
    k_proj: MatMul
    v_proj: MatMul
    out_proj: MatMul
    rope: Annotated[FixedRope | LearnedRope | None, When(_rope)] = None


def _gate(scope: Scope) -> type[Layer] | None:
    return MatMul if scope["swiglu"] else None


@dataclass(frozen=True, kw_only=True)
class FeedForwardBlock(Layer):
    """The gated feed-forward half of a transformer layer."""

    token: ClassVar[str] = "transformer_ffn_block"
    name: str
    channels: int
    hidden: int
    swiglu: int
    norm: PointNorm
    ffn_linear1: MatMul
    ffn_linear_gate: Annotated[MatMul | None, When(_gate)] = None
    ffn_linear2: MatMul


Block: TypeAlias = OrdinaryBlock | GpoolBlock | NestedBlock | AttentionBlock | FeedForwardBlock
BLOCKS: dict[str, type[Layer]] = {
    kind.token: kind
    for kind in (OrdinaryBlock, GpoolBlock, NestedBlock, AttentionBlock, FeedForwardBlock)
}
