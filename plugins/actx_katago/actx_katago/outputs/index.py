"""Where the rows of an array come from: file, and row or turn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actx_core import StoreError, TapArray
from actx_core.packages import package_path
from actx_katago.outputs.arrays import base, samples

_FILES = (".npz", ".sgf", ".sgfs")


@dataclass(frozen=True)
class Index:
    """A line per row: path, then the row in an npz file or the turn of a game.

    Where these do not tell rows apart, ``columns`` go on with the replicate, and with the sample.
    ``inputs_sha256`` is the digest of the digests of all rows' inputs; None where these are not known.
    """

    columns: Sequence[str]
    lines: Sequence[tuple[Any, ...]]
    inputs_sha256: str | None

    def text(self) -> str:
        """Tabs between columns, a line feed behind each line."""
        return "".join("\t".join(map(str, line)) + "\n" for line in self.lines)


def row_index(array: TapArray) -> Index:
    """The index of an array of positions. Raises StoreError where these do not come from files."""
    table = samples(array)
    number = next((name for name in ("row", "turn") if name in table), None)
    if number is None or "file" not in table:
        raise StoreError(
            f"expected positions with a file and a row or turn, found the columns {list(table)}",
            where=array.name,
            hint="use the source selfplay or sgf",
        )
    keys = zip(table["sample"], table["replicate"], strict=True)
    places = {key: i for i, key in enumerate(keys)}
    rows = {name: array.rows[name].to_pylist() for name in ("sample", "replicate")}
    found = [places[key] for key in zip(rows["sample"], rows["replicate"], strict=True)]
    root = _root(array)
    columns: dict[str, list[Any]] = {
        "path": [_line(root / table["file"][i]) for i in found],
        number: [table[number][i] for i in found],
    }
    if any(rows["replicate"]):
        columns["replicate"] = rows["replicate"]
    if len(set(zip(*columns.values(), strict=True))) < len(found):  # games of one file
        columns["sample"] = [_line(sample) for sample in rows["sample"]]
    digests = [table["sha256"][i] if "sha256" in table else None for i in found]
    known = all(digests)
    digest = hashlib.sha256("\n".join(map(str, digests)).encode()).hexdigest() if known else None
    return Index(list(columns), list(zip(*columns.values(), strict=True)), digest)


def _root(array: TapArray) -> Path:
    """The folder that the names of files start from; the files need not be there any more."""
    path = base(array.run) / package_path(array.cell.request["source"]["path"])
    parts = path.parts
    wild = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), None)
    if wild is not None and not path.exists():
        path = Path(*parts[:wild])
    elif not path.is_dir() and path.suffix.lower() in _FILES:
        path = path.parent
    return path.resolve()


def _line(text: Path | str) -> str:
    name = str(text)
    if "\t" in name or "\n" in name:
        what = f"expected names without tabs and line ends, found {name!r}"
        raise StoreError(what, hint="rename the file")
    return name
