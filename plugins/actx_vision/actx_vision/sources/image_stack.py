"""The source ``image-stack``: pictures in one array of an HDF5 or .npy file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from PIL import Image

from actx_core import SourceError
from actx_core.packages import package_path
from actx_vision.models.hints import did_you_mean
from actx_vision.sources.config import ImageStackConfig
from actx_vision.sources.decode import bytes_of
from actx_vision.sources.image_source import ImageSource, Stimulus

if TYPE_CHECKING:
    from actx_core import LazyArray

CACHE = 2**26
"""Bytes of HDF5 chunks kept: where a chunk holds several pictures, it is decompressed once."""
CHANNELS = (1, 3, 4)
SHAPES = "(N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels"


@dataclass(frozen=True, slots=True)
class _Slice:
    """One picture of a stack. h5py lets one thread read at a time, so that all share the open file."""

    stack: LazyArray
    layout: str
    index: int
    where: str

    def read(self, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
        try:
            return convert(self._image())
        except SourceError as error:
            raise SourceError(error.message, where=self.where, hint=error.hint) from error

    def digest(self) -> str:
        values = self._values()
        digest = hashlib.sha256(f"{values.dtype.str} {values.shape} ".encode())
        digest.update(values.tobytes())
        return digest.hexdigest()

    def _values(self) -> np.ndarray:
        try:
            return np.asarray(self.stack[self.index])
        except (OSError, RuntimeError) as error:
            raise SourceError(f"cannot be read: {error}", where=self.where) from error

    def _image(self) -> Image.Image:
        values = self._values()
        if values.dtype != np.uint8:
            values = bytes_of(values)
        if self.layout == "nchw":
            values = values.transpose(1, 2, 0)
        if values.ndim == 3 and values.shape[2] == 1:
            values = values[:, :, 0]
        return Image.fromarray(np.ascontiguousarray(values))


class ImageStack(ImageSource[ImageStackConfig]):
    """Pictures along the first axis of an array: grey, RGB or RGBA; 8-bit, or floats in [0, 1].

    Ids are numbers from 0 with eight digits, or what the dataset ``ids`` holds; the number is the column
    ``index``. Pictures are read one by one: memory does not grow with the stack.
    """

    def stimuli(self) -> Iterator[Stimulus]:
        path = package_path(self.config.path)
        if not path.is_file():
            raise SourceError("expected a file, found none", where=str(path), hint="check `path`")
        name, stack = self._npy(path) if path.suffix == ".npy" else self._hdf5(path)
        layout = self._layout(stack, f"{path}{name}")
        count = stack.shape[0]
        ids = self._ids(count) if self.config.ids else [f"{n:08d}" for n in range(count)]
        stat = path.stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        for index, id in enumerate(ids):
            picture = _Slice(stack, layout, index, f"{path}{name}[{index}]")
            yield Stimulus(id, picture, {"index": index}, stamp)

    def _npy(self, path: Path) -> tuple[str, LazyArray]:
        try:
            return "", np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError) as error:
            raise _unreadable(path, error) from error

    @cached_property
    def _file(self) -> h5py.File:
        path = package_path(self.config.path)
        try:
            return h5py.File(path, "r", rdcc_nbytes=CACHE)
        except OSError as error:
            raise _unreadable(path, error) from error

    def _hdf5(self, path: Path) -> tuple[str, LazyArray]:
        found = _datasets(self._file)
        if self.config.dataset:
            name = _named(self.config.dataset, found, path)
            return name, found[name]
        fitting = [name for name, dataset in found.items() if _may_hold_pictures(dataset)]
        if len(fitting) != 1:
            which = f"{len(fitting)} that can be" if fitting else "none among"
            listed = ", ".join(f"{n} {found[n].shape}" for n in fitting or found) or "no dataset"
            raise SourceError(
                f"expected one dataset of pictures, found {which} {listed}",
                where=str(path),
                hint=f'say which: dataset = "{fitting[0] if fitting else "…"}"; {SHAPES}',
            )
        return fitting[0], found[fitting[0]]

    def _layout(self, stack: Any, where: str) -> str:
        if not _has_pixels(stack.dtype):
            raise SourceError(
                f"expected uint8, or floats in [0, 1], found {stack.dtype}", where=where
            )
        if stack.ndim not in (3, 4) or 0 in stack.shape:
            raise SourceError(f"expected {SHAPES}, found {stack.shape}", where=where)
        readings = _readings(stack.shape)
        if asked := self.config.layout:
            if asked not in readings:
                raise SourceError(f"the shape {stack.shape} is not '{asked}'", where=where)
            return asked
        if not readings:
            raise SourceError(f"expected {SHAPES}, found {stack.shape}", where=where)
        if len(readings) > 1:
            raise SourceError(
                f"the shape {stack.shape} can be {' or '.join(readings)}",
                where=where,
                hint=f'say which it is: layout = "{readings[0]}"',
            )
        return readings[0]

    def _ids(self, count: int) -> list[str]:
        path = package_path(self.config.path)
        found = _datasets(self._file)
        dataset = found[_named(self.config.ids, found, path)]
        text = h5py.check_string_dtype(dataset.dtype) is not None
        where = f"{path}{dataset.name}"
        if dataset.shape != (count,) or not (text or dataset.dtype.kind in "iu"):
            raise SourceError(
                f"expected {count} integers or texts, found {dataset.dtype} of shape {dataset.shape}",
                where=where,
            )
        ids = [str(id) for id in (dataset.asstr() if text else dataset)[()].tolist()]
        id, times = Counter(ids).most_common(1)[0]
        if times > 1 or "" in ids:
            what = f"'{id}' {times} times" if times > 1 else "an empty one"
            raise SourceError(f"expected ids that differ, found {what}", where=where)
        return ids


def _datasets(file: h5py.File) -> dict[str, Any]:
    """Every dataset of a file by its name, which begins with ``/``."""
    found: dict[str, Any] = {}

    def add(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[f"/{name}"] = item

    file.visititems(add)
    return found


def _named(name: str, found: dict[str, Any], path: Path) -> str:
    name = f"/{name.strip('/')}"
    if name not in found:
        hint = did_you_mean(name, list(found), f"there are: {', '.join(found) or 'none'}")
        raise SourceError(f"expected a dataset '{name}', found none", where=str(path), hint=hint)
    return name


def _may_hold_pictures(dataset: Any) -> bool:
    pixels = _has_pixels(dataset.dtype) and 0 not in (dataset.shape or (0,))
    return pixels and dataset.ndim in (3, 4) and bool(_readings(dataset.shape))


def _has_pixels(dtype: np.dtype[Any]) -> bool:
    return dtype == np.uint8 or dtype.kind == "f"


def _readings(shape: Sequence[int]) -> list[str]:
    """The layouts that a shape may have."""
    if len(shape) == 3:
        return ["nhw", *(["one picture"] if shape[2] in CHANNELS[1:] else [])]
    axes = (("nhwc", shape[3]), ("nchw", shape[1]))
    return [layout for layout, channels in axes if channels in CHANNELS]


def _unreadable(path: Path, error: Exception) -> SourceError:
    return SourceError(f"cannot be read as an array of pictures: {error}", where=str(path))
