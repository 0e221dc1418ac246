"""The HDF5 store: one file for each array, with the dataset ``activations`` and its names as attributes.

HDF5 lays the file out in memory only; header and payload are then written plainly. The payload is
contiguous, so that it can be mapped. Files are readable by HDF5 1.8 and later, and checksums guard their
metadata.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from actx_core.dtypes import storage
from actx_core.files import claim, damaged
from actx_core.stores.payload import Found, RawStore
from actx_core.types import ArraySpec

DATASET = "activations"
_PAGE = 1 << 12


class Hdf5(RawStore):
    """HDF5; bfloat16 is uint16 with the attribute ``dtype = "bfloat16"``."""

    suffix = ".h5"

    @contextmanager
    def begin(self, path: Path, spec: ArraySpec, rows: int) -> Iterator[BinaryIO]:
        names = {"source": spec.source, "model": spec.model, "tap": spec.tap}
        attributes = {**names, "axes": spec.axes, "dtype": spec.dtype}
        dataset = Dataset((rows, *spec.row_shape), storage(spec.dtype), attributes)
        layout = Layout.of({DATASET: dataset})
        with layout.create(path) as file:
            file.seek(layout.offsets[DATASET])
            yield file

    def find(self, path: Path, spec: ArraySpec) -> Found:
        try:
            with h5py.File(path, "r", locking=False) as file:
                dataset = file[DATASET]
                logical = dataset.attrs["dtype"].decode()
                if logical != spec.dtype:
                    raise damaged(path, f"expected dtype {spec.dtype}, found {logical}")
                offset = dataset.id.get_offset()
                if dataset.size and offset is None:
                    raise damaged(path, "expected a contiguous dataset, found chunks or no data")
                return Found(dataset.shape, dataset.dtype, offset or 0)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            message = f"expected HDF5, found a damaged file of {path.stat().st_size} bytes: {error}"
            raise damaged(path, message) from error


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset to lay out."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """An HDF5 file without its payload: where everything stands.

    ``offsets[name]`` is the place of a dataset's payload; a dataset without values has none, and 0 stands.
    """

    size: int
    header: Mapping[int, bytes]
    offsets: Mapping[str, int]

    @classmethod
    def of(cls, datasets: Mapping[str, Dataset]) -> Layout:
        """Lay out a file with these datasets; ``/`` in a name separates groups."""
        return cls.drawn(
            lambda file: {name: reserve(file, name, d) for name, d in datasets.items()}
        )

    @classmethod
    def drawn(cls, draw: Callable[[h5py.File], Mapping[str, int]], before: int = 0) -> Layout:
        """Lay out what ``draw`` puts into a new file; it returns the ``offsets`` of what it reserved.

        ``before`` bytes stay free at the beginning: a user block, as HDF5 calls it.
        """
        image = _Image()
        with _new_file(image) as file:
            offsets = {name: before + offset for name, offset in draw(file).items()}
        places = ((page * _PAGE, content) for page, content in image.pages.items())
        header = {before + p: bytes(c[: image.size - p]) for p, c in places if p < image.size}
        return cls(before + image.size, header, offsets)

    @contextmanager
    def create(self, path: Path) -> Iterator[BinaryIO]:
        """Write the file, all space claimed, and give it open for the payload."""
        with path.open("wb") as file:
            claim(file, self.size)
            for offset, content in self.header.items():
                file.seek(offset)
                file.write(content)
            yield file


def _new_file(image: _Image) -> h5py.File:
    """An empty HDF5 file whose bytes depend on nothing but what is put into it."""
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)  # the first with checksums
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_obj_track_times(False)
    return h5py.File(h5py.h5f.create(b"layout", h5py.h5f.ACC_TRUNC, creation, access))


def reserve(file: h5py.File, name: str, dataset: Dataset) -> int:
    """Create a contiguous dataset whose place is fixed at once, and return that place."""
    made = file.create_dataset(
        name, dataset.shape, dataset.dtype, dcpl=reserved(), track_times=False
    )
    for key, value in dataset.attributes.items():
        made.attrs[key] = _text(value)
    return made.id.get_offset() or 0 if math.prod(dataset.shape) else 0


def reserved() -> h5py.h5p.PropDCID:
    """Properties of a contiguous dataset that gets its place at once, and its values from elsewhere."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def _text(value: str | Sequence[str]) -> np.ndarray:
    """Text of fixed length, which HDF5 keeps under its checksums.

    Of variable length it would lie in the global heap, which has none: HDF5 2.0 reads a damaged one forever.
    """
    encoded = np.char.encode(np.asarray(value, np.str_), "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.itemsize)))


class _Image(io.RawIOBase):
    """A file in memory that keeps only the pages which were written: HDF5 writes no payload here."""

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.size = 0
        self._place = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def truncate(self, size: int | None = None) -> int:
        self.size = self._place if size is None else size
        return self.size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        n = max(0, min(len(view), self.size - self._place))
        for start, page, within in self._pieces(n):
            view[start : start + len(within)] = self.pages.get(page, bytes(_PAGE))[_slice(within)]
        self._place += n
        return n

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start, page, within in self._pieces(len(view)):
            target = self.pages.setdefault(page, bytearray(_PAGE))
            target[_slice(within)] = view[start : start + len(within)]
        self._place += len(view)
        self.size = max(self.size, self._place)
        return len(view)

    def _pieces(self, n: int) -> Iterator[tuple[int, int, range]]:
        """Cut the next ``n`` bytes at pages: where the piece begins, its page, its places in the page."""
        start = 0
        while start < n:
            page, low = divmod(self._place + start, _PAGE)
            high = min(_PAGE, low + n - start)
            yield start, page, range(low, high)
            start += high - low


def _slice(places: range) -> slice:
    return slice(places.start, places.stop)
