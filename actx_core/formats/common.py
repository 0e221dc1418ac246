"""What export formats share: the blocks, row columns and names of a run's arrays."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from actx_core.contracts import Input, LazyArray
from actx_core.errors import StoreError
from actx_core.files import sha256_json

if TYPE_CHECKING:
    import pyarrow as pa

    from actx_core.tap_array import TapArray


def samples(tap: TapArray) -> list[str]:
    """The sample id of each row."""
    ids: list[str] = tap.rows["sample"].to_pylist()
    return ids


def blocks(tap: TapArray) -> Iterator[np.ndarray]:
    """All rows in order, in bounded memory."""
    return (block for _, block in tap.blocks())


def storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type for formats that know neither float16 nor booleans: float32, and uint8 of 0 and 1."""
    known: dict[str, np.dtype[Any]] = {"float16": np.dtype("f4"), "bool": np.dtype("u1")}
    return known.get(dtype.name, dtype)


def columns(table: pa.Table) -> dict[str, np.ndarray]:
    """Each column as numbers, or as an object array of texts.

    For formats that know no missing values: a missing text is empty, a missing number NaN, which makes
    floats of whole numbers and booleans.
    """
    import pyarrow as pa

    found = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_boolean(column.type) and column.null_count:
            column = column.cast(pa.uint8())
        values = column.to_numpy()
        if values.dtype == object:
            values = np.array([text or "" for text in values], object)
        found[name] = values
    return found


def bare(
    name: str,
    array: LazyArray,
    file: str,
    ids: Sequence[str] | None = None,
    axes: Sequence[str] = (),
) -> Input:
    """An array of a file that no run wrote; ``file`` is the file's digest.

    Rows without ``ids`` are numbered. Without ``axes`` two are rows and channels, more have numbers.
    """
    import pyarrow as pa

    count, *shape = array.shape
    numbered = ["channel"] if len(shape) == 1 else [f"axis{i + 1}" for i in range(len(shape))]
    rows = pa.table({"sample": ids or [f"{row:08}" for row in range(count)]})
    return Input(name, array, tuple(axes or ("row", *numbered)), rows, sha256_json([file, name]))


def free(name: str, taken: Container[str]) -> str:
    """The name, with ``_`` behind it until nothing else is called so."""
    while name in taken:
        name += "_"
    return name


def check_names(names: Sequence[str]) -> None:
    """Raise StoreError where two arrays want one place, or one lies where another wants a folder."""
    taken: set[str] = set()
    for name in sorted(names):
        parts = name.split("/")
        above = {"/".join(parts[:i]) for i in range(1, len(parts) + 1)}
        if above & taken:
            hint = "name the model or source differently, with as = ..."
            raise StoreError(f"{name} and {min(above & taken)} cannot be in one file", hint=hint)
        taken.add(name)
