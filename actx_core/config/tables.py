"""The keys of each table of a pipeline that belong to core; the others belong to the component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import Field, field_validator

from actx_core.config.pipeline import StoreDtype
from actx_core.contracts import Config, InputPath
from actx_core.types import SAMPLE

VERSION = 1
"""Format of pipeline files: their first key is ``actx = 1``."""


class Keys(Config):
    """Keys beside ``type`` that core reads from a component's table."""


class NamedKeys(Keys):
    """Of a table whose entry other things refer to."""

    as_: str | None = Field(default=None, alias="as")
    """What the entry is called; unique among its kind."""


class SourceKeys(NamedKeys):
    """Where samples come from."""

    limit: int | None = Field(default=None, ge=1)
    """Take the first N samples."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Take a seeded share of the samples."""


class ModelKeys(NamedKeys):
    """A model and the taps to extract; ``[[model.tap]]`` is read apart."""

    taps: tuple[str, ...] = Field(default=(), min_length=1)
    """Patterns and selectors of the taps to extract, with the default pooling."""


class TapKeys(Keys):
    """Taps with their own pooling and storage type; ``pool`` is read apart."""

    match: tuple[str, ...] = Field(min_length=1)
    """Patterns and selectors of taps."""
    store_dtype: StoreDtype = ""
    """Type in which the values are stored."""
    axes: tuple[str, ...] | None = None
    """Names of the axes, the first of them 'sample', where the probe would name them wrongly."""

    @field_validator("axes")
    @classmethod
    def _begins_with_sample(cls, axes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if axes is not None and (axes[:1] != (SAMPLE,) or len(set(axes)) < len(axes)):
            raise ValueError(f"expected '{SAMPLE}' first and each name once, found {list(axes)}")
        return axes


class StoreKeys(Keys):
    """How arrays are stored."""

    join: bool = True
    """Join the files of the shards to one file per array at the end."""
    dtype: StoreDtype = ""
    """Type in which values are stored; by default that of the tap."""


class AnalyzeKeys(NamedKeys):
    """An analysis of stored activations."""

    on: tuple[str, ...] = Field(default=("**",), min_length=1)
    """Globs on source/model/tap, or the ``as`` of another analysis."""


class ExportKeys(Keys):
    """A file in another format, written at the end of a run."""

    path: InputPath
    """Where the export goes, relative to the pipeline file."""


K = TypeVar("K", bound=Keys)


@dataclass(frozen=True)
class Section(Generic[K]):
    """A table that names a component: ``key`` holds its name, ``apart`` lists tables that are read apart."""

    name: str
    kind: str
    keys: type[K]
    key: str = "type"
    default: str = ""
    apart: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """The fields of ``keys`` as they stand in a file."""
        return tuple(field.alias or name for name, field in self.keys.model_fields.items())

    @property
    def own(self) -> tuple[str, ...]:
        """Every key that belongs to core."""
        return (self.key, *self.named, *self.apart)


SOURCE = Section("source", "source", SourceKeys)
MODEL = Section("model", "model", ModelKeys, apart=("tap",))
POOL = Section("pool", "pooler", Keys)
STORE = Section("store", "store", StoreKeys, default="npy")
EXECUTOR = Section("executor", "executor", Keys, default="serial")
ANALYZE = Section("analyze", "analyzer", AnalyzeKeys)
EXPORT = Section("export", "format", ExportKeys, key="format")

TABLES = (
    "actx", "run", "source", "model", "pool", "rows", "store", "executor", "join", "analyze", "export",
)  # fmt: skip
"""The keys at the top of a pipeline."""
