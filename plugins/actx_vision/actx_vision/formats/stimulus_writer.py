"""Adds models to an HDF5 file of ``/model/stimulus/layer``: a copy of it grows, and takes its place.

HDF5 lays out groups and empty datasets on claimed space; the numbers are then written plainly to their
places. That is faster than one HDF5 write per dataset, and a full disk is an error, not a crash.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from actx_core import StoreError, __version__, atomic
from actx_vision.formats.stimulus_content import Content
from actx_vision.formats.stimulus_file import (
    DAMAGED,
    encode,
    is_encoded,
    listed,
    names,
    open_file,
    read,
)

GROUPS = 256
"""Stimuli laid out together: their values of a layer then stand in one piece."""
META_BLOCK = 2**20
"""Bytes in which HDF5 puts names and places together at most, apart from values."""
LIBVER = ("earliest", "latest")
"""Readable by every version of HDF5."""

Places = dict[str, np.ndarray]
"""Where the values of each stimulus begin, in bytes, by layer."""


def add_models(path: Path, contents: Sequence[Content], replace: bool) -> None:
    """Add models to a file, which is created where it is missing.

    A model that is there with the same content is left alone; with another one it is refused, or replaced.
    Killed at any moment, the old file is intact. Raises StoreError.
    """
    path = path.resolve()  # a link stays one
    before = _mark(path)
    differences = {} if before is None else _differences(path, contents)
    changed = {model: what for model, what in differences.items() if what}
    if changed and not replace:
        model, what = next(iter(changed.items()))
        raise StoreError(
            f"the file holds this model with other content: {what}",
            where=f"{path}/{model}",
            hint="say replace = true to write it anew, or choose another `as` or prefix",
        )
    new = [content for content in contents if differences.get(content.model) != ""]
    if not new:
        return
    with atomic(path) as temporary:
        if before is None:
            h5py.File(temporary, "w", libver=LIBVER).close()
        else:
            _copy(path, temporary)
        metadata = sum(map(_metadata, new))
        _claim(temporary, metadata + sum(map(_payload, new)))
        places = _lay_out(temporary, new, list(changed), min(metadata // 4, META_BLOCK))
        for content, where in zip(new, places, strict=True):
            _fill(temporary, content, where)
        if _mark(path) != before:
            hint = "run the same command again"
            raise StoreError("somebody else wrote the file meanwhile", where=str(path), hint=hint)


def _mark(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None where there is none."""
    if not path.exists():
        return None
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _differences(path: Path, contents: Sequence[Content]) -> dict[str, str]:
    """{model: the first difference, or nothing} for those that are in the file."""
    found = {}
    with open_file(path) as file:
        for content in contents:
            if content.model in file:
                try:
                    found[content.model] = _difference(file[content.model], content)
                except DAMAGED as error:
                    found[content.model] = f"{error}"
    return found


def _difference(group: h5py.Group, content: Content) -> str:
    encoded = is_encoded(group)
    stimuli = names(group, encoded)
    if unequal := _unequal("stimuli", stimuli, content.stimuli):
        return unequal
    for stimulus, inner in stimuli.items():
        if unequal := _unequal("layers", names(group[inner], encoded), content.layers):
            return f"{stimulus}: {unequal}"
    for name, layer in content.layers.items():
        below = b"/" + (encode(name) if encoded else name).encode()
        for start, block in layer.blocks():
            for stimulus, values in zip(layer.stimuli[start:], block, strict=False):
                stored = read(h5py.h5d.open(group.id, stimuli[stimulus] + below))
                if (stored.shape, stored.dtype) != (values.shape, values.dtype):
                    found = f"found {stored.dtype} of {stored.shape}"
                    return f"{stimulus}/{name}: expected {values.dtype} of {values.shape}, {found}"
                if stored.tobytes() != values.tobytes():
                    return f"{stimulus}/{name} has other values"
    return ""


def _unequal(what: str, there: Iterable[str], expected: Iterable[str]) -> str:
    """How two lists of names differ, if they do."""
    lacks, more = sorted({*expected} - {*there}), sorted({*there} - {*expected})
    lines = [f"it lacks the {what} {listed(lacks)}"] if lacks else []
    return " and ".join([*lines, f"it has the {what} {listed(more)} too"] if more else lines)


def _copy(source: Path, target: Path) -> None:
    """Copy a file; where the file system can share blocks, without reading it."""
    copied = False
    if hasattr(os, "copy_file_range"):
        with suppress(OSError), source.open("rb") as old, target.open("wb") as new:
            while os.copy_file_range(old.fileno(), new.fileno(), 2**30):
                pass
            copied = os.fstat(new.fileno()).st_size == os.fstat(old.fileno()).st_size
    if not copied:
        shutil.copyfile(source, target)
    shutil.copymode(source, target)


def _metadata(content: Content) -> int:
    """Bytes that HDF5 writes about groups and datasets at most."""
    attributes = sum(len(str(value).encode()) for value in content.attributes.values())
    layers = sum(1024 + 2 * len(encode(name).encode()) for name in content.layers)
    stimuli = sum(2048 + 2 * len(encode(name).encode()) for name in content.stimuli)
    return 2**14 + 2 * attributes + stimuli + layers * len(content.stimuli)


def _payload(content: Content) -> int:
    """Bytes of all values."""
    return len(content.stimuli) * sum(layer.nbytes for layer in content.layers.values())


def _claim(path: Path, size: int) -> None:
    """Reserve disk behind the end of a file; HDF5 gives back what it did not need.

    On a disk that fills up under its own writes, HDF5 kills the process.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), path.stat().st_size, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise


def _lay_out(
    path: Path, contents: Sequence[Content], instead: Sequence[str], block: int
) -> list[Places]:
    """Create all groups and datasets, in place of the models ``instead``; say where the values belong."""
    try:
        with h5py.File(path, "r+", libver=LIBVER, meta_block_size=block) as file:
            for model in instead:
                del file[model]
            file.attrs["actx"] = __version__
            return [_lay_out_model(file, content) for content in contents]
    except DAMAGED as error:
        raise StoreError(f"the file cannot grow: {error}", where=str(path)) from error


def _lay_out_model(file: h5py.File, content: Content) -> Places:
    model = file.create_group(content.model)
    for name, value in content.attributes.items():
        model.attrs[name] = value
    link, dataset = _properties()
    kinds = {
        name: (
            encode(name).encode(),
            h5py.h5t.py_create(layer.tap.dtype, logical=True),
            h5py.h5s.create_simple(layer.shape),
        )
        for name, layer in content.layers.items()
    }
    places = {name: np.zeros(len(content.stimuli), np.int64) for name in kinds}
    for start in range(0, len(content.stimuli), GROUPS):
        few = [encode(stimulus).encode() for stimulus in content.stimuli[start : start + GROUPS]]
        groups = [h5py.h5g.create(model.id, stimulus, link) for stimulus in few]
        for name, (inner, kind, space) in kinds.items():
            for i, group in enumerate(groups, start):
                made = h5py.h5d.create(group, inner, kind, space, dataset, link)
                places[name][i] = made.get_offset() or 0
    return places


def _properties() -> tuple[h5py.h5p.PropLCID, h5py.h5p.PropDCID]:
    """Links with names in UTF-8; datasets that have their place at once, and no values yet."""
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_char_encoding(h5py.h5t.CSET_UTF8)
    dataset = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    dataset.set_layout(h5py.h5d.CONTIGUOUS)
    dataset.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    dataset.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    dataset.set_obj_track_times(False)
    return link, dataset


def _fill(path: Path, content: Content, places: Places) -> None:
    """Write the values, as much in one piece as stands in one piece."""
    with path.open("r+b") as file:
        for name, layer in content.layers.items():
            for start, block in layer.blocks():
                where = places[name][start : start + len(block)]
                ends = np.flatnonzero(np.diff(where) != layer.nbytes) + 1
                for place, piece in zip(where[[0, *ends]], np.split(block, ends), strict=True):
                    file.seek(place)
                    file.write(piece.reshape(-1).view(np.uint8).data)
