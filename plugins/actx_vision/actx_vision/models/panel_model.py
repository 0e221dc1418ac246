"""What stands behind the type ``panel`` where models are listed; pipelines get the models themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NoReturn

from actx_core import Activation, Batch, Checkpoint, Model, ModelError, Pool, Sample, Tap
from actx_vision.models.panel import MEMBERS, PanelConfig

_TYPES = {
    "torchvision": "torchvision_model:TorchvisionModel",
    "timm": "timm_model:TimmModel",
    "open-clip": "open_clip_model:OpenClip",
    "cornet-s": "cornet_model:CornetS",
    "slip": "slip_model:Slip",
}


class Panel(Model[PanelConfig]):
    """Models under the names of a panel. An entry of this type is replaced by one for each of them."""

    accepts = "image"

    @classmethod
    def checkpoints(cls) -> Iterator[Checkpoint]:
        """The checkpoint of each model; where the library of a model is missing, its name alone."""
        known = {kind: _checkpoints(kind) for kind in _TYPES}
        for name, (_, member) in MEMBERS.items():
            found = known[member.type].get((member.name, member.weights), Checkpoint(name, ""))
            yield replace(found, name=name, weights="published")

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        self._several()

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        self._several()

    def open(self, taps: Sequence[str]) -> None:
        self._several()

    def extract(self, batch: Batch, pool: Pool) -> Mapping[str, Activation]:
        self._several()

    def _several(self) -> NoReturn:
        raise ModelError(
            f"'{self.config.name}' stands for other entries and is no model itself",
            hint="use it in a pipeline, or build the entries of config.expand",
        )


def _checkpoints(kind: str) -> dict[tuple[str, str], Checkpoint]:
    """The checkpoints of a type of model by name and tag; none where its library is not installed."""
    module, _, name = _TYPES[kind].partition(":")
    try:
        model: type[Model[Any]] = getattr(import_module(f"actx_vision.models.{module}"), name)
    except ImportError:
        return {}
    return {(each.name, each.weights): each for each in model.checkpoints()}
