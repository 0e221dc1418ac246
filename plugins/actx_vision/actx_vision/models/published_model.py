"""PublishedModel: one architecture that comes from no library, with the files of weights published for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from actx_core import Checkpoint, ModelError
from actx_core.torch import ImagePreprocess
from actx_vision.models.config import DEFAULT, RANDOM, ImageModelConfig
from actx_vision.models.hints import did_you_mean
from actx_vision.models.image_model import ImageModel, Transform
from actx_vision.models.presets import tap_presets
from actx_vision.models.weights import fetch, file_name, load_strictly, read_weights

if TYPE_CHECKING:
    from torch import nn

C = TypeVar("C", bound=ImageModelConfig)

IMAGENET_NORM: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


class PublishedModel(ImageModel[C]):
    """Subclasses say how to ``build`` the network, and what is published for it."""

    component: ClassVar[str]
    """The type of model."""
    name: ClassVar[str]
    """The only name that it knows."""
    tags: ClassVar[Mapping[str, str]]
    """Tag → address of the weights; the first is the default."""
    licence: ClassVar[str]
    """Of the weights."""
    parameters: ClassVar[int]
    """Their number."""
    steps: ClassVar[ImagePreprocess]
    """The preprocessing of the weights."""

    def __init__(self, config: C) -> None:
        super().__init__(config)
        asked = config.weights
        if asked == DEFAULT:
            self.weights = next(iter(self.tags))
        elif asked != RANDOM and not isinstance(asked, Path) and asked not in self.tags:
            listed = f"there are: {', '.join(self.tags)}, random, or a file"
            raise ModelError(
                f"'{self.name}' has no weights called '{asked}'",
                hint=did_you_mean(asked, list(self.tags), listed),
            )

    def load(self, module: nn.Module) -> None:
        asked = self.config.weights
        if asked == RANDOM:
            return
        if not isinstance(asked, Path):
            asked = fetch(self.config, self.tags[self.weights], self.name)
        load_strictly(module, self.read(asked), str(asked))

    def read(self, file: Path) -> dict[str, Any]:
        """The module's state dict from a file as it is published."""
        return read_weights(file)

    def weights_transform(self) -> Transform:
        assert self.steps.crop
        return Transform(self.steps, (self.steps.crop, self.steps.crop))

    def presets(self) -> Mapping[str, Sequence[str]]:
        return tap_presets(self.component, self.name)

    @classmethod
    def checkpoints(cls) -> Iterator[Checkpoint]:
        for tag, address in cls.tags.items():
            file = file_name(address)
            yield Checkpoint(cls.name, tag, cls.licence, address, file, cls.parameters)
