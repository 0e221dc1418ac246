"""A whole KataGo network without its numbers: trunk, heads, and what each version of the format says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from actx_katago.network.fields import Count, Inside, Layer, Scope, Shape, Since, When, Zeros
from actx_katago.network.layers import Activation, Block, Conv, MatBias, MatMul, Norm

VERSIONS = range(3, 18)


@dataclass(frozen=True, kw_only=True)
class TipNorm(Layer):
    """RMS normalisation at the end of the trunk: of every point, or of the whole board (``spatial``)."""

    name: str
    channels: int
    epsilon: float
    spatial: int
    group: int

    def arrays(self) -> dict[str, Shape]:
        return dict.fromkeys(("gamma", "beta"), (self.channels,))


@dataclass(frozen=True, kw_only=True)
class MetadataEncoder(Layer):
    """What a human-style network makes of facts about players and game."""

    name: str
    inputs: int
    linear1: MatMul
    bias1: Annotated[MatBias, Inside("linear1")]
    act1: Activation
    linear2: MatMul
    bias2: Annotated[MatBias, Inside("linear2")]
    act2: Activation
    linear_output_to_trunk: MatMul


def _encoder(scope: Scope) -> type[Layer] | None:
    return MetadataEncoder if scope["meta_version"] else None


def _tip(scope: Scope) -> type[Layer]:
    return TipNorm if scope["norm_kind"] else Norm


@dataclass(frozen=True, kw_only=True)
class Trunk(Layer):
    """The stream and its blocks.

    ``middle``, ``regular``, ``dilated`` and ``pooled`` are usual widths of blocks; each block says its own.
    """

    name: str
    n_blocks: int
    channels: int
    middle: int
    regular: int
    dilated: int
    pooled: int
    norm_kind: Annotated[int, Since(15)] = 0
    spare: Annotated[int, Since(15), Zeros(5)] = 0
    conv_spatial: Conv
    linear_global: MatMul
    metadata_encoder: Annotated[MetadataEncoder | None, When(_encoder)] = None
    blocks: Annotated[tuple[Block, ...], Count("n_blocks")]
    norm_trunkfinal: Annotated[Norm | TipNorm, When(_tip)]
    act_trunkfinal: Activation


@dataclass(frozen=True, kw_only=True)
class PolicyHead(Layer):
    """Logits of every point, and of the pass."""

    name: str
    outputs: Annotated[int | None, Since(17)] = None
    spare: Annotated[int, Since(17), Zeros(3)] = 0
    conv1p: Conv
    conv1g: Conv
    biasg: Norm
    actg: Activation
    linear_g: MatMul
    bias2: Norm
    act2: Activation
    conv2p: Conv
    linear_pass: MatMul
    linear_pass_bias: Annotated[MatBias | None, Since(15), Inside("linear_pass")] = None
    act_pass: Annotated[Activation | None, Since(15)] = None
    linear_pass2: Annotated[MatMul | None, Since(15)] = None


@dataclass(frozen=True, kw_only=True)
class ValueHead(Layer):
    """Who wins, by how much, and whose each point will be."""

    name: str
    spare: Annotated[int, Since(17), Zeros(3)] = 0
    conv1: Conv
    bias1: Norm
    act1: Activation
    linear2: MatMul
    bias2: Annotated[MatBias, Inside("linear2")]
    act2: Activation
    linear_valuehead: MatMul
    bias_valuehead: Annotated[MatBias, Inside("linear_valuehead")]
    linear_miscvaluehead: MatMul
    bias_miscvaluehead: Annotated[MatBias, Inside("linear_miscvaluehead")]
    conv_ownership: Conv


@dataclass(frozen=True, kw_only=True)
class Multipliers(Layer):
    """By what the raw outputs of the value head are multiplied, to be points or moves."""

    td_score: float = 20.0
    score_mean: float = 20.0
    score_stdev: float = 20.0
    lead: float = 20.0
    variance_time: float = 40.0
    shortterm_value_error: float = 0.25
    shortterm_score_error: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Description(Layer):
    """A whole network without its numbers."""

    name: str
    version: int
    n_spatial: int
    n_global: int
    multipliers: Annotated[Multipliers, Since(13)] = Multipliers()
    meta_version: Annotated[int, Since(15)] = 0
    pass_alive_as_if_suicide: Annotated[int, Since(15)] = 0
    spare: Annotated[int, Since(15), Zeros(6)] = 0
    trunk: Annotated[Trunk, Inside("")]
    policy_head: PolicyHead
    value_head: ValueHead

    @property
    def input_version(self) -> int:
        """Which of KataGo's sets of input features the network takes: 3 to 7."""
        return INPUT_VERSIONS[self.version]

    @property
    def n_meta(self) -> int:
        """The numbers of metadata it takes; 0 for networks without a metadata encoder."""
        encoder = self.trunk.metadata_encoder
        return encoder.inputs if encoder else 0


INPUT_VERSIONS = {3: 3, 4: 3, 5: 4, 6: 5, 7: 6, **dict.fromkeys(range(8, 18), 7)}
"""Version of a network → version of its input features."""

INPUTS = {3: (22, 14), 4: (22, 14), 5: (13, 12), 6: (22, 16), 7: (22, 19)}
"""Version of the input features → how many spatial and global ones there are."""


def policy_outputs(version: int) -> tuple[int, ...]:
    """How many policies a network of a version may have."""
    return (1,) if version < 12 else (2,) if version < 16 else (4,) if version == 16 else (2, 4)


def score_outputs(version: int) -> int:
    """How many numbers about the score a network of a version gives."""
    return {3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 4}.get(version, 6)
