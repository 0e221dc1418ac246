"""Plain layers out of the tensors of a checkpoint, as KataGo's exporter turns them into weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from actx_core import ModelError
from actx_katago.network.layers import (
    ACTIVATIONS,
    Activation,
    Conv,
    MatBias,
    MatMul,
    Norm,
    PointNorm,
)
from actx_katago.network.tokens import Array, Weights

POINT_EPSILON = 1e-6
"""What training code adds to the mean square in every RMS normalisation."""

_TINY = 1e-20
_FIXED_SCALE = ("fixscale", "fixbrenorm", "fixscaleonenorm")
_NORMS = ("bnorm", "brenorm", "fixup", *_FIXED_SCALE)


class Tensors:
    """Hands out each tensor of a state dict to the layer that asks for it; ``weights`` fills on the way."""

    def __init__(self, state: Mapping[str, Array], config: Mapping[str, Any], where: str) -> None:
        self._state = state
        self._config = config
        self._where = where
        self._used: set[str] = set()
        self.weights: Weights = {}
        kind = config.get("norm_kind")
        if kind not in _NORMS:
            raise self.error("config", f"norms of kind {repr(kind)[:40]} cannot be exported")
        self._fixed_scale = kind in _FIXED_SCALE
        self._center = np.float32(1 if config.get("gamma_weight_decay_center_1") else 0)

    def error(self, at: str, message: str, hint: str = "") -> ModelError:
        return ModelError(message, where=f"{self._where}: {at}", hint=hint)

    def __contains__(self, key: str) -> bool:
        return key in self._state

    def shape(self, key: str) -> tuple[int, ...]:
        if key not in self._state:
            raise self.error(key, "the checkpoint has no such tensor")
        return self._state[key].shape

    def take(self, key: str, rank: int) -> Array:
        """A tensor, finite and of the rank that is expected, in memory of its own."""
        shape = self.shape(key)
        if len(shape) != rank or 0 in shape:
            raise self.error(key, f"expected a tensor with {rank} axes, found shape {list(shape)}")
        if not np.isfinite(self._state[key]).all():
            raise self.error(key, "not all of its numbers are finite")
        self._used.add(key)
        return self._state[key].copy()

    def flat(self, key: str) -> Array:
        """A value per channel, whatever axes of size 1 the tensor has beside."""
        return self.take(key, len(self.shape(key))).ravel()

    def count(self, at: str) -> int:
        """How many modules a list holds."""
        entry = re.compile(rf"{re.escape(at)}\.(\d+)\.")
        return len({match[1] for key in self._state if (match := entry.match(key))})

    def unused(self) -> Iterable[str]:
        return (key for key in self._state if key not in self._used)

    def factor(self, place: int) -> float:
        """The fixed factor of a norm at a place of a stack, from 1 on: it stands in no tensor."""
        return float(place**-0.5) if self._fixed_scale else 1.0

    def norm(self, at: str, factor: float = 1.0) -> Norm:
        bias = self.flat(f"{at}.beta")
        mean, variance = np.zeros_like(bias), np.ones_like(bias)
        if f"{at}.running_mean" in self:
            mean = self.flat(f"{at}.running_mean")
            deviation = self.flat(f"{at}.running_std").astype(np.float64)
            variance = np.maximum(_TINY, deviation**2 - _TINY).astype(np.float32)
        self.weights |= {f"{at}.mean": mean, f"{at}.variance": variance, f"{at}.bias": bias}
        has_gamma = f"{at}.gamma" in self
        if has_gamma or factor != 1.0:
            gamma = self.flat(f"{at}.gamma") + self._center if has_gamma else np.ones_like(bias)
            self.weights[f"{at}.scale"] = (gamma * np.float64(factor)).astype(np.float32)
        return Norm(
            name=f"model.{at}",
            channels=len(bias),
            epsilon=_TINY,
            has_scale=int(f"{at}.scale" in self.weights),
            has_bias=1,
        )

    def point_norm(self, at: str) -> PointNorm:
        weight = self.take(f"{at}.weight", 1)
        self.weights[f"{at}.weight"] = weight
        return PointNorm(name=f"model.{at}", channels=len(weight), epsilon=POINT_EPSILON)

    def conv(self, at: str, rows: list[int] | None = None) -> Conv:
        weight = self.take(f"{at}.weight", 4)
        point = f"{at}1x1.weight"
        if point in self:  # RepVGG: a second kernel of one point, added in the middle
            added, expected = self.take(point, 4), (*weight.shape[:2], 1, 1)
            if added.shape != expected:
                shapes = f"{list(expected)}, found {list(added.shape)}"
                raise self.error(point, f"expected a tensor of shape {shapes}")
            weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] += added[:, :, 0, 0]
        weight = weight if rows is None else weight[rows]
        self.weights[f"{at}.weight"] = weight
        c_out, c_in, height, width = weight.shape
        return Conv(name=f"model.{at}", height=height, width=width, c_in=c_in, c_out=c_out)

    def matmul(self, at: str, rows: list[int] | None = None, name: str = "") -> MatMul:
        weight = self.take(f"{at}.weight", 2)
        weight = weight if rows is None else weight[rows]
        self.weights[f"{at}.weight"] = weight
        return MatMul(name=name or f"model.{at}", c_in=weight.shape[1], c_out=weight.shape[0])

    def bias(self, at: str, name: str) -> MatBias:
        self.weights[f"{at}.bias"] = self.take(f"{at}.bias", 1)
        return MatBias(name=name, channels=len(self.weights[f"{at}.bias"]))

    def act(self, at: str, name: str = "") -> Activation:
        found = self._config.get("activation", "relu")
        kind = f"ACTIVATION_{str(found).upper()}"
        if kind not in ACTIVATIONS:
            raise self.error(at, f"the activation '{str(found)[:40]}' cannot be exported")
        return Activation(name=name or f"model.{at}", kind=kind)
