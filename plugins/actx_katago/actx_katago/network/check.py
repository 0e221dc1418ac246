"""Whether the layers of a network fit together, before anything is built from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actx_core import ModelError
from actx_katago.network.description import (
    INPUTS,
    VERSIONS,
    Description,
    PolicyHead,
    TipNorm,
    ValueHead,
    policy_outputs,
    score_outputs,
)
from actx_katago.network.fields import Layer, join, label, walk
from actx_katago.network.layers import (
    ACTIVATIONS,
    Activation,
    AttentionBlock,
    Block,
    Conv,
    FeedForwardBlock,
    FixedRope,
    GpoolBlock,
    LearnedRope,
    MatMul,
    NestedBlock,
    Norm,
    NormActConv,
)
from actx_katago.network.tokens import Weights


def check(description: Description, file: str = "") -> None:
    """Raise ModelError, naming the layer, where a network cannot be what its file says."""
    _Checker(description, file).network()


def check_variances(description: Description, weights: Weights, file: str) -> None:
    """Refuse statistics of which no root can be drawn."""
    for path, layer in walk(description):
        if isinstance(layer, Norm):
            least = float(np.min(weights[join(path, "variance")]))
            if least + layer.epsilon <= 0:
                raise ModelError(
                    f"expected variances above zero, found {least:g}",
                    where=f"{file}: {label(path, layer.name)}",
                )


class _Checker:
    def __init__(self, description: Description, file: str) -> None:
        self._top = description
        self._file = file
        self._paths = {id(layer): path for path, layer in walk(description)}

    def network(self) -> None:
        top, trunk = self._top, self._top.trunk
        self._expect(top, "version", top.version, *VERSIONS)
        spatial, global_ = INPUTS[top.input_version]
        self._expect(top, "spatial inputs", top.n_spatial, spatial)
        self._expect(top, "global inputs", top.n_global, global_)
        for _, layer in walk(top):
            self._layer(layer)
        channels = trunk.channels
        self._flow(trunk.conv_spatial, top.n_spatial, channels)
        self._flow(trunk.linear_global, top.n_global, channels)
        if (encoder := trunk.metadata_encoder) is not None:
            self._flow(encoder.linear1, encoder.inputs, encoder.bias1.channels)
            self._flow(encoder.linear2, encoder.bias1.channels, encoder.bias2.channels)
            self._flow(encoder.linear_output_to_trunk, encoder.bias2.channels, channels)
        self._stack(trunk, trunk.n_blocks, trunk.blocks, channels)
        self._expect(trunk.norm_trunkfinal, "channels", trunk.norm_trunkfinal.channels, channels)
        self._policy(top.policy_head, channels)
        self._value(top.value_head, channels)

    def _layer(self, layer: Layer) -> None:
        """What a layer must be wherever it stands."""
        for name, shape in layer.arrays().items():
            if 0 in shape:
                self._expect(layer, f"shape of {name}", list(shape), "sizes above zero")
        if isinstance(layer, Conv):
            for size in (layer.height, layer.width):
                self._expect(layer, "size of the kernel", size, *range(1, 20, 2))
            for dilation in (layer.dilation_y, layer.dilation_x):
                self._expect(layer, "dilation", dilation, *range(1, 20))
        elif isinstance(layer, Activation):
            self._expect(layer, "kind", layer.kind, *ACTIVATIONS)
        elif isinstance(layer, TipNorm):
            self._expect(layer, "size of a group of channels", layer.group, 0)
        epsilon = getattr(layer, "epsilon", 0.0)
        if epsilon < 0:
            self._expect(layer, "epsilon", epsilon, "a number from 0 on")

    def _stack(self, around: Layer, count: int, blocks: tuple[Block, ...], channels: int) -> None:
        self._expect(around, "number of blocks", count, len(blocks))
        for block in blocks:
            self._block(block, channels)

    def _block(self, block: Block, channels: int) -> None:
        if isinstance(block, AttentionBlock):
            self._attention(block, channels)
        elif isinstance(block, FeedForwardBlock):
            self._feed_forward(block, channels)
        elif isinstance(block, NestedBlock):
            inner = self._conv(block.normactconvp, channels)
            self._stack(block, block.n_blocks, block.blockstack, inner)
            self._conv(block.normactconvq, inner, channels)
        elif isinstance(block, GpoolBlock):
            first, pool = block.normactconv1, block.normactconv1.convpool
            self._expect(first.norm, "channels", first.norm.channels, channels)
            self._flow(pool.conv1r, channels, pool.conv1r.c_out)
            self._flow(pool.conv1g, channels, pool.normg.channels)
            self._flow(pool.linear_g, 3 * pool.normg.channels, pool.conv1r.c_out)
            self._conv(block.normactconv2, pool.conv1r.c_out, channels)
        else:
            middle = self._conv(block.normactconv1, channels)
            self._conv(block.normactconv2, middle, channels)

    def _conv(self, group: NormActConv, channels: int, out: int | None = None) -> int:
        self._expect(group.norm, "channels", group.norm.channels, channels)
        self._flow(group.conv, channels, out if out is not None else group.conv.c_out)
        return group.conv.c_out

    def _attention(self, block: AttentionBlock, channels: int) -> None:
        heads, kv_heads = block.heads, block.kv_heads
        if not 1 <= kv_heads <= heads or heads % kv_heads:
            self._expect(block, "key-value heads", kv_heads, f"a divisor of its {heads} heads")
        self._expect(block.norm1, "channels", block.norm1.channels, channels)
        self._flow(block.q_proj, channels, heads * block.q_dim)
        self._flow(block.k_proj, channels, kv_heads * block.q_dim)
        self._flow(block.v_proj, channels, kv_heads * block.v_dim)
        self._flow(block.out_proj, heads * block.v_dim, channels)
        rope, pairs = block.rope, block.q_dim // 2
        if isinstance(rope, FixedRope):
            if block.q_dim % 4:
                self._expect(block, "dimensions of a query", block.q_dim, "a multiple of 4")
            if not 0 < rope.theta < math.inf:
                self._expect(rope, "base of the frequencies", rope.theta, "a number above zero")
        elif isinstance(rope, LearnedRope):
            found = [rope.heads, rope.pairs, rope.two]
            self._expect(rope, "shape", found, [kv_heads, pairs, 2])
            self._expect(block, "dimensions of a query", block.q_dim, 2 * pairs)

    def _feed_forward(self, block: FeedForwardBlock, channels: int) -> None:
        self._expect(block, "channels", block.channels, channels)
        self._expect(block.norm, "channels", block.norm.channels, channels)
        if block.ffn_linear_gate is None:
            self._expect(block, "feed-forward kind", "one without a gate", "SwiGLU")
        else:
            self._flow(block.ffn_linear_gate, channels, block.hidden)
        self._flow(block.ffn_linear1, channels, block.hidden)
        self._flow(block.ffn_linear2, block.hidden, channels)

    def _policy(self, head: PolicyHead, channels: int) -> None:
        outputs, pooled, inner = head.conv2p.c_out, 3 * head.biasg.channels, head.bias2.channels
        self._expect(head.conv2p, "policies", outputs, *policy_outputs(self._top.version))
        if self._top.version >= 17:
            self._expect(head, "policies", head.outputs, outputs)
        self._flow(head.conv1p, channels, inner)
        self._flow(head.conv1g, channels, head.biasg.channels)
        self._flow(head.linear_g, pooled, inner)
        self._flow(head.conv2p, inner, outputs)
        if head.linear_pass2 is None or head.linear_pass_bias is None:
            self._flow(head.linear_pass, pooled, outputs)
        else:
            self._flow(head.linear_pass, pooled, head.linear_pass_bias.channels)
            self._flow(head.linear_pass2, head.linear_pass_bias.channels, outputs)

    def _value(self, head: ValueHead, channels: int) -> None:
        inner, score = head.bias2.channels, head.bias_miscvaluehead
        self._flow(head.conv1, channels, head.bias1.channels)
        self._flow(head.linear2, 3 * head.bias1.channels, inner)
        self._flow(head.linear_valuehead, inner, 3)
        self._expect(head.bias_valuehead, "channels", head.bias_valuehead.channels, 3)
        self._flow(head.linear_miscvaluehead, inner, score.channels)
        self._expect(score, "channels", score.channels, score_outputs(self._top.version))
        self._flow(head.conv_ownership, head.bias1.channels, 1)

    def _flow(self, layer: Conv | MatMul, c_in: int, c_out: int) -> None:
        self._expect(layer, "input channels", layer.c_in, c_in)
        self._expect(layer, "output channels", layer.c_out, c_out)

    def _expect(self, layer: Layer, what: str, found: Any, *allowed: Any) -> None:
        if found in allowed:
            return
        wanted = (
            " or ".join(map(str, allowed)) if len(allowed) < 5 else f"{allowed[0]} to {allowed[-1]}"
        )
        place = label(self._paths.get(id(layer), ""), getattr(layer, "name", ""))
        where = f"{self._file}: {place}" if self._file else place
        raise ModelError(f"{what}: expected {wanted}, found {found}", where=where)
