"""A KataGo network as a torch module, with KataGo's names and its stream as points to hook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from actx_core import ModelError
from actx_katago.network import description as told
from actx_katago.network.blocks import Board, Norm, TipNorm, activation, block, conv, linear
from actx_katago.network.check import check
from actx_katago.network.description import Description
from actx_katago.network.fields import join, walk
from actx_katago.network.file import NetworkFile, read_network
from actx_katago.network.heads import PolicyHead, ValueHead
from actx_katago.network.layers import Norm as NormLayer


class MetadataEncoder(nn.Module):
    """(N, 192) facts about players and game → what they add to the trunk, (N, C)."""

    def __init__(self, layer: told.MetadataEncoder) -> None:
        super().__init__()
        self.linear1 = linear(layer.linear1, layer.bias1)
        self.act1 = activation(layer.act1)
        self.linear2 = linear(layer.linear2, layer.bias2)
        self.act2 = activation(layer.act2)
        self.linear_output_to_trunk = linear(layer.linear_output_to_trunk)

    def forward(self, meta: Tensor) -> Tensor:
        hidden = self.act2(self.linear2(self.act1(self.linear1(meta))))
        out: Tensor = self.linear_output_to_trunk(hidden)
        return out


class Network(nn.Module):
    """A network of any version from its description; weights are random until ``load_weights``.

    Points of the stream, all (N, C, y, x), are modules that change nothing: ``trunk.embedding``, then
    after each block ``trunk_after_block{i}``, and ``trunk.final`` after the last norm and activation. The
    output of ``blocks.{i}`` itself is what the block adds to the stream. Off the board the stream is not
    zero.
    """

    def __init__(self, description: Description) -> None:
        super().__init__()
        check(description)
        self.description = description
        trunk = description.trunk
        self.conv_spatial = conv(trunk.conv_spatial)
        self.linear_global = linear(trunk.linear_global)
        self.metadata_encoder = (
            MetadataEncoder(trunk.metadata_encoder) if trunk.metadata_encoder else None
        )
        self.trunk = nn.ModuleDict({"embedding": nn.Identity(), "final": nn.Identity()})
        self.blocks = nn.ModuleList(block(layer) for layer in trunk.blocks)
        for i in range(len(trunk.blocks)):
            self.add_module(f"trunk_after_block{i}", nn.Identity())
        tip = trunk.norm_trunkfinal
        self.norm_trunkfinal = TipNorm(tip) if isinstance(tip, told.TipNorm) else Norm(tip)
        self.act_trunkfinal = activation(trunk.act_trunkfinal)
        self.policy_head = PolicyHead(description.policy_head)
        self.value_head = ValueHead(description.value_head)

    def forward(
        self, spatial: Tensor, global_: Tensor, meta: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Inputs (N, planes, y, x), (N, globals) and, with a metadata encoder, (N, 192) → outputs.

        * ``policy`` (N, policies, y · x + 1): logits, the pass last, -5000 off the board
        * ``value`` (N, 3): logits of win, loss and no result
        * ``score`` (N, 1 | 2 | 4 | 6): raw; see ``postprocess``
        * ``ownership`` (N, 1, y, x): -1 to 1, zero off the board

        All for the player to move. Plane 0 says where the board is, at the top left of the tensor. Raises
        ModelError for inputs of another version.
        """
        self._check_inputs(spatial, global_, meta)
        board = Board.of(spatial[:, :1])
        x = self.conv_spatial(spatial) + self.linear_global(global_)[:, :, None, None]
        if self.metadata_encoder is not None:
            x = x + self.metadata_encoder(meta)[:, :, None, None]
        x = self.trunk["embedding"](x)
        for i, residual in enumerate(self.blocks):
            x = getattr(self, f"trunk_after_block{i}")(x + residual(x, board))
        return self._outputs(x, board)

    def stream_to_outputs(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The logit lens: the outputs, were the trunk to end with this tensor.

        ``x`` (N, C, y, x) comes from ``trunk.embedding`` or any ``trunk_after_block{i}``; ``mask``,
        (N, 1, y, x) or (N, y, x), is plane 0 of the input.
        """
        mask = mask[:, None] if mask.ndim == 3 else mask
        if mask.shape != (x.shape[0], 1, *x.shape[2:]):
            raise ModelError(
                f"expected a mask of shape {[x.shape[0], 1, *x.shape[2:]]}, found {list(mask.shape)}"
            )
        return self._outputs(x, Board.of(mask.to(x.dtype)))

    def _outputs(self, x: Tensor, board: Board) -> dict[str, Tensor]:
        x = self.trunk["final"](self.act_trunkfinal(self.norm_trunkfinal(x, board)))
        policy = self.policy_head(x, board)
        value, score, ownership = self.value_head(x, board)
        return {"policy": policy, "value": value, "score": score, "ownership": ownership}

    def _check_inputs(self, spatial: Tensor, global_: Tensor, meta: Tensor | None) -> None:
        top, n = self.description, spatial.shape[0]
        planes = spatial.shape[1] if spatial.ndim == 4 else 0
        if planes != top.n_spatial or global_.shape != (n, top.n_global):
            raise ModelError(
                f"a network of version {top.version} takes {top.n_spatial} planes (N, {top.n_spatial}, y, x)"
                f" and {top.n_global} globals (N, {top.n_global}), V{top.input_version} features;"
                f" found {list(spatial.shape)} and {list(global_.shape)}",
                hint="positions are made with V7 features, which networks take from version 8 on"
                if top.input_version < 7
                else "",
            )
        given = None if meta is None else list(meta.shape)
        if given != ([n, top.n_meta] if top.n_meta else None):
            wanted = f"{[n, top.n_meta]}" if top.n_meta else "none"
            raise ModelError(f"expected metadata inputs {wanted}, found {given or 'none'}")


def load_network(path: str | Path, *, swa: bool = True) -> Network:
    """The network of a file, in eval mode on the CPU, in float32; see ``read_network``."""
    file = read_network(path, swa=swa)
    with torch.device("meta"):
        network = Network(file.description)
    network.to_empty(device="cpu")
    load_weights(network, file)
    return network.eval()


def load_weights(network: Network, file: NetworkFile) -> None:
    """Give a network the numbers of a file; raises ModelError where they are of another architecture."""
    state = state_dict(file)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            f"its weights do not fit the network: {str(error).splitlines()[-1].strip()}",
            where=str(file.path or file.description.name),
        ) from None


def state_dict(file: NetworkFile) -> dict[str, Tensor]:
    """The numbers of a file under the names of ``Network``; norms folded to ``weight`` and ``bias``."""
    state: dict[str, Tensor] = {}
    for path, layer in walk(file.description):
        arrays = {name: file.weights[join(path, name)] for name in layer.arrays()}
        if isinstance(layer, NormLayer):
            arrays = fold(layer.epsilon, arrays)
        elif isinstance(layer, told.TipNorm):
            arrays = {name: array[None, :, None, None] for name, array in arrays.items()}
        for name, array in arrays.items():
            state[join(path, name)] = torch.from_numpy(array)
    return state


def fold(epsilon: float, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics, scale and bias of a norm as one scale and one bias per channel."""
    deviation = np.sqrt(arrays["variance"].astype(np.float64) + epsilon)
    weight = arrays.get("scale", 1.0) / deviation
    bias = arrays.get("bias", 0.0) - weight * arrays["mean"]
    shaped = {"weight": weight, "bias": bias}
    return {name: a.astype(np.float32)[None, :, None, None] for name, a in shaped.items()}
