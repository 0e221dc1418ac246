"""What formats share that write a folder with a file per array."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actx_core.contracts import Config, Format
from actx_core.errors import StoreError
from actx_core.files import atomic, damaged, read_json, write_json
from actx_core.layout import ROWS, Layout
from actx_core.tables import write_csv, write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from actx_core.results import Run
    from actx_core.tap_array import TapArray

C = TypeVar("C", bound=Config)
INDEX = "index.json"


class FolderFormat(Format[C]):
    """``source/model/tap.*``, named as in a run, the rows beside it and ``index.json`` about all.

    Rows are ``source/model/rows.KIND.csv`` and ``.parquet``, for all arrays of that kind. The files take
    their places together at the end, after all have been written; files of other names stay, but an
    array that the folder holds in another one is refused.
    """

    @property
    @abstractmethod
    def suffix(self) -> str:
        """Ending of the files of arrays."""

    @abstractmethod
    def put(self, path: Path, tap: TapArray) -> None:
        """Write one array to a new file."""

    def write(self, run: Run, path: Path) -> Sequence[Path]:
        if path.exists() and not path.is_dir():
            hint = "give the path of a folder, new or of an earlier export"
            raise StoreError("expected a folder, found a file", where=str(path), hint=hint)
        taps = {name: run[name] for name in run.arrays}
        places = {
            name: Layout(path).joined(_cell(tap), tap.spec.tap, self.suffix)
            for name, tap in taps.items()
        }
        _refuse_twice(path, places)
        index: dict[str, Any] = {}
        tables: dict[Path, pa.Table] = {}
        files = []
        with ExitStack() as stack:

            def new(file: Path) -> Path:
                file.parent.mkdir(parents=True, exist_ok=True)
                files.append(file)
                return stack.enter_context(atomic(file))

            for name, tap in taps.items():
                self.put(new(places[name]), tap)
                rows = _place_rows(tables, Layout(path), tap)
                index[name] = {
                    "file": places[name].relative_to(path).as_posix(),
                    "rows": rows.relative_to(path).as_posix(),
                    "axes": tap.axes,
                    "shape": tap.shape,
                    "dtype": tap.dtype.name,
                }
            for rows, table in tables.items():
                write_csv(new(rows), table)
                write_table(new(rows.with_suffix(".parquet")), table)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / INDEX, index)
        return [*files, path / INDEX]


def _cell(tap: TapArray) -> str:
    return f"{tap.spec.source}/{tap.spec.model}"


def _refuse_twice(folder: Path, places: Mapping[str, Path]) -> None:
    """Raise StoreError where an earlier export, of another format or other options, left an array elsewhere.

    It would stand in two files, and nobody would know which of them is the newer one.
    """
    hint = "remove the earlier export, or write this one to another folder"
    if not (folder / INDEX).exists():
        return
    earlier = read_json(folder / INDEX, hint=hint)
    try:
        files = {name: folder / about["file"] for name, about in earlier.items()}
    except (AttributeError, KeyError, TypeError) as error:
        what = f"expected the index of an earlier export, found something else: {error!r}"
        raise damaged(folder / INDEX, what, hint) from error
    for name, place in places.items():
        file = files.get(name, place)
        if file != place and file.exists():
            raise StoreError(f"{name} is here already", where=str(file), hint=hint)


def _place_rows(tables: dict[Path, pa.Table], layout: Layout, tap: TapArray) -> Path:
    """The CSV file of an array's rows; a number tells tables of one kind apart where a run has holes."""
    kinds = (tap.spec.kind if n == 1 else f"{tap.spec.kind}.{n}" for n in count(1))
    paths = (layout.joined(_cell(tap), f"{ROWS}{kind}", ".csv") for kind in kinds)
    return next(p for p in paths if tables.setdefault(p, tap.rows).equals(tap.rows))
