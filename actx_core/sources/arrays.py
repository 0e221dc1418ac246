"""The source ``arrays``: each row of a .npy or .npz file is a sample."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zipfile import BadZipFile

from pydantic import model_validator

from actx_core.contracts import Config, ListedSource
from actx_core.errors import SourceError
from actx_core.packages import DataPath, package_path
from actx_core.types import Sample

if TYPE_CHECKING:
    import numpy as np


class ArraysConfig(Config):
    """Options of the source ``arrays``."""

    path: DataPath
    """A .npy file, which stays on disk, or a .npz file, which is read into memory."""
    key: str = ""
    """Which array of a .npz file; needed where it has several."""
    ids: str = ""
    """The array of a .npz file that holds the samples' ids; by default ids are row numbers."""

    def label(self) -> str:
        return self.path.stem

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.path.suffix not in {".npy", ".npz"}:
            raise ValueError(f"expected a file ending in .npy or .npz, found '{self.path.name}'")
        if self.path.suffix == ".npy" and (self.key or self.ids):
            raise ValueError("key and ids name arrays of a .npz file; a .npy file holds only one")
        return self


class Arrays(ListedSource[ArraysConfig]):
    """Rows of one array, along its first axis.

    Ids are row numbers from 0, with eight digits, or what the array ``ids`` holds. Object arrays are
    refused: reading them would run code from the file.
    """

    gives = "array"

    def listing(self) -> Sequence[Sample]:
        array, ids = self._loaded
        stat = self._path.stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}"
        return [Sample(id, partial(_row, array, row), stamp=stamp) for row, id in enumerate(ids)]

    def digest(self, sample: Sample) -> str:
        row = sample.load()
        digest = hashlib.sha256(f"{row.dtype.str} {row.shape} ".encode())
        digest.update(row.tobytes())
        return digest.hexdigest()

    @property
    def _path(self) -> Path:
        return package_path(self.config.path)

    @cached_property
    def _loaded(self) -> tuple[np.ndarray, list[str]]:
        """The array and the ids of its rows."""
        import numpy as np

        key, ids = "", None
        try:
            opened = np.load(self._path, mmap_mode="r", allow_pickle=False)
            if isinstance(opened, np.ndarray):
                array = opened
            else:
                with opened:
                    key = self._key(opened.files)
                    array = opened[key]
                    ids = opened[self.config.ids] if self.config.ids else None
        except FileNotFoundError as error:
            raise self._error("there is no such file", "check path") from error
        except (OSError, EOFError, ValueError, BadZipFile, zlib.error) as error:
            raise self._error(f"cannot be read as numbers: {error}") from error
        if array.ndim == 0:
            raise self._error(f"expected an array with rows, found a single {array.dtype}")
        return array, self._ids(ids, len(array))

    def _key(self, names: Sequence[str]) -> str:
        """The name of the samples' array in a .npz file."""
        found = ", ".join(f"'{name}'" for name in names) or "nothing"
        for name in filter(None, (self.config.key, self.config.ids)):
            if name not in names:
                raise self._error(f"expected an array '{name}', found {found}")
        rest = [name for name in names if name != self.config.ids]
        if not self.config.key and len(rest) != 1:
            raise self._error(f"expected one array, found {found}", "say which with key")
        return self.config.key or rest[0]

    def _ids(self, ids: np.ndarray | None, rows: int) -> list[str]:
        if ids is None:
            return [f"{row:08d}" for row in range(rows)]
        if ids.shape != (rows,) or ids.dtype.kind not in "iuU":
            raise self._error(
                f"expected {rows} integers or strings in '{self.config.ids}', found {ids.dtype} of"
                f" shape {ids.shape}"
            )
        texts = [str(id) for id in ids.tolist()]
        twice = [id for id, times in Counter(texts).items() if times > 1]
        if twice:
            raise self._error(
                f"expected unique ids in '{self.config.ids}', found '{twice[0]}' twice"
            )
        return texts

    def _error(self, message: str, hint: str = "") -> SourceError:
        return SourceError(message, where=str(self._path), hint=hint)


def _row(array: np.ndarray, row: int) -> Any:
    """One row, copied out of the file's memory map."""
    import numpy as np

    return np.array(array[row])
