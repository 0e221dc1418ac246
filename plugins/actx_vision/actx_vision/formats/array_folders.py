"""What the formats of thingsvision share: a folder per array, with file names and targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from actx_core import Config, Format, StoreError, atomic

if TYPE_CHECKING:
    from actx_core import Run, TapArray

New = Callable[[str], Path]
"""Gives the path at which to write the file of that name."""
C = TypeVar("C", bound=Config)


class ArrayFolders(Format[C]):
    """A folder ``source/model/tap`` per array; its files take their places when all have been written.

    Beside the array stand ``file_names.txt``, a line per row, and targets where there are any. A file of an
    earlier export that this one would not replace is refused: it would be taken for one of this export.
    """

    names: ClassVar[Collection[str]]
    """What files of an array may be called, whatever the options; ``file_names.txt`` is always there."""

    @abstractmethod
    def put(self, tap: TapArray, new: New) -> None:
        """Write an array and its targets."""

    def folder(self, path: Path, tap: TapArray, arrays: int) -> Path:
        """Where an array goes, if there are so many."""
        parts = (tap.spec.source, tap.spec.model, tap.spec.tap)
        return path.joinpath(*(quote(part, safe=" ") for part in parts))

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        if path.exists() and not path.is_dir():
            hint = "give the path of a folder"
            raise StoreError("expected a folder, found a file", where=str(path), hint=hint)
        files: list[Path] = []
        with ExitStack() as stack:
            for name in run.arrays:
                tap = run[name]
                folder = self.folder(path, tap, len(run.arrays))
                folder.mkdir(parents=True, exist_ok=True)

                def new(file: str, folder: Path = folder) -> Path:
                    files.append(folder / file)
                    return stack.enter_context(atomic(files[-1]))

                self.put(tap, new)
                _write_lines(new("file_names.txt"), file_names(tap))
            self._refuse_others(run, path, files)
        return files

    def _refuse_others(self, run: Run, path: Path, files: Collection[Path]) -> None:
        """Look wherever each array may have gone, alone or as one of several."""
        folders = {self.folder(path, run[name], arrays) for name in run.arrays for arrays in (1, 2)}
        others = (folder / name for folder in sorted(folders) for name in self.names)
        for other in others:
            if other not in files and other.exists():
                raise StoreError(
                    "found a file of an earlier export, with other options or of other arrays",
                    where=str(other),
                    hint="remove it, or write this export to another folder",
                )


def file_names(tap: TapArray) -> list[str]:
    """The file of each row below its source's folder; where samples are no files, their ids."""
    rows = tap.rows
    files = "path" in rows.column_names and not rows["path"].null_count
    names = [str(name) for name in rows["path" if files else "sample"].to_pylist()]
    bad = next((name for name in names if "\n" in name), None)
    if bad is not None:
        what = f"expected names of one line, found {bad!r}"
        raise StoreError(what, where=tap.name, hint="rename the file")
    return names


def targets(tap: TapArray, new: New) -> np.ndarray | None:
    """The class of each row as a number; None where rows have none.

    It is the column ``target``, or else the place of the row's ``label`` among all labels in alphabetical
    order, which are then written to ``classes.txt``.
    """
    column = next((name for name in ("target", "label") if name in tap.rows.column_names), None)
    if column is None:
        return None
    values = tap.rows[column]
    if values.null_count:
        what = f"expected a {column} for each row, found {values.null_count} rows without"
        raise StoreError(what, where=tap.name)
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return np.asarray(values.to_numpy())
    classes, places = np.unique(np.array(values.to_pylist(), np.str_), return_inverse=True)
    _write_lines(new("classes.txt"), classes.tolist())
    return places


def write_npy(path: Path, tap: TapArray, shape: tuple[int, ...]) -> None:
    """Write an array in bounded memory as a ``.npy`` file of that shape."""
    descr = np.lib.format.dtype_to_descr(tap.dtype)
    with path.open("wb") as file:
        about = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, about)
        for _, block in tap.blocks():
            file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
