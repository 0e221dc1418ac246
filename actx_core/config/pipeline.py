"""A checked pipeline: what the file says, with every component's options validated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from actx_core.contracts import Config, InputPath, Pooler
from actx_core.hookspecs import Component

StoreDtype = Literal["", "float64", "float32", "float16", "bfloat16", "int8_per_channel"]


def _bytes(text: str) -> int:
    match = re.fullmatch(r"\s*([0-9.]+)\s*(k|M|G|T)?B?\s*", text)
    if match is None:
        raise ValueError(f"expected a size such as '50GB', got {text!r}")
    return int(float(match[1]) * {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(match[2] or "", 1))


class RunOptions(Config):
    """The table ``[run]``."""

    out: InputPath
    """Folder of the run, relative to the pipeline file."""
    batch_size: int | None = Field(default=None, ge=1)
    """Samples in one forward pass, for models that do not say their own."""
    shard_size: int | None = Field(default=None, ge=1)
    """Samples in one shard; by default chosen so that a shard stays below 128 MB."""
    seed: int = Field(default=0, ge=0)
    """Handed to every component that has a seed and does not say its own."""
    device: str = "auto"
    """auto, cpu, mps, cuda or cuda:N, for models that do not say their own."""
    on_error: Literal["raise", "skip"] = "raise"
    """What a sample that cannot be read does: stop the run, or be left out and listed."""
    confirm_above: str = "50GB"
    """Ask before writing more than this: a number with kB, MB, GB or TB."""

    @field_validator("confirm_above")
    @classmethod
    def _is_size(cls, value: str) -> str:
        _bytes(value)
        return value

    @property
    def confirm_bytes(self) -> int:
        """``confirm_above`` in bytes."""
        return _bytes(self.confirm_above)


class RowOptions(Config):
    """The table ``[rows]``."""

    keep: str = ""
    """Keep the rows for which this expression on columns is true, such as ``not special``."""
    sample: float = Field(default=1.0, gt=0, le=1)
    """Seeded share of the rows to keep."""


class JoinOptions(Config):
    """One ``[[join]]``: a table whose columns are added to rows on reading."""

    path: InputPath
    """CSV, TSV or Parquet."""
    on: str = "sample"
    """Column that both have."""


@dataclass(frozen=True)
class Entry:
    """One component of a pipeline: its ``as`` id, its options, and the table as it was given."""

    id: str
    component: Component
    config: Config
    given: Mapping[str, Any]


@dataclass(frozen=True)
class SourceEntry(Entry):
    """A ``[[source]]``. ``limit``: the first N samples; ``fraction``: a seeded share of those."""

    limit: int | None = None
    fraction: float = 1.0


@dataclass(frozen=True)
class TapRequest:
    """Patterns of taps with their own pooling, storage type and axes; None or empty: the defaults."""

    match: tuple[str, ...]
    pool: tuple[Pooler, ...] | None = None
    store_dtype: StoreDtype = ""
    axes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ModelEntry(Entry):
    """A ``[[model]]`` with the taps asked of it."""

    taps: tuple[TapRequest, ...] = ()


@dataclass(frozen=True)
class StoreEntry(Entry):
    """``[store]``. ``join``: one file per array at the end; ``dtype``: default storage type."""

    join: bool = True
    dtype: StoreDtype = ""


@dataclass(frozen=True)
class AnalysisEntry(Entry):
    """An ``[[analyze]]``. ``on``: globs on ``source/model/tap``, or the ``as`` of another analysis."""

    on: tuple[str, ...] = ("**",)


@dataclass(frozen=True)
class ExportEntry(Entry):
    """An ``[[export]]``: a format and where it goes."""

    path: Path = field(default_factory=Path)


@dataclass(frozen=True)
class PipelineConfig:
    """A pipeline whose every option has been checked.

    ``given`` is the file after overrides, as a dict.

    ``base`` is the folder that relative paths start from.
    """

    given: Mapping[str, Any]
    run: RunOptions
    sources: tuple[SourceEntry, ...]
    models: tuple[ModelEntry, ...]
    store: StoreEntry
    executor: Entry
    pool: tuple[Pooler, ...] = ()
    rows: RowOptions = RowOptions()
    joins: tuple[JoinOptions, ...] = ()
    analyses: tuple[AnalysisEntry, ...] = ()
    exports: tuple[ExportEntry, ...] = ()
    base: Path = Path()
    file: Path | None = None
    overrides: tuple[str, ...] = ()
