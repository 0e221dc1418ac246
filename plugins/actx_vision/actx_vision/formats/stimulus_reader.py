"""An open file of the layout ``/model/stimulus/layer``, and the cache of its small arrays."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import h5py

from actx_core import StoreError
from actx_vision.formats.stimulus_file import DAMAGED, encode, is_encoded, names, open_file, read

if TYPE_CHECKING:
    import numpy as np

SMALL = 10 * 10**6
"""Bytes below which an array is kept once it was read."""
CACHE = 256 * 10**6
"""Bytes of arrays that are kept by default; the one that was not used for longest goes first."""
METADATA = 16 * 2**20
"""Bytes of HDF5's own cache of places; with the usual 2 MB, each pass over a large file begins anew."""

Key = tuple[Any, ...]
"""(model, stimulus, layer), or the first of them; what is no str is not there."""
LEVELS = ("model", "stimulus", "layer")


@dataclass(frozen=True, slots=True)
class _Model:
    group: h5py.Group
    encoded: bool
    stimuli: Mapping[str, bytes]


_READERS: WeakSet[Reader] = WeakSet()


class Reader:
    """Safe from several threads; pickled as its path; a forked process opens the file for itself."""

    def __init__(self, path: Path, cache_bytes: int) -> None:
        self.path = path
        self.cache_bytes = cache_bytes
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._forget()
        _READERS.add(self)

    def _forget(self) -> None:
        self._opened: h5py.File | None = None
        self._models: dict[Key, _Model] = {}
        self._cache: OrderedDict[Key, np.ndarray] = OrderedDict()
        self._cached = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "cache_bytes": self.cache_bytes}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.path, self.cache_bytes = state["path"], state["cache_bytes"]
        self._begin()

    def names(self, key: Key) -> list[str]:
        """What is below a key, in the order of the file. Raises KeyError where there is no such key."""
        with self._lock:
            if not key:
                return list(names(self._file, encoded=False))
            model = self._model(key[:1])
            if len(key) == 1:
                return list(model.stimuli)
            return list(names(self._stimulus(key), model.encoded))

    def first(self, key: Key) -> str:
        """The first name below a key. Raises StoreError where there is none."""
        for name in self.names(key):
            return name
        raise self.unexpected(key, f"expected a {LEVELS[len(key)]}, found none")

    def has(self, key: Key) -> bool:
        """Whether there is such a key, where there is what is above it."""
        with self._lock:
            if len(key) == 2:
                return key[1] in self._model(key[:1]).stimuli
            return key in self._models or key[-1] in self.names(key[:-1])

    def shape(self, key: Key) -> tuple[int, ...]:
        with self._lock:
            return tuple(self._dataset(key).shape)

    def dtype(self, key: Key) -> np.dtype[Any]:
        with self._lock:
            dtype: np.dtype[Any] = self._dataset(key).dtype
            return dtype

    def array(self, key: Key) -> np.ndarray:
        """The values, as a copy that the caller may change; small ones are kept."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key].copy()
            values = self._read(key)
            if values.nbytes >= SMALL:
                return values
            self._cache[key] = values
            self._cached += values.nbytes
            while self._cached > self.cache_bytes:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
            return values.copy()

    def into(self, key: Key, out: np.ndarray) -> None:
        """Read into an array of the right shape and type; nothing is kept."""
        with self._lock:
            self._read(key, out)

    def clear(self, key: Key) -> None:
        """Free the arrays below a key."""
        with self._lock:
            for known in [k for k in self._cache if k[: len(key)] == key]:
                self._cached -= self._cache.pop(known).nbytes

    def close(self) -> None:
        """Close the file and free all arrays; the next access opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
            self._forget()

    def missing(self, key: Key, there: Iterable[str]) -> KeyError:
        """The error to raise for a name that is not there, with near misses."""
        near = get_close_matches(str(key[-1]), list(there), n=3, cutoff=0.4)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else f"there are {list(there)[:5]}"
        )
        where = "/".join([str(self.path), *key[:-1]])
        return KeyError(f"no {LEVELS[len(key) - 1]} {key[-1]!r} in {where}; {hint}")

    def unexpected(self, key: Key, what: str) -> StoreError:
        """The error to raise where the file does not have the layout."""
        hint = f"actx verify {self.path} names all that is wrong with it"
        where = "/".join([str(self.path), *key])
        return StoreError(what, where=where, hint=hint)

    @property
    def _file(self) -> h5py.File:
        if self._opened is None:
            self._opened = open_file(self.path)
            config = self._opened.id.get_mdc_config()
            config.set_initial_size, config.initial_size = True, METADATA
            self._opened.id.set_mdc_config(config)
        return self._opened

    def _model(self, key: Key) -> _Model:
        if key not in self._models:
            there = names(self._file, encoded=False)
            if key[0] not in there:
                raise self.missing(key, there)
            group = self._group(key, self._file, there[key[0]])
            encoded = is_encoded(group)
            self._models[key] = _Model(group, encoded, names(group, encoded))
        return self._models[key]

    def _stimulus(self, key: Key) -> h5py.Group:
        model = self._model(key[:1])
        if key[1] not in model.stimuli:
            raise self.missing(key, model.stimuli)
        return self._group(key, model.group, model.stimuli[key[1]])

    def _group(self, key: Key, above: h5py.Group, name: bytes) -> h5py.Group:
        try:
            return h5py.Group(h5py.h5g.open(above.id, name))
        except DAMAGED as error:
            raise self.unexpected(key, f"expected a group: {error}") from error

    def _dataset(self, key: Key) -> h5py.h5d.DatasetID:
        model, (_, stimulus, layer) = self._model(key[:1]), key
        name = model.stimuli.get(stimulus)
        inner = encode(layer) if model.encoded and isinstance(layer, str) else layer
        try:
            if name is None or not isinstance(inner, str) or "/" in inner or inner in ("", "."):
                raise KeyError(key)
            return h5py.h5d.open(model.group.id, name + b"/" + inner.encode())
        except DAMAGED as error:
            there = self.names(key[:2])
            if layer not in there:
                raise self.missing(key, there) from None
            raise self.unexpected(key, f"expected an array: {error}") from error

    def _read(self, key: Key, out: np.ndarray | None = None) -> np.ndarray:
        """All of an array; h5py's own objects would take longer than a small array itself."""
        dataset = self._dataset(key)
        try:
            return read(dataset, out)
        except DAMAGED as error:
            raise self.unexpected(key, f"{error}") from error


def _begin_after_fork() -> None:
    """Another thread may have held a lock when this process was forked, and its file is the parent's."""
    for reader in list(_READERS):
        reader._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_after_fork)
