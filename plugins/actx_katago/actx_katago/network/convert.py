"""From the tensors and configuration of a checkpoint to the network that KataGo would export from it.

Kinds and sizes of layers are read off the tensors. What stands in none comes from the configuration:
activation, attention heads, the fixed factors of some kinds of norm. Every tensor must find its place, or
be one that only training uses; otherwise the network is refused rather than half understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from actx_katago.network.description import (
    INPUTS,
    Description,
    MetadataEncoder,
    Multipliers,
    PolicyHead,
    TipNorm,
    Trunk,
    ValueHead,
)
from actx_katago.network.fields import join, walk
from actx_katago.network.layers import (
    AttentionBlock,
    Block,
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
)
from actx_katago.network.tensors import POINT_EPSILON, Tensors
from actx_katago.network.tokens import Array, Weights

_TRAINING_ONLY = re.compile(
    r"score_belief_(offset_vector|offset_bias_vector|parity_vector)|\.renorm_|^(norm_|act_)?intermediate_"
    r"|^value_head\.(conv_(scoring|futurepos|seki)|linear_(s2|s2off|s2par|s3|smix))\."
)
_KINDS = re.compile(
    r"(regular|bottlenest[23]|bottlenest2bottlenest2)(gpool)?"
    r"|attnrope|ffnsg|bottlenest[23]transformerrope(sg)?"
)
"""Kinds of blocks that can be exported; some others have the same tensors, and compute something else."""

_THETA = 100.0
_METADATA_SCALE = np.float32(0.5)


def convert(
    state: Mapping[str, Array], config: Mapping[str, Any], name: str, where: str
) -> tuple[Description, Weights]:
    """The network and its weights; raises ModelError for a tensor that is missing, misshapen or unknown."""
    tensors = Tensors(state, config, where)
    description = _Converter(tensors, config).network(name)
    unknown = [key for key in tensors.unused() if not _TRAINING_ONLY.search(key)]
    if unknown:
        many = f"{len(unknown)} tensors have" if len(unknown) > 1 else "this tensor has"
        raise tensors.error(unknown[0], f"{many} no place in a network that KataGo can export")
    weights: Weights = {}
    for at, layer in walk(description):
        for name, stored in layer.arrays().items():
            array = tensors.weights[join(at, name)]
            shape = (
                tuple(stored[i] for i in layer.axes) if name == "weight" and layer.axes else stored
            )
            if array.shape != shape:
                expected, found = list(shape), list(array.shape)
                raise tensors.error(at, f"expected {name} of shape {expected}, found {found}")
            weights[join(at, name)] = array
    return description, weights


class _Converter:
    def __init__(self, tensors: Tensors, config: Mapping[str, Any]) -> None:
        self._tensors = tensors
        self._config = config
        self._rms_tip = bool(config.get("trunk_final_rmsnorm"))
        version = max(self._number("version"), 11)
        self._version = 17 if self._rms_tip and version in (15, 16) else version

    def network(self, name: str) -> Description:
        spatial, global_ = INPUTS[7]
        trunk = self._trunk()
        return Description(
            name=name,
            version=self._version,
            n_spatial=spatial,
            n_global=global_,
            multipliers=Multipliers(shortterm_score_error=150.0 if self._version >= 13 else 30.0),
            meta_version=int(trunk.metadata_encoder is not None),
            trunk=trunk,
            policy_head=self._policy("policy_head"),
            value_head=self._value("value_head"),
        )

    def _number(self, option: str, default: int | None = None) -> int:
        value = self._config.get(option, default)
        if not isinstance(value, int):
            found = "nothing" if value is None else repr(value)[:40]
            raise self._tensors.error("config", f"expected a number for '{option}', found {found}")
        return value

    def _trunk(self) -> Trunk:
        tensors, count = self._tensors, self._count()
        channels = tensors.shape("conv_spatial.weight")[0]
        middle = self._number("mid_num_channels", channels)
        pooled = self._number("gpool_num_channels", 0)
        encoder = "metadata_encoder.linear1.weight" in tensors
        return Trunk(
            name="trunk",
            n_blocks=count,
            channels=channels,
            middle=middle,
            regular=middle - pooled,
            dilated=pooled,
            pooled=pooled,
            norm_kind=int(self._rms_tip),
            conv_spatial=tensors.conv("conv_spatial"),
            linear_global=tensors.matmul("linear_global"),
            metadata_encoder=self._metadata("metadata_encoder") if encoder else None,
            blocks=tuple(self._block(f"blocks.{i}", i + 1) for i in range(count)),
            norm_trunkfinal=self._tip("norm_trunkfinal", count + 1),
            act_trunkfinal=tensors.act("act_trunkfinal"),
        )

    def _count(self) -> int:
        """The number of blocks of the trunk, after a look at the kinds that the configuration gives them."""
        tensors, count = self._tensors, self._tensors.count("blocks")
        kinds = self._config.get("block_kind")
        if not isinstance(kinds, list) or len(kinds) != count:
            found = len(kinds) if isinstance(kinds, list) else repr(kinds)[:40]
            raise tensors.error("config", f"expected 'block_kind' of {count} blocks, found {found}")
        for i, kind in enumerate(kinds):
            name = kind[1] if isinstance(kind, list) and len(kind) == 2 else kind
            if not isinstance(name, str) or not _KINDS.fullmatch(name):
                raise tensors.error(
                    f"blocks.{i}", f"a block of kind {repr(name)[:40]} cannot be exported"
                )
        return count

    def _tip(self, at: str, place: int) -> Norm | TipNorm:
        tensors = self._tensors
        if not self._rms_tip:
            return tensors.norm(at, tensors.factor(place))
        spatial = bool(self._config.get("trunk_rmsnorm_spatial"))
        if spatial and self._config.get("rmsnorm_spatial_cgroup_size"):
            raise tensors.error(at, "a norm over groups of channels cannot be exported")
        for name in ("gamma", "beta"):
            tensors.weights[f"{at}.{name}"] = tensors.flat(f"{at}.{name}")
        return TipNorm(
            name=f"model.{at}",
            channels=len(tensors.weights[f"{at}.gamma"]),
            epsilon=POINT_EPSILON,
            spatial=int(spatial),
            group=0,
        )

    def _block(self, at: str, place: int) -> Block:
        tensors = self._tensors
        if f"{at}.q_proj.weight" in tensors:
            return self._attention(at)
        if f"{at}.ffn_linear1.weight" in tensors:
            return self._feed_forward(at)
        if f"{at}.normactconvp.conv.weight" in tensors:
            return self._nested(at, place)
        first, factor = f"{at}.normactconv1", tensors.factor(place)
        if f"{first}.convpool.conv1r.weight" in tensors:
            pool = NormActPool(
                norm=tensors.norm(f"{first}.norm", factor),
                act=tensors.act(f"{first}.act"),
                convpool=self._pool(f"{first}.convpool"),
            )
            second = self._nac(f"{at}.normactconv2")
            return GpoolBlock(name=f"model.{at}", normactconv1=pool, normactconv2=second)
        return OrdinaryBlock(
            name=f"model.{at}",
            normactconv1=self._nac(first, factor),
            normactconv2=self._nac(f"{at}.normactconv2"),
        )

    def _nested(self, at: str, place: int) -> NestedBlock:
        tensors, stack = self._tensors, f"{at}.blockstack"
        count = tensors.count(stack)
        # Attention and feed-forward are one block to KataGo's factors, and two here.
        logical = count - sum(f"{stack}.{j}.q_proj.weight" in tensors for j in range(count))
        return NestedBlock(
            name=f"model.{at}",
            n_blocks=count,
            normactconvp=self._nac(f"{at}.normactconvp", tensors.factor(place)),
            blockstack=tuple(self._block(f"{stack}.{j}", j + 1) for j in range(count)),
            normactconvq=self._nac(f"{at}.normactconvq", tensors.factor(logical + 1)),
        )

    def _attention(self, at: str) -> AttentionBlock:
        tensors = self._tensors
        heads = self._number("transformer_heads")
        kv_heads = self._number("transformer_kv_heads", heads)
        if min(heads, kv_heads) < 1:
            raise tensors.error(at, f"expected heads, found {heads} and {kv_heads}")
        learned = f"{at}.rope_freqs" in tensors
        names = ("q_proj", "k_proj", "v_proj", "out_proj")
        maps = {name: tensors.matmul(f"{at}.{name}") for name in names}
        return AttentionBlock(
            name=f"model.{at}",
            heads=heads,
            kv_heads=kv_heads,
            q_dim=maps["q_proj"].c_out // heads,
            v_dim=maps["v_proj"].c_out // kv_heads,
            use_rope=1,
            learn_rope=int(learned),
            norm1=tensors.point_norm(f"{at}.norm1"),
            **maps,
            rope=self._learned_rope(at) if learned else self._fixed_rope(at),
        )

    def _fixed_rope(self, at: str) -> FixedRope:
        theta = self._config.get("rope_theta", _THETA)
        if not isinstance(theta, (int, float)):
            raise self._tensors.error(
                "config", f"expected a number for 'rope_theta', found {repr(theta)[:40]}"
            )
        return FixedRope(name=f"model.{at}.rope_theta", theta=float(theta))

    def _learned_rope(self, at: str) -> LearnedRope:
        frequencies = self._tensors.take(f"{at}.rope_freqs", 3)
        self._tensors.weights[f"{at}.rope.frequencies"] = frequencies
        heads, pairs, two = frequencies.shape
        return LearnedRope(name=f"model.{at}.rope_freqs", heads=heads, pairs=pairs, two=two)

    def _feed_forward(self, at: str) -> FeedForwardBlock:
        tensors = self._tensors
        gated = f"{at}.ffn_linear_gate.weight" in tensors
        linear1 = tensors.matmul(f"{at}.ffn_linear1")
        return FeedForwardBlock(
            name=f"model.{at}",
            channels=linear1.c_in,
            hidden=linear1.c_out,
            swiglu=int(gated),
            norm=tensors.point_norm(f"{at}.norm"),
            ffn_linear1=linear1,
            ffn_linear_gate=tensors.matmul(f"{at}.ffn_linear_gate") if gated else None,
            ffn_linear2=tensors.matmul(f"{at}.ffn_linear2"),
        )

    def _nac(self, at: str, factor: float = 1.0) -> NormActConv:
        return NormActConv(
            norm=self._tensors.norm(f"{at}.norm", factor),
            act=self._tensors.act(f"{at}.act"),
            conv=self._tensors.conv(f"{at}.conv"),
        )

    def _pool(self, at: str) -> ConvPool:
        tensors = self._tensors
        return ConvPool(
            conv1r=tensors.conv(f"{at}.conv1r"),
            conv1g=tensors.conv(f"{at}.conv1g"),
            normg=tensors.norm(f"{at}.normg"),
            actg=tensors.act(f"{at}.actg"),
            linear_g=tensors.matmul(f"{at}.linear_g"),
        )

    def _metadata(self, at: str) -> MetadataEncoder:
        tensors, exported = self._tensors, "model.sgf_metadata_encoder"
        last = "linear_output_to_trunk"
        encoder = MetadataEncoder(
            name=exported,
            inputs=tensors.shape(f"{at}.linear1.weight")[1],
            linear1=tensors.matmul(f"{at}.linear1", name=f"{exported}.mul1"),
            bias1=tensors.bias(f"{at}.linear1", name=f"{exported}.bias1"),
            act1=tensors.act(f"{at}.act1", name=f"{exported}.act1"),
            linear2=tensors.matmul(f"{at}.linear2", name=f"{exported}.mul2"),
            bias2=tensors.bias(f"{at}.linear2", name=f"{exported}.bias2"),
            act2=tensors.act(f"{at}.act2", name=f"{exported}.act2"),
            linear_output_to_trunk=tensors.matmul(f"{at}.{last}", name=f"{exported}.mul3"),
        )
        # Two constants of the training code, which an exported network has in its weights.
        mask = tensors.take(f"{at}.feature_mask", 1)
        if len(mask) != encoder.inputs:
            raise tensors.error(f"{at}.feature_mask", f"its size is {len(mask)}")
        tensors.weights[f"{at}.linear1.weight"] *= mask
        tensors.weights[f"{at}.{last}.weight"] *= _METADATA_SCALE
        return encoder

    def _policy(self, at: str) -> PolicyHead:
        tensors, new = self._tensors, self._version >= 15
        rows = self._rows(at)
        bias_name = f"model.{at}.linear_pass_bias"
        return PolicyHead(
            name=f"model.{at}",
            outputs=len(rows) if self._version >= 17 else None,
            conv1p=tensors.conv(f"{at}.conv1p"),
            conv1g=tensors.conv(f"{at}.conv1g"),
            biasg=tensors.norm(f"{at}.biasg"),
            actg=tensors.act(f"{at}.actg"),
            linear_g=tensors.matmul(f"{at}.linear_g"),
            bias2=tensors.norm(f"{at}.bias2"),
            act2=tensors.act(f"{at}.act2"),
            conv2p=tensors.conv(f"{at}.conv2p", rows),
            linear_pass=tensors.matmul(f"{at}.linear_pass", None if new else rows),
            linear_pass_bias=tensors.bias(f"{at}.linear_pass", bias_name) if new else None,
            act_pass=tensors.act(f"{at}.act_pass") if new else None,
            linear_pass2=tensors.matmul(f"{at}.linear_pass2", rows) if new else None,
        )

    def _rows(self, at: str) -> list[int]:
        """Which of the policies that are trained are exported."""
        trained = self._tensors.shape(f"{at}.conv2p.weight")[0]
        many = self._version == 16 or (self._version >= 17 and trained >= 8)
        rows = [0] if self._version < 12 else [0, 5, 6, 7] if many else [0, 5]
        if trained <= rows[-1]:
            raise self._tensors.error(
                f"{at}.conv2p.weight", f"expected more than {rows[-1]} policies, found {trained}"
            )
        return rows

    def _value(self, at: str) -> ValueHead:
        tensors, score = self._tensors, f"{at}.linear_miscvaluehead"
        more = f"{at}.linear_moremiscvaluehead"
        for kind, rank in (("weight", 2), ("bias", 1)):
            both = [
                tensors.take(f"{score}.{kind}", rank)[:4],
                tensors.take(f"{more}.{kind}", rank)[:2],
            ]
            if both[0].shape[1:] != both[1].shape[1:]:
                raise tensors.error(f"{more}.{kind}", f"its shape is {list(both[1].shape)}")
            tensors.weights[f"{score}.{kind}"] = np.concatenate(both)
        c_out, c_in = tensors.weights[f"{score}.weight"].shape
        return ValueHead(
            name=f"model.{at}",
            conv1=tensors.conv(f"{at}.conv1"),
            bias1=tensors.norm(f"{at}.bias1"),
            act1=tensors.act(f"{at}.act1"),
            linear2=tensors.matmul(f"{at}.linear2"),
            bias2=tensors.bias(f"{at}.linear2", f"model.{at}.bias2"),
            act2=tensors.act(f"{at}.act2"),
            linear_valuehead=tensors.matmul(f"{at}.linear_valuehead"),
            bias_valuehead=tensors.bias(f"{at}.linear_valuehead", f"model.{at}.bias_valuehead"),
            linear_miscvaluehead=MatMul(name=f"model.{score}", c_in=c_in, c_out=c_out),
            bias_miscvaluehead=MatBias(name=f"model.{at}.bias_miscvaluehead", channels=c_out),
            conv_ownership=tensors.conv(f"{at}.conv_ownership"),
        )
