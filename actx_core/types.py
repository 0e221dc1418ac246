"""The values that cross the contracts: samples, taps, activations, shards, receipts.

All are frozen dataclasses. Nothing here imports numpy at run time, so that listing plugins stays cheap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Sample:
    """One input, or one replicate of it.

    ``data`` may be a function without arguments: it is called in a worker's thread, so that a file that
    cannot be read is one sample's error. ``columns`` are scalars that go into the table of samples.
    ``stamp`` is a cheap mark of the content (size and time of a file): while it stays the same, the
    content is taken to be the same.
    """

    id: str
    data: Any
    columns: Mapping[str, Any] = field(default_factory=dict)
    replicate: int = 0
    stamp: str = ""

    def load(self) -> Any:
        """The content, read now if it was given as a function."""
        return self.data() if callable(self.data) else self.data


@dataclass(frozen=True, slots=True)
class Shard:
    """Samples ``start`` to ``stop`` (exclusive) of a cell's source: the unit of work, retry and resume.

    ``stop`` is None where a stream does not know its length. ``cursor`` is JSON by which the source
    jumps to the place; only the source reads it.
    """

    cell: str
    index: int
    start: int
    stop: int | None
    cursor: Any = None


@dataclass(frozen=True, slots=True)
class Tap:
    """A point of a model whose activation can be taken.

    ``axes`` begin with ``"sample"``. ``shape`` holds the sizes of ``axes[1:]`` for one sample; None is a
    size that varies between samples, and such axes become rows. ``kind`` names that kind of row; without
    it, it is the varying axis, or ``"point"`` for several. ``rows_at_most`` bounds the rows of one sample.
    ``module`` is the class of the tapped module, ``problem`` the reason why the tap cannot be taken (it
    never fires, it folds the batch …).
    """

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    kind: str = ""
    module: str = ""
    problem: str = ""
    rows_at_most: int | None = None

    def __post_init__(self) -> None:
        if not self.problem and (
            self.axes[:1] != (SAMPLE,) or len(self.axes) != len(self.shape) + 1
        ):
            raise ValueError(
                f"tap {self.name!r}: axes {self.axes} must begin with 'sample' and have one more entry"
                f" than shape {self.shape}"
            )

    @property
    def varying(self) -> tuple[str, ...]:
        """The axes whose size differs between samples."""
        return tuple(a for a, n in zip(self.axes[1:], self.shape, strict=True) if n is None)

    @property
    def row_kind(self) -> str:
        """What one stored row is: ``"sample"``, or a point of the varying axes."""
        if not self.varying:
            return SAMPLE
        return self.kind or (self.varying[0] if len(self.varying) == 1 else "point")

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample's activation before pooling, at most, in float32."""
        return math.prod(self.row_shape) * (self.rows_at_most or 1) * 4

    @property
    def row_axes(self) -> tuple[str, ...]:
        """The axes of one stored row."""
        return tuple(a for a, n in zip(self.axes[1:], self.shape, strict=True) if n is not None)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The sizes of ``row_axes``."""
        return tuple(n for n in self.shape if n is not None)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Published weights of a model, for ``actx models``: ``name`` and ``weights`` as an entry says them.

    ``address`` is where they come from, ``file`` what the download is called in a folder of weights,
    ``parameters`` their number where it is known.
    """

    name: str
    weights: str
    licence: str = ""
    address: str = ""
    file: str = ""
    parameters: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What a model gets in one forward pass.

    ``inputs`` is the model's own. ``samples`` gives, for each sequence of the batch in order, the
    position of its sample in the list that ``prepare`` got. ``columns[axis][name]`` are host arrays known
    before the forward: of shape (samples,) for the axis ``"sample"``, and (samples, size of the axis), or
    flat where the batch is packed, for any other; ``offsets`` (sequences + 1 integers) then tell where
    each sequence begins. What differs along the next axes too has their sizes behind: columns of the
    points of a plane are (samples, y, x) and stand under ``"y"``.
    """

    inputs: Any
    samples: Sequence[int]
    columns: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    offsets: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Activation:
    """One tap's activation for one batch.

    ``array`` stays on the device; any array of the Python array API standard. ``mask`` (host, bool, the
    array's number of dimensions, broadcastable to it) is True where the value is real: not padding, on
    the board. A *packed* activation has no ``"sample"`` axis: its first axis is the varying one, and
    ``offsets`` (host, samples + 1 integers) tell where each sample begins. ``columns`` as in ``Batch``,
    for what only the forward knows.
    """

    array: Any
    axes: tuple[str, ...]
    mask: np.ndarray | None = None
    offsets: np.ndarray | None = None
    columns: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One stored array: ``rows`` x ``row_shape``. ``dtype`` is logical ("bfloat16" is stored as its bits).

    ``axes`` begin with ``"row"``. ``rows`` is None while it is unknown.
    """

    source: str
    model: str
    tap: str
    axes: tuple[str, ...]
    row_shape: tuple[int, ...]
    dtype: str
    rows: int | None = None
    kind: str = SAMPLE

    @property
    def name(self) -> str:
        """``source/model/tap``: how a run calls the array."""
        return f"{self.source}/{self.model}/{self.tap}"

    @property
    def channel(self) -> int | None:
        """The axis of channels: the one called so, else the last; None where a row is one number."""
        if len(self.axes) == 1:
            return None
        return self.axes.index("channel") if "channel" in self.axes else len(self.axes) - 1

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's payload."""
        size = {"float64": 8, "int64": 8, "uint64": 8, "float32": 4, "int32": 4, "uint32": 4}.get(
            self.dtype, 2 if self.dtype.endswith("16") else 1
        )
        for n in self.row_shape:
            size *= n
        return size


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that was left out because ``on_error = "skip"``, and why."""

    sample: str
    why: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """The proof that a shard is on disk; written last.

    ``rows`` counts rows per kind. ``digests`` are the sha256 of the row bytes per tap (whatever the
    format) and, under ``rows.KIND``, of the row tables. ``files`` maps each file, relative to the run, to
    its sha256. ``stats`` holds per tap what ``stats.py`` merges; ``nonfinite`` names, per tap that has any,
    the first value that is not finite. ``batch`` is the largest batch that ran, ``halved`` counts those that
    first did not fit in memory.
    """

    cell: str
    shard: int
    rows: Mapping[str, int]
    digests: Mapping[str, str]
    files: Mapping[str, str]
    stats: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    nonfinite: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    samples: int = 0
    batch: int = 0
    halved: int = 0
    seconds: float = 0.0
    host: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Samples and payload bytes that a worker has done since its last word."""

    cell: str
    shard: int
    samples: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What the driver begins to do now, or has to say; ``of`` counts the samples or steps where known."""

    name: Literal["plan", "extract", "join", "analyze", "export", "report", "done", "note"]
    message: str
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture of a row for reports: PNG or JPEG bytes, or text, or SVG markup.

    ``span`` are the characters of a text that the row is about, such as a token's.
    """

    kind: Literal["image", "text", "svg"]
    data: bytes | str
    caption: str = ""
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What an analyzer found.

    ``tables[name]`` maps columns to equally long sequences; a table ``assignments`` with a line per row of
    the input gives its columns to the rows of a chain. ``arrays[name]`` is (array, axes); its first
    axis is ``"row"`` where it follows the input's rows, and then another analyzer can read it.
    ``figures[name]`` is a PNG or SVG file's content. ``groups[title]`` lists row numbers of the input that
    the report shows as previews. Titles that share what stands before ``": "`` stand under it as a heading;
    ``"part 1, smallest"`` after ``"part 1"`` stands beside it. ``notes`` are sentences, ``metrics`` named
    figures.
    """

    tables: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    arrays: Mapping[str, tuple[np.ndarray, tuple[str, ...]]] = field(default_factory=dict)
    figures: Mapping[str, bytes] = field(default_factory=dict)
    groups: Mapping[str, Sequence[int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker needs for one cell; JSON throughout, so that any engine can carry it.

    ``pipeline`` is the given pipeline cut down to this cell, ``base`` the folder its paths start from.
    ``cell`` is the cell as it stands in plan.json, ``taps`` the names to extract now, ``plugins`` the
    plugins that are needed, with their versions.
    """

    root: str
    base: str
    pipeline: Mapping[str, Any]
    cell: Mapping[str, Any]
    taps: tuple[str, ...]
    plugins: Mapping[str, str] = field(default_factory=dict)
    on_error: Literal["raise", "skip"] = "raise"


Pool = Callable[[str, Activation], Activation]
"""What core hands to ``Model.extract``: pools one tap's activation the moment it exists."""
