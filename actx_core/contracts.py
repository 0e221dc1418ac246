"""The base classes that plugins subclass and core calls.

A component is built from its checked Config; one instance belongs to one thread unless a method says
otherwise. Values that cross these calls are in :mod:`actx_core.types`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from actx_core.errors import ModelError, StoreError
from actx_core.types import (
    Activation,
    ArraySpec,
    Batch,
    Checkpoint,
    Job,
    Pool,
    Preview,
    Progress,
    Receipt,
    Result,
    Sample,
    Shard,
    Tap,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from actx_core.results import Run


class Config(BaseModel):
    """Options of a component, as they stand in a pipeline. Unknown keys are errors.

    The module that defines a Config imports no framework: mistakes are reported before torch is imported.
    A field ``seed``, ``device`` or ``batch_size`` that the pipeline leaves out gets its value from ``[run]``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name_field: ClassVar[str] = "name"
    """The option that a model's name on the command line stands for: ``actx layers NAME``."""

    def label(self) -> str:
        """The default ``as`` of an entry with these options; empty means the component's name."""
        return ""

    def expand(self, given: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The tables that a source or model with these options stands for; none: only for itself.

        ``given`` is its table as written, paths included, and so are the tables returned: with their
        ``type`` and, where there are several, each its ``as``. What the entry says with core's own keys
        (``taps``, ``limit`` …) goes for each of them.
        """
        return ()


def _from_pipeline(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base")
    path = path.expanduser()
    return Path(base) / path if base is not None else path


InputPath = Annotated[Path, AfterValidator(_from_pipeline)]
"""A path in a Config: relative to the folder of the pipeline file."""


class ModelConfig(Config):
    """What every model can be told."""

    batch_size: int = Field(default=32, ge=1)
    """Samples in one forward pass."""


C = TypeVar("C", bound=Config)


class _Component(ABC, Generic[C]):
    """Anything that is built from a Config."""

    def __init__(self, config: C) -> None:
        self.config = config


class Model(_Component[C]):
    """A network, or anything that turns samples into activations."""

    accepts: str = "array"
    """What ``Sample.data`` must be: image (PIL), text, tokens, board, array."""

    @abstractmethod
    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        """Every tap, in the order of the forward pass, with its axes and shape. Needs no weights.

        Taps that cannot be taken are listed too, with their ``problem``.
        """

    def presets(self) -> Mapping[str, Sequence[str]]:
        """Named lists of tap patterns, for the selector ``preset:NAME``."""
        return {}

    def aliases(self) -> Mapping[str, str]:
        """Other names of taps: alias to tap. Where one is asked for, a note says which tap it means."""
        return {}

    @classmethod
    def checkpoints(cls) -> Iterable[Checkpoint]:
        """The published weights that this type of model knows, for ``actx models``; uses no network."""
        return ()

    def check(self) -> Mapping[str, str]:
        """Load the weights and check them: what is found, by tap, for ``actx layers --check``.

        Raises ModelError where the model is not what its taps say.
        """
        return {}

    def save_taps(self, path: Path, taps: Sequence[str]) -> None:
        """Write chosen taps to a file of the domain's own, for ``actx layers --pick --save``."""
        raise ModelError(
            f"cannot write taps to a {path.suffix or 'nameless'} file",
            where=str(path),
            hint="name a pipeline file: pipeline.toml",
        )

    def batches(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        """Group the samples of one shard into batches; the default takes ``batch_size`` in order."""
        size = getattr(self.config, "batch_size", 32)
        batch: list[Sample] = []
        for sample in samples:
            batch.append(sample)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    @abstractmethod
    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Turn loaded samples (``data`` is content) into one batch, on the host.

        Called from several threads at once, and for ``actx peek`` before ``open``.
        """

    @abstractmethod
    def open(self, taps: Sequence[str]) -> None:
        """Load weights and get ready to extract these taps. Once per worker; again for other taps."""

    @abstractmethod
    def extract(self, batch: Batch, pool: Pool) -> Mapping[str, Activation]:
        """One forward pass. Return ``pool(tap, activation)`` for every opened tap.

        Call ``pool`` as soon as an activation exists: it reduces it at once, so that nothing later can
        change it and only the pooled values stay in memory.

        Raises MemoryError, or the framework's own error that ``out_of_memory`` recognises.
        """

    def out_of_memory(self, error: BaseException) -> bool:
        """Whether the error means that a smaller batch would fit."""
        return isinstance(error, MemoryError)

    def to_host(self, arrays: Mapping[str, Any]) -> Callable[[], dict[str, np.ndarray]]:
        """Start copying device arrays to the host; the function returned waits for them.

        It is called in the writer's thread. bfloat16 arrives as uint16.
        """
        import numpy as np

        return lambda: {name: np.asarray(array) for name, array in arrays.items()}

    def preview(self, batch: Batch) -> list[Preview | None]:
        """Each sequence of a batch as the model gets it, for ``actx peek``."""
        return [None] * len(batch.samples)

    def fingerprint(self) -> str:
        """What the numbers depend on beside the Config: a digest of the weights, a revision."""
        return ""

    def describe(self) -> Mapping[str, Any]:
        """Facts for ``run.json`` after ``open``: device, dtype, parameters, licence."""
        return {}

    def close(self) -> None:
        """Free what ``open`` took. Safe to call twice."""


class Source(_Component[C]):
    """Where samples come from: a stream of shards. See ListedSource for data with a known list."""

    gives: str = "array"
    """What ``Sample.data`` is: image (PIL), text, tokens, board, array."""

    @abstractmethod
    def shards(self, size: int) -> Iterator[Shard]:
        """Cut the source into shards of at most ``size`` samples, in a fixed order; ``cell`` stays empty."""

    @abstractmethod
    def read(self, shard: Shard) -> Iterator[Sample]:
        """The samples of one shard, always the same ones in the same order."""

    def fingerprint(self) -> str:
        """What identifies the data beside the Config: a revision, a digest."""
        return ""

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """Small pictures of the samples with these ids, for reports."""
        return [None] * len(samples)


class ListedSource(Source[C]):
    """A source that can list its samples cheaply: core then freezes the order and picks by id."""

    @abstractmethod
    def listing(self) -> Sequence[Sample]:
        """Every sample in order, ids unique, ``data`` as a function; called once. No file is opened."""

    def digest(self, sample: Sample) -> str:
        """sha256 of the sample's content, to tell a touched file from a changed one; empty: not known."""
        return ""

    def shards(self, size: int) -> Iterator[Shard]:
        n = len(self.listing())
        for index, start in enumerate(range(0, n, size)):
            yield Shard("", index, start, min(start + size, n))

    def read(self, shard: Shard) -> Iterator[Sample]:
        yield from self.listing()[shard.start : shard.stop]


class Pooler(Config, ABC):
    """Reduces one activation where it was made. An instance is its own Config: ``Mean(over=("y", "x"))``.

    Written against the Python array API standard, so that it works on numpy and torch, on any device.
    """

    @abstractmethod
    def tap(self, tap: Tap) -> Tap:
        """The tap after pooling: its axes, shape and dtype. Raises TapError if the pooler does not fit."""

    @abstractmethod
    def __call__(self, activation: Activation, batch: Batch) -> Activation:
        """Pool, in the namespace and on the device of the array; ``mask`` and ``offsets`` are honoured."""


class LazyArray(Protocol):
    """An array on disk: numpy comes out of ``array[rows]``."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


class Store(_Component[C]):
    """A file format for rows x row_shape. Core chooses names, renames, syncs, hashes and verifies."""

    suffix: ClassVar[str]
    """File name ending, with its dot."""

    @abstractmethod
    def write(self, path: Path, array: np.ndarray, spec: ArraySpec) -> None:
        """Write all rows to a new file at ``path``. The same array and spec give the same bytes.

        ``array`` is C-contiguous; bfloat16 comes as uint16. ``path`` is a temporary name: core renames it.
        """

    @abstractmethod
    def open(self, path: Path, spec: ArraySpec) -> LazyArray:
        """The stored array, read lazily, in the stored dtype (bfloat16: uint16).

        Raises StoreError where the file is truncated, damaged or does not hold what ``spec`` says.
        """

    @abstractmethod
    def join(self, parts: Sequence[Path], path: Path, spec: ArraySpec) -> None:
        """Write the rows of all parts, in order, to a new file at ``path``, in bounded memory.

        A part may itself be a joined file. The bytes depend only on the rows, not on how they were cut
        among joins (Parquet: on the shards).
        """


def no_previews(rows: Sequence[int]) -> list[Preview | None]:
    """Nothing to show of any row."""
    return [None] * len(rows)


@dataclass(frozen=True, slots=True)
class Input:
    """What an analyzer gets: a named array whose first axis is rows, and the table of those rows.

    ``preview`` shows rows by number. ``digest`` identifies the content.
    """

    name: str
    array: LazyArray
    axes: tuple[str, ...]
    rows: pa.Table
    digest: str
    preview: Callable[[Sequence[int]], list[Preview | None]] = no_previews


class Analyzer(_Component[C]):
    """Turns stored activations into tables, figures and new arrays."""

    many: ClassVar[bool] = False
    """True: one call with all inputs. False: one call per input."""

    @abstractmethod
    def run(self, inputs: Sequence[Input], out: Path) -> Result:
        """Analyse. ``out`` is a folder for checkpoints; what is returned is stored by core."""

    def memory(self, inputs: Sequence[ArraySpec]) -> int | None:
        """Bytes that ``run`` with such inputs takes at most beside the program; None: not known.

        Foretold from shapes for ``actx plan``; ``rows`` is known of all inputs, or an upper bound.
        Raises AnalysisError where such inputs would be refused.
        """
        return None


class Executor(_Component[C]):
    """Decides where workers run; never sees an array."""

    @abstractmethod
    def run(self, job: Job, shards: Sequence[Shard]) -> Iterator[Receipt | Progress]:
        """Do the shards of one cell. Closing the iterator stops the workers after their batch."""


class Format(_Component[C]):
    """Another tool's files: exports of a run, or imports."""

    @abstractmethod
    def write(self, run: Run, path: Path) -> Sequence[Path]:
        """Write the run in this format and return the files; temporary name, then rename."""

    def knows(self, path: Path) -> bool:
        """Whether an existing file or folder is of this format, for ``check`` and ``read``."""
        return False

    def check(self, path: Path) -> Sequence[str]:
        """One sentence per damage, hole or NaN in a file that ``knows`` took; for ``actx verify FILE``."""
        return ()

    def read(self, path: Path) -> Sequence[Input]:
        """The arrays in a file or folder that ``knows`` took, lazily; for ``actx analyze FILE``.

        Their names are those that the file has, without its own. Raises StoreError where it is damaged.
        """
        raise StoreError("this format can be written, not read", where=str(path))
