"""A position by name as the vector that a run stores for it: one of the run, or one of any file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actx_core import (
    Config,
    ConfigError,
    ModelError,
    Preview,
    Sample,
    StoreError,
    TapArray,
    extract,
)
from actx_katago.model.config import KatagoConfig
from actx_katago.model.katago import Katago
from actx_katago.outputs.arrays import base
from actx_katago.positions.config import PositionsConfig, SelfplayConfig, SgfConfig
from actx_katago.positions.listed import Positions
from actx_katago.positions.selfplay_source import Selfplay
from actx_katago.positions.sgf_source import Sgf

if TYPE_CHECKING:
    import numpy as np

C = TypeVar("C", bound=Config)

ON_POINTS = {"stone", "ownership", "policy", "y", "x"}
"""Columns of points: rows kept by them are pooled from a part of the board."""


@dataclass(frozen=True)
class Query:
    """A position: its vector, what is known of it, its picture, and its row if it is of the run."""

    sample: str
    vector: np.ndarray
    columns: Mapping[str, Any]
    preview: Preview | None
    row: int | None = None


def find_query(array: TapArray, position: str) -> Query:
    """The position that a sample id, ``FILE.npz:ROW`` or ``FILE.sgf:TURN`` means; ids go first.

    A file's position is extracted as the run's were: same network, tap, pooling, symmetry, counterfactual.
    Raises ConfigError where there is no such position.
    """
    ids = array.rows["sample"].to_pylist()
    if position in ids:
        row = ids.index(position)
        known = array.rows.slice(row, 1).to_pylist()[0]
        return Query(position, array[row], known, run_source(array).preview([position])[0], row)
    path, _, number = position.rpartition(":")
    if not number.isdecimal() or not path:
        raise ConfigError(
            f"no position '{position}' in {array.name}",
            hint=f"give an id such as {ids[0]}, or FILE.npz:ROW, or FILE.sgf:TURN",
        )
    source, name = _file_source(array, Path(path))
    sample = _one_of(source, f"{name}:{number}", position)
    preview = source.preview([sample.id])[0]
    return Query(position, _vector(array, sample), sample.columns, preview)


def run_source(array: TapArray) -> Positions[Any]:
    """The source that an array's positions came from. Raises StoreError if they are no Go positions."""
    options = array.cell.request["source"]
    if options["type"] == "katago/sgf":
        return Sgf(_config(SgfConfig, array, options))
    if options["type"] == "katago/selfplay":
        return Selfplay(_config(SelfplayConfig, array, options))
    raise StoreError(
        f"expected positions of the sources selfplay or sgf, found {options['type']}",
        where=array.name,
    )


def _file_source(array: TapArray, path: Path) -> tuple[Positions[Any], str]:
    """A source of one file that shows positions as the run's does, and the file's name in ids.

    ``path`` may end in ``#GAME``, where a file has several.
    """
    name, file = path.name, path
    if not file.exists() and "#" in name:
        file = path.with_name(name.rpartition("#")[0])
    shown = run_source(array).config
    options = {field: getattr(shown, field) for field in PositionsConfig.model_fields}
    options["path"] = file.absolute()
    if file.suffix.lower() in Sgf.endings:
        if isinstance(shown, SgfConfig):
            options |= {"rules": shown.rules, "komi": shown.komi}
        return Sgf(SgfConfig(**options)), name
    return Selfplay(SelfplayConfig(**options)), name


def _one_of(source: Positions[Any], id: str, position: str) -> Sample:
    listed = source.listing()
    found = next((sample for sample in listed if sample.id == id), None)
    if found is not None:
        return found
    only = listed[0] if listed else None
    if only is not None and ":" not in only.id:
        only.load()  # the file could not be read: this says why
    ends = f"they go from {listed[0].id} to {listed[-1].id}" if listed else "it has none"
    raise ConfigError(f"no position '{position}' in the file: {ends}")


def _vector(array: TapArray, sample: Sample) -> np.ndarray:
    request = array.cell.request
    narrowed = ON_POINTS & set(re.findall(r"\w+", request["rows"]["keep"]))
    if narrowed:
        raise ConfigError(
            f"the run pooled the points that [rows] keep chose by {', '.join(sorted(narrowed))};"
            " a position of a file cannot be pooled like that",
            where=array.name,
            hint="give the id of a position of the run",
        )
    if request["model"]["type"] != "katago/katago":
        raise StoreError(
            f"expected a run of the model katago, found {request['model']['type']}",
            where=array.name,
        )
    model = Katago(_config(KatagoConfig, array, request["model"]))
    stored = array.run.manifest["cells"][array.cell.id]["model"]["facts"]["network"]["sha256"]
    if model.facts["sha256"] != stored:
        raise ModelError(
            "the network is no longer the one that the run used",
            where=str(model.config.network),
            hint="put the old file back, or run the pipeline anew",
        )
    pools = array.tap.poolers()
    found = extract(model, [sample], [array.spec.tap], pool=pools, dtype=array.spec.dtype)
    vector: np.ndarray = found[array.spec.tap][0]
    return vector


def _config(kind: type[C], array: TapArray, options: Mapping[str, Any]) -> C:
    """Stored options, with paths that start where those of the pipeline did."""
    known = {name: value for name, value in options.items() if name in kind.model_fields}
    return kind.model_validate(known, context={"base": base(array.run)})
