"""Weights without a direction: what a network computes when its stream cannot point there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from actx_core import ModelError
from actx_katago.network.file import NetworkFile
from actx_katago.network.layers import AttentionBlock, Block, FeedForwardBlock, NestedBlock


def project_out(
    network: NetworkFile, direction: npt.ArrayLike, after: int | None = None, *, name: str = ""
) -> NetworkFile:
    """The same network, whose stream has no component along ``direction`` up to a block.

    ``direction`` is (channels,), of any length above 0. Whatever writes to the stream, from the input
    layers to block ``after`` (default: the last), loses its output along it, so that the embedding and
    ``trunk_after_block0`` … ``trunk_after_block{after}`` are orthogonal to it at every point. Later blocks
    may write it again. ``name`` is a new name for the network. Raises ModelError for a misfit.
    """
    trunk = network.description.trunk
    unit = np.asarray(direction, np.float64)
    length = float(np.linalg.norm(unit))
    if unit.shape != (trunk.channels,) or not 0 < length < np.inf:
        raise ModelError(
            f"expected a direction of {trunk.channels} numbers, finite and not all zero,"
            f" found shape {list(unit.shape)} of length {length:g}"
        )
    last = len(trunk.blocks) - 1 if after is None else after
    if not 0 <= last < len(trunk.blocks):
        raise ModelError(f"expected a block from 0 to {len(trunk.blocks) - 1}, found {last}")
    unit = unit / length
    changed = {}
    for path in _writers(network, last):
        weight = network.weights[path].astype(np.float64)
        along = np.tensordot(unit, weight, 1)
        changed[path] = (weight - np.multiply.outer(unit, along)).astype(np.float32)
    return network.edited(changed, name=name)


def _writers(network: NetworkFile, last: int) -> list[str]:
    """The weights, (channels, …), that write to the stream up to a block."""
    trunk = network.description.trunk
    paths = ["conv_spatial", "linear_global"]
    if trunk.metadata_encoder is not None:
        paths.append("metadata_encoder.linear_output_to_trunk")
    paths += [f"blocks.{i}.{_out(block)}" for i, block in enumerate(trunk.blocks[: last + 1])]
    return [f"{path}.weight" for path in paths]


def _out(block: Block) -> str:
    if isinstance(block, AttentionBlock):
        return "out_proj"
    if isinstance(block, FeedForwardBlock):
        return "ffn_linear2"
    return "normactconvq.conv" if isinstance(block, NestedBlock) else "normactconv2.conv"
