"""Networks with random weights: small ones of any version and block kind, or untrained copies of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from actx_core import ModelError
from actx_katago.network.check import check
from actx_katago.network.description import (
    INPUT_VERSIONS,
    INPUTS,
    VERSIONS,
    Description,
    MetadataEncoder,
    Multipliers,
    PolicyHead,
    TipNorm,
    Trunk,
    ValueHead,
    policy_outputs,
    score_outputs,
)
from actx_katago.network.fields import join, walk
from actx_katago.network.file import NetworkFile
from actx_katago.network.layers import (
    RELU,
    Activation,
    AttentionBlock,
    Block,
    Conv,
    ConvPool,
    FeedForwardBlock,
    FixedRope,
    GpoolBlock,
    LearnedRope,
    MatBias,
    MatMul,
    NestedBlock,
    Norm,
    NormActConv,
    NormActPool,
    OrdinaryBlock,
    PointNorm,
)
from actx_katago.network.tokens import Weights

KINDS = ("ordinary", "gpool", "nested", "attention", "attention-learned", "feed-forward")
"""The kinds of blocks of ``random_network``; a nested one holds one of every other kind of its version."""


def random_network(
    version: int = 14,
    blocks: Sequence[str] = ("ordinary", "gpool"),
    *,
    channels: int = 16,
    activation: str = "",
    tip: str = "norm",
    meta: bool = False,
    seed: int = 0,
) -> NetworkFile:
    """A small network of a version with random weights, which KataGo's engine loads.

    ``blocks`` are of KINDS, ``channels`` a multiple of 8. ``activation`` is one of ``layers.ACTIVATIONS``; by
    default ReLU before version 11, then Mish. ``tip`` is the last norm: ``norm``, ``rms`` or ``spatial-rms``,
    after which the engine takes SiLU, and which is the default there.
    ``meta`` adds a metadata encoder.
    """
    if version not in VERSIONS or channels % 8 or not set(blocks) <= set(KINDS):
        raise ModelError(
            f"expected a version from 3 to 17, channels in eights and blocks of {', '.join(KINDS)};"
            f" found {version}, {channels} and {', '.join(blocks)}"
        )
    later = "ACTIVATION_MISH" if tip == "norm" else "ACTIVATION_SILU"
    kind = activation or (RELU if version < 11 else later)
    description = _Builder(version, kind).network(blocks, channels, tip, meta=meta)
    check(description)
    return NetworkFile(description, _weights(description, seed))


def randomised(network: NetworkFile, seed: int = 0) -> NetworkFile:
    """The same architecture with random weights: the control of a probe on a trained network."""
    description = replace(network.description, name="random")
    return replace(
        network,
        description=description,
        weights=_weights(description, seed),
        path=None,
        sha256="",
        swa=None,
    )


def _weights(description: Description, seed: int) -> Weights:
    """Weights that keep activations near 1; norms with statistics like trained ones."""
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for path, layer in walk(description):
        for name, shape in layer.arrays().items():
            values = rng.standard_normal(shape, np.float32)
            if name == "weight" and len(shape) > 1:
                values *= np.sqrt(1 / np.prod(shape[:-1], dtype=np.float32))
                values = np.ascontiguousarray(values.transpose(layer.axes))
            elif name in ("variance", "scale", "weight", "gamma"):
                values = np.exp(values / 4)
            else:
                values *= 0.2
            weights[join(path, name)] = values
    return weights


class _Builder:
    """Describes the layers of one version, named after their place."""

    def __init__(self, version: int, activation: str) -> None:
        self._version = version
        self._activation = activation

    def network(self, blocks: Sequence[str], channels: int, tip: str, *, meta: bool) -> Description:
        spatial, global_ = INPUTS[INPUT_VERSIONS[self._version]]
        name = f"random-v{self._version}"
        last = TipNorm(
            name="norm_trunkfinal",
            channels=channels,
            epsilon=1e-6,
            spatial=int(tip == "spatial-rms"),
            group=0,
        )
        trunk = Trunk(
            name="trunk",
            n_blocks=len(blocks),
            channels=channels,
            middle=channels,
            regular=channels // 2,
            dilated=channels // 4,
            pooled=channels // 4,
            norm_kind=int(tip != "norm"),
            conv_spatial=_conv("conv_spatial", spatial, channels, 3),
            linear_global=_matmul("linear_global", global_, channels),
            metadata_encoder=self._metadata(channels) if meta else None,
            blocks=tuple(self._block(k, f"blocks.{i}", channels) for i, k in enumerate(blocks)),
            norm_trunkfinal=_norm("norm_trunkfinal", channels) if tip == "norm" else last,
            act_trunkfinal=self._act("act_trunkfinal"),
        )
        return Description(
            name=name,
            version=self._version,
            n_spatial=spatial,
            n_global=global_,
            multipliers=Multipliers(shortterm_score_error=150.0 if self._version > 12 else 30.0),
            meta_version=int(meta),
            trunk=trunk,
            policy_head=self._policy(channels),
            value_head=self._value(channels),
        )

    def _block(self, kind: str, at: str, channels: int) -> Block:
        half, quarter = channels // 2, channels // 4
        if kind == "ordinary":
            first = self._nac(f"{at}.normactconv1", channels, half)
            second = self._nac(f"{at}.normactconv2", half, channels)
            return OrdinaryBlock(name=at, normactconv1=first, normactconv2=second)
        if kind == "gpool":
            pool = self._pool(f"{at}.normactconv1", channels, half, quarter)
            second = self._nac(f"{at}.normactconv2", half, channels)
            return GpoolBlock(name=at, normactconv1=pool, normactconv2=second)
        if kind == "feed-forward":
            return FeedForwardBlock(
                name=at,
                channels=channels,
                hidden=2 * channels,
                swiglu=1,
                norm=PointNorm(name=f"{at}.norm", channels=channels, epsilon=1e-6),
                ffn_linear1=_matmul(f"{at}.ffn_linear1", channels, 2 * channels),
                ffn_linear_gate=_matmul(f"{at}.ffn_linear_gate", channels, 2 * channels),
                ffn_linear2=_matmul(f"{at}.ffn_linear2", 2 * channels, channels),
            )
        if kind == "nested":
            return self._nested(at, channels, half)
        return self._attention(at, channels, learned=kind == "attention-learned")

    def _nested(self, at: str, channels: int, inner: int) -> NestedBlock:
        kinds = [kind for kind in KINDS if kind != "nested"][: None if self._version >= 17 else 2]
        stack = tuple(self._block(k, f"{at}.blockstack.{j}", inner) for j, k in enumerate(kinds))
        return NestedBlock(
            name=at,
            n_blocks=len(stack),
            normactconvp=self._nac(f"{at}.normactconvp", channels, inner, 1),
            blockstack=stack,
            normactconvq=self._nac(f"{at}.normactconvq", inner, channels, 1),
        )

    def _attention(self, at: str, channels: int, *, learned: bool) -> AttentionBlock:
        heads, kv_heads, q_dim, v_dim = 2, 1, 4, 4
        rope = (
            LearnedRope(name=f"{at}.rope_freqs", heads=kv_heads, pairs=q_dim // 2, two=2)
            if learned
            else FixedRope(name=f"{at}.rope_theta", theta=100.0)
        )
        return AttentionBlock(
            name=at,
            heads=heads,
            kv_heads=kv_heads,
            q_dim=q_dim,
            v_dim=v_dim,
            use_rope=1,
            learn_rope=int(learned),
            norm1=PointNorm(name=f"{at}.norm1", channels=channels, epsilon=1e-6),
            q_proj=_matmul(f"{at}.q_proj", channels, heads * q_dim),
            k_proj=_matmul(f"{at}.k_proj", channels, kv_heads * q_dim),
            v_proj=_matmul(f"{at}.v_proj", channels, kv_heads * v_dim),
            out_proj=_matmul(f"{at}.out_proj", heads * v_dim, channels),
            rope=rope,
        )

    def _nac(self, at: str, c_in: int, c_out: int, size: int = 3) -> NormActConv:
        return NormActConv(
            norm=_norm(f"{at}.norm", c_in),
            act=self._act(f"{at}.act"),
            conv=_conv(f"{at}.conv", c_in, c_out, size),
        )

    def _pool(self, at: str, c_in: int, c_out: int, pooled: int) -> NormActPool:
        pool = ConvPool(
            conv1r=_conv(f"{at}.convpool.conv1r", c_in, c_out, 3),
            conv1g=_conv(f"{at}.convpool.conv1g", c_in, pooled, 3),
            normg=_norm(f"{at}.convpool.normg", pooled),
            actg=self._act(f"{at}.convpool.actg"),
            linear_g=_matmul(f"{at}.convpool.linear_g", 3 * pooled, c_out),
        )
        return NormActPool(
            norm=_norm(f"{at}.norm", c_in), act=self._act(f"{at}.act"), convpool=pool
        )

    def _metadata(self, channels: int) -> MetadataEncoder:
        at, inputs, hidden = "metadata_encoder", 192, 8
        return MetadataEncoder(
            name=at,
            inputs=inputs,
            linear1=_matmul(f"{at}.mul1", inputs, hidden),
            bias1=MatBias(name=f"{at}.bias1", channels=hidden),
            act1=self._act(f"{at}.act1"),
            linear2=_matmul(f"{at}.mul2", hidden, hidden),
            bias2=MatBias(name=f"{at}.bias2", channels=hidden),
            act2=self._act(f"{at}.act2"),
            linear_output_to_trunk=_matmul(f"{at}.mul3", hidden, channels),
        )

    def _policy(self, channels: int) -> PolicyHead:
        at, inner, pooled = "policy_head", 8, 4
        outputs, new = policy_outputs(self._version)[-1], self._version >= 15
        return PolicyHead(
            name=at,
            outputs=outputs if self._version >= 17 else None,
            conv1p=_conv(f"{at}.conv1p", channels, inner, 1),
            conv1g=_conv(f"{at}.conv1g", channels, pooled, 1),
            biasg=_norm(f"{at}.biasg", pooled),
            actg=self._act(f"{at}.actg"),
            linear_g=_matmul(f"{at}.linear_g", 3 * pooled, inner),
            bias2=_norm(f"{at}.bias2", inner),
            act2=self._act(f"{at}.act2"),
            conv2p=_conv(f"{at}.conv2p", inner, outputs, 1),
            linear_pass=_matmul(f"{at}.linear_pass", 3 * pooled, inner if new else outputs),
            linear_pass_bias=MatBias(name=f"{at}.linear_pass_bias", channels=inner)
            if new
            else None,
            act_pass=self._act(f"{at}.act_pass") if new else None,
            linear_pass2=_matmul(f"{at}.linear_pass2", inner, outputs) if new else None,
        )

    def _value(self, channels: int) -> ValueHead:
        at, inner, hidden, score = "value_head", 8, 12, score_outputs(self._version)
        return ValueHead(
            name=at,
            conv1=_conv(f"{at}.conv1", channels, inner, 1),
            bias1=_norm(f"{at}.bias1", inner),
            act1=self._act(f"{at}.act1"),
            linear2=_matmul(f"{at}.linear2", 3 * inner, hidden),
            bias2=MatBias(name=f"{at}.bias2", channels=hidden),
            act2=self._act(f"{at}.act2"),
            linear_valuehead=_matmul(f"{at}.linear_valuehead", hidden, 3),
            bias_valuehead=MatBias(name=f"{at}.bias_valuehead", channels=3),
            linear_miscvaluehead=_matmul(f"{at}.linear_miscvaluehead", hidden, score),
            bias_miscvaluehead=MatBias(name=f"{at}.bias_miscvaluehead", channels=score),
            conv_ownership=_conv(f"{at}.conv_ownership", inner, 1, 1),
        )

    def _act(self, name: str) -> Activation:
        return Activation(name=name, kind=self._activation)


def _conv(name: str, c_in: int, c_out: int, size: int) -> Conv:
    return Conv(name=name, height=size, width=size, c_in=c_in, c_out=c_out)


def _matmul(name: str, c_in: int, c_out: int) -> MatMul:
    return MatMul(name=name, c_in=c_in, c_out=c_out)


def _norm(name: str, channels: int) -> Norm:
    return Norm(name=name, channels=channels, epsilon=1e-5, has_scale=1, has_bias=1)
