"""What all sources of images share: replicates, transparency, border, previews.

A picture goes through four steps: transparency and border here, on the picture as it is stored; then the
jitter; then the model's own preprocessing. ann_pipe has the same order.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from actx_core import ListedSource, Preview, Sample, SourceError
from actx_vision.sources.alpha import flatten, pad
from actx_vision.sources.config import ImageSourceConfig
from actx_vision.sources.replicates import draw, jittered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from PIL.Image import Image

C = TypeVar("C", bound=ImageSourceConfig)

THUMBNAIL = 160
"""Longest side of a preview, in pixels."""


class Picture(Protocol):
    """Where a picture is stored."""

    def read(self, convert: Callable[[Image], Image]) -> Image:
        """What ``convert`` makes of the picture. Raises SourceError that says where it is."""

    def digest(self) -> str:
        """The sha256 of what is stored."""


@dataclass(frozen=True, slots=True)
class Stimulus:
    """One picture of a source; its replicates become samples of the same id."""

    id: str
    picture: Picture
    columns: Mapping[str, Any]
    stamp: str


class ImageSource(ListedSource[C]):
    """Pictures as PIL images of mode RGB, each ``replicates`` times in a row."""

    gives = "image"

    @abstractmethod
    def stimuli(self) -> Iterable[Stimulus]:
        """Every picture once, in order, with a unique id; no picture is opened."""

    @cached_property
    def _stimuli(self) -> dict[str, Stimulus]:
        return {stimulus.id: stimulus for stimulus in self.stimuli()}

    @cached_property
    def _samples(self) -> list[Sample]:
        replicates = range(self.config.replicates)
        return [
            self._sample(s, replicate) for s in self._stimuli.values() for replicate in replicates
        ]

    def _sample(self, stimulus: Stimulus, replicate: int) -> Sample:
        columns = stimulus.columns
        show = partial(self._clean, stimulus)
        if self.config.replicates > 1:
            drawn = draw(self.config.jitter, self.config.seed, stimulus.id, replicate)
            jitter = {f"jitter_{name}": value for name, value in drawn.items()}
            if clash := sorted(jitter.keys() & columns.keys()):
                raise SourceError(f"the source has a column '{clash[0]}' already", hint="rename it")
            columns = {**columns, **jitter}
            if replicate:
                show = partial(self._jittered, stimulus, drawn, replicate)
        return Sample(stimulus.id, show, columns, replicate, stimulus.stamp)

    def _clean(self, stimulus: Stimulus) -> Image:
        options = self.config
        convert = partial(flatten, alpha=options.alpha, background=options.background)
        return pad(stimulus.picture.read(convert), options.pad, options.background)

    def _jittered(self, stimulus: Stimulus, drawn: Mapping[str, float], replicate: int) -> Image:
        return jittered(self._clean(stimulus), drawn, self.config.seed, stimulus.id, replicate)

    def listing(self) -> Sequence[Sample]:
        return self._samples

    def digest(self, sample: Sample) -> str:
        # The file is the same for every replicate, and what core asks for is asked for each.
        if sample.id not in self._digests:
            self._digests[sample.id] = self._stimuli[sample.id].picture.digest()
        return self._digests[sample.id]

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {}

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """JPEG thumbnails of at most 160 pixels, without jitter; None for a picture that cannot be read."""
        return [self._thumbnail(id) for id in samples]

    def _thumbnail(self, id: str) -> Preview | None:
        if id not in self._stimuli:
            return None
        try:
            image = self._clean(self._stimuli[id])
        except SourceError:
            return None
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=80)
        return Preview("image", jpeg.getvalue(), caption=id)
