"""Looks at the first samples of every source, as they are and as every model gets them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from actx_core.config.pipeline import ModelEntry, PipelineConfig, SourceEntry
from actx_core.errors import ActxError, ConfigError, SourceError
from actx_core.plan import build_model
from actx_core.results import order_of
from actx_core.types import Preview, Sample

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 224
"""Pixels of one picture's larger side on a contact sheet."""
MARGIN = 8
LABEL = 16
WIDEST = 36
"""Characters of a sample's id that fit over its picture."""


@dataclass(frozen=True)
class SourcePeek:
    """A source: how many samples it has (None: unknown), what they are, and the first of them.

    ``columns`` maps names to Arrow types, ``rows`` are their values, ``contents`` describe the data.
    """

    id: str
    gives: str
    samples: int | None
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    contents: Sequence[str]


@dataclass(frozen=True)
class CellPeek:
    """What a model gets: its inputs in a few words, and its sequences.

    ``samples`` are the ids of their samples, ``previews`` show them (None where the model cannot).
    """

    id: str
    inputs: str
    samples: Sequence[str]
    previews: Sequence[Preview | None]


@dataclass(frozen=True)
class Peek:
    """The first samples of a pipeline's sources, and of its cells."""

    sources: Sequence[SourcePeek]
    cells: Sequence[CellPeek]


def peek(config: PipelineConfig, count: int = 3) -> Peek:
    """The first ``count`` samples of each source, prepared by each model; no weights are loaded.

    Raises ConfigError where a source and a model do not fit, SourceError for data that cannot be read.
    """
    sources, cells = [], []
    for entry in config.sources:
        shown, samples = _source(config, entry, count)
        sources.append(shown)
        cells += [_cell(entry, shown.gives, model, samples) for model in config.models]
    return Peek(sources, cells)


def _source(
    config: PipelineConfig, entry: SourceEntry, count: int
) -> tuple[SourcePeek, list[Sample]]:
    import pyarrow as pa

    found = order_of(config, entry)
    read = (sample for shard in found.shards("", 4096) for _, sample in found.read(shard))
    samples = [_loaded(sample) for sample in islice(read, count)]
    rows = [{"sample": s.id, "replicate": s.replicate, **s.columns} for s in samples]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: str(pa.array([row.get(name) for row in rows]).type) for name in names}
    contents = [content(s.data) for s in samples]
    return SourcePeek(entry.id, found.gives, found.samples, columns, rows, contents), samples


def _loaded(sample: Sample) -> Sample:
    try:
        return replace(sample, data=sample.load())
    except ActxError:
        raise
    except Exception as error:
        why = f"cannot be read: {type(error).__name__}: {error}"
        raise SourceError(why, where=sample.id, hint="repair or remove it") from error


def _cell(
    source: SourceEntry, gives: str, entry: ModelEntry, samples: Sequence[Sample]
) -> CellPeek:
    model = build_model(entry)
    if model.accepts != gives:
        raise ConfigError(
            f"source '{source.id}' gives {gives}, model '{entry.id}' accepts {model.accepts}",
            hint="pair a source and a model of the same kind",
        )
    name = f"{source.id}/{entry.id}"
    if not samples:
        return CellPeek(name, "nothing", [], [])
    batch = model.prepare(samples)
    ids = [samples[position].id for position in batch.samples]
    return CellPeek(name, content(batch.inputs), ids, model.preview(batch))


def content(data: Any) -> str:
    """What data are, in a few words: an image's mode and size, an array's dtype and shape, or the text."""
    if isinstance(data, str):
        text = " ".join(data.split())
        return text if len(text) <= 60 else f"{text[:59]}…"
    if hasattr(data, "dtype") and hasattr(data, "shape"):
        dtype = str(data.dtype).rpartition(".")[2]
        return f"{dtype} array, {' x '.join(map(str, data.shape)) or 'scalar'}"
    if hasattr(data, "mode") and hasattr(data, "size"):
        return f"{data.mode} {data.size[0]} x {data.size[1]}"
    if isinstance(data, tuple | list) and len(data) <= 4:
        return " and ".join(map(content, data)) or "nothing"
    return type(data).__name__


def contact_sheet(cells: Sequence[CellPeek]) -> bytes | None:
    """One PNG of all pictures: a row for each cell, a column for each sequence; None without any."""
    rows = {cell.id: pictures for cell in cells if (pictures := _pictures(cell))}
    if not rows:
        return None
    from PIL import Image, ImageDraw

    width = MARGIN + (SIDE + MARGIN) * max(len(pictures) for pictures in rows.values())
    height = MARGIN + (2 * LABEL + SIDE + MARGIN) * len(rows)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    y = MARGIN
    for name, pictures in rows.items():
        draw.text((MARGIN, y), name, fill="black")
        for column, (sample, picture) in enumerate(pictures):
            x = MARGIN + column * (SIDE + MARGIN)
            draw.text((x, y + LABEL), sample[:WIDEST], fill="gray")
            sheet.paste(picture, (x, y + 2 * LABEL))
        y += 2 * LABEL + SIDE + MARGIN
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()


def _pictures(cell: CellPeek) -> list[tuple[str, Image]]:
    """Sample and picture of a cell's sequences, scaled so that the larger side is SIDE."""
    shown = [
        (sample, preview.data)
        for sample, preview in zip(cell.samples, cell.previews, strict=True)
        if preview and preview.kind == "image" and isinstance(preview.data, bytes)
    ]
    if not shown:
        return []
    from PIL import Image, ImageOps

    return [
        (sample, ImageOps.contain(Image.open(io.BytesIO(data)).convert("RGB"), (SIDE, SIDE)))
        for sample, data in shown
    ]
