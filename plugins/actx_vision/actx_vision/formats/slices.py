"""The helpers of seed 004, by their names: tensors as text, and activations in several files.

They read what thingsvision wrote in 2020, with five decimals, and write what it reads.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core import ConfigError, StoreError, atomic
from actx_vision.formats import text_matrix
from actx_vision.formats.activations_config import without_dot

if TYPE_CHECKING:
    from os import PathLike

    Folder = str | PathLike[str]

_PART = re.compile(r"activations_(\d+)\.(npy|txt)")


def tensor2slices(PATH: Folder, file_name: str, tensor: Any) -> None:  # noqa: N803
    """Write an array of any shape to the text file ``PATH/file_name``, without loss.

    Matrices of the last two axes follow each other, with ``# New slice`` behind each.
    """
    with atomic(_existing(Path(PATH)) / file_name) as temporary:
        text_matrix.write(temporary, np.asarray(tensor))


def slices2tensor(PATH: Folder, file: str) -> np.ndarray:  # noqa: N803
    """The array of a text file that ``tensor2slices`` wrote, or thingsvision did (then float64).

    Raises StoreError that names the line where the file is truncated or edited.
    """
    return text_matrix.read(Path(PATH) / file)


def split_activations(
    PATH: Folder,  # noqa: N803
    features: Any = None,
    file_format: str | None = None,
    n_splits: int = 10,
) -> None:
    """Write the rows of ``features`` to exactly ``n_splits`` files: ``PATH/activations_01.npy`` ...

    ``features`` is by default what ``PATH/activations.npy`` or ``.txt`` holds; of a ``.npy`` file only a
    part is in memory at a time. ``file_format`` is ``"npy"`` or ``"txt"``, by default that of the file. Where
    the rows do not divide, the first files have one more; where they are fewer than the files, the last
    files have none.
    """
    folder = Path(PATH)
    if n_splits < 1:
        raise ConfigError(f"expected n_splits of 1 or more, found {n_splits}")
    if features is None:
        whole = _whole(folder)
        features, file_format = _open(whole), file_format or whole.suffix
    kind = without_dot(file_format or "npy")
    if kind not in ("npy", "txt"):
        raise ConfigError(f"expected file_format 'npy' or 'txt', found {file_format!r}")
    array = np.asanyarray(features)
    names = _free_names(folder, kind, n_splits)
    share, more = divmod(len(array), n_splits)
    stop = 0
    with ExitStack() as stack:
        for i, name in enumerate(names):
            start, stop = stop, stop + share + (i < more)
            temporary = stack.enter_context(atomic(folder / name))
            if kind == "txt":
                text_matrix.write(temporary, array[start:stop])
            else:
                with temporary.open("wb") as file:
                    np.save(file, array[start:stop])


def merge_activations(PATH: Folder) -> np.ndarray:  # noqa: N803
    """The rows of ``activations_01``, ``activations_02`` ... below ``PATH``, in the order of the numbers.

    Raises StoreError where a number is missing or twice, or the files do not fit each other.
    """
    folder = Path(PATH)
    parts = _parts(folder)
    if not parts:
        hint = "split_activations writes such files"
        what = "expected files activations_01, activations_02 ..., found none"
        raise StoreError(what, where=str(folder), hint=hint)
    if len({part.suffix for part in parts}) > 1:
        what = "expected either .npy or .txt files, found both"
        raise StoreError(what, where=str(folder), hint="remove those of the older split")
    numbers = [_number(part) for part in parts]
    for expected, number, part in zip(range(1, len(parts) + 1), numbers, parts, strict=True):
        if number != expected:
            raise StoreError(f"expected number {expected}, found {number}", where=str(part))
    arrays = [_open(part) for part in parts]
    first = arrays[0]
    for part, array in zip(parts, arrays, strict=True):
        if (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
            what = f"expected rows of {first.dtype} {first.shape[1:]} as in {parts[0].name}"
            what = f"{what}, found {array.dtype} {array.shape[1:]}"
            raise StoreError(what, where=str(part))
    return np.concatenate(arrays)


def _whole(folder: Path) -> Path:
    found = [folder / f"activations.{kind}" for kind in ("npy", "txt")]
    found = [path for path in found if path.is_file()]
    if len(found) != 1:
        names = "both" if found else "neither"
        what = f"expected activations.npy or activations.txt, found {names}"
        raise StoreError(what, where=str(folder), hint="give the array as `features`")
    return found[0]


def _free_names(folder: Path, kind: str, n: int) -> list[str]:
    """What the files of a split are called. Raises StoreError where one of another split is there."""
    digits = max(2, len(str(n)))
    names = [f"activations_{i:0{digits}d}.{kind}" for i in range(1, n + 1)]
    other = next((part for part in _parts(folder) if part.name not in names), None)
    if other is not None:
        hint = "remove it: it would be merged with the new files"
        raise StoreError("found a file of another split", where=str(other), hint=hint)
    return names


def _parts(folder: Path) -> list[Path]:
    """The files of a split, in the order of their numbers."""
    return sorted((p for p in _existing(folder).iterdir() if _PART.fullmatch(p.name)), key=_number)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise StoreError("the folder is missing", where=str(folder))
    return folder


def _number(part: Path) -> int:
    return int(re.sub(r"\D", "", part.name))


def _open(path: Path) -> np.ndarray:
    """An array on disk; that of a ``.npy`` file is mapped."""
    if path.suffix == ".txt":
        return text_matrix.read(path, header=False)
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise StoreError(f"expected a .npy file, found {error}", where=str(path)) from error
    return array
