"""Reads HDF5 files of ``/model/stimulus/layer`` as nested dictionaries, each array when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from actx_vision.formats.stimulus_reader import CACHE, Key, Reader

if TYPE_CHECKING:
    from types import TracebackType

V = TypeVar("V")


def load_lazy_activations(path: str | Path, cache_bytes: int = CACHE) -> LazyActivations:
    """Open a file: ``acts[model][stimulus][layer]`` is an array of (replicates, features).

    Arrays below 10 MB are kept in memory once they were read, ``cache_bytes`` of them at most. Raises
    StoreError where the file is missing or damaged.
    """
    return LazyActivations(path, cache_bytes=cache_bytes)


def load_model_activations_lazy(
    path: str | Path, model: str, cache_bytes: int = CACHE
) -> LazyActivations:
    """The same with one model only: ``acts[model][stimulus][layer]``. KeyError where it is not there."""
    return LazyActivations(path, model, cache_bytes)


def get_available_models(path: str | Path) -> list[str]:
    """The models in a file, in its order."""
    with LazyActivations(path) as acts:
        return list(acts)


def get_available_images(path: str | Path, model: str) -> list[str]:
    """The stimuli of a model, in the order of the file."""
    with LazyActivations(path) as acts:
        return list(acts[model])


def get_available_layers(path: str | Path, model: str, image: str | None = None) -> list[str]:
    """The layers of a stimulus, by default of the model's first one."""
    with LazyActivations(path) as acts:
        return list(acts[model].pick(image))


def get_activation_shape(
    path: str | Path, model: str, image: str | None = None, layer: str | None = None
) -> tuple[int, ...]:
    """(replicates, features) of a layer, by default the first one of the first stimulus; reads no data."""
    with LazyActivations(path) as acts:
        return acts[model].pick(image).shape(layer)


class _Level(Mapping[str, V]):
    """What is below one key of the file, in the order of the file."""

    def __init__(self, reader: Reader, key: Key = ()) -> None:
        self._reader = reader
        self._key = key

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.names(self._key))

    def __len__(self) -> int:
        return len(self._reader.names(self._key))

    def __contains__(self, name: object) -> bool:
        return self._reader.has((*self._key, name))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'/'.join([str(self._reader.path), *self._key])}>"

    def clear_cache(self) -> None:
        """Free the arrays below this level that are kept in memory."""
        self._reader.clear(self._key)

    def _below(self, name: str) -> Key:
        key = (*self._key, name)
        if name not in self:
            raise self._reader.missing(key, self)
        return key


class StimulusActivations(_Level[np.ndarray]):
    """The layers of one stimulus; an array is a copy that may be changed."""

    def __getitem__(self, layer: str) -> np.ndarray:
        return self._reader.array((*self._key, layer))

    def shape(self, layer: str | None = None) -> tuple[int, ...]:
        """(replicates, features) of a layer, by default of the first one; reads no data."""
        name = self._reader.first(self._key) if layer is None else layer
        return self._reader.shape((*self._key, name))


class ModelActivations(_Level[StimulusActivations]):
    """The stimuli of one model."""

    def __getitem__(self, stimulus: str) -> StimulusActivations:
        return StimulusActivations(self._reader, self._below(stimulus))

    def pick(self, stimulus: str | None = None) -> StimulusActivations:
        """A stimulus, by default the first one."""
        return self[self._reader.first(self._key) if stimulus is None else stimulus]


class LazyActivations(_Level[ModelActivations]):
    """The models of one file, which stays open; also a context manager.

    May be used from several threads. A pickled one opens the file again, and so does a forked process.
    """

    def __init__(
        self, path: str | Path, model: str | None = None, cache_bytes: int = CACHE
    ) -> None:
        super().__init__(Reader(Path(path), cache_bytes))
        self._only: str | None = None
        self._reader.names(())  # a missing or damaged file is an error now
        if model is not None:
            self._below(model)
            self._only = model

    def __iter__(self) -> Iterator[str]:
        return super().__iter__() if self._only is None else iter([self._only])

    def __len__(self) -> int:
        return super().__len__() if self._only is None else 1

    def __contains__(self, name: object) -> bool:
        return self._only in (None, name) and super().__contains__(name)

    def __getitem__(self, model: str) -> ModelActivations:
        return ModelActivations(self._reader, self._below(model))

    def matrix(
        self, model: str, layer: str, replicates: Literal["all", "mean"] = "all"
    ) -> np.ndarray:
        """One layer for all stimuli of ``acts[model]``, in that order: (stimuli, replicates, features).

        ``replicates="mean"`` averages them: (stimuli, features), of the stored type, float64 for
        integers. Raises KeyError where a stimulus lacks the layer, StoreError where shape or type differ.
        """
        keys = [(model, stimulus, layer) for stimulus in self[model]]
        if not keys:
            raise self._reader.unexpected((model,), "expected stimuli, found none")
        one = np.empty(self._reader.shape(keys[0]), self._reader.dtype(keys[0]))
        if replicates == "all":
            whole = np.empty((len(keys), *one.shape), one.dtype)
            for key, row in zip(keys, whole, strict=True):
                self._reader.into(key, row)
            return whole
        kind = one.dtype if np.issubdtype(one.dtype, np.floating) else np.float64
        means = np.empty((len(keys), *one.shape[1:]), kind)
        for key, row in zip(keys, means, strict=True):
            self._reader.into(key, one)
            one.mean(0, out=row)
        return means

    def close(self) -> None:
        """Close the file and free all arrays; a later access opens it again."""
        self._reader.close()

    def __enter__(self) -> LazyActivations:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
