"""The loop without files: samples in, arrays out. Also what the worker drives, one batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import array_api_compat as api
import numpy as np

from actx_core import dtypes
from actx_core.config.keep import Keep
from actx_core.contracts import Model, Pooler
from actx_core.errors import ModelError, OutOfMemory
from actx_core.select_taps import select
from actx_core.types import SAMPLE, Activation, Batch, Sample, Tap

ROW = "row"
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Want:
    """One tap to extract: pooled by ``pools`` into ``stored``, kept as ``dtype`` (logical).

    ``renamed``: the names of the tap's axes are not the model's, but follow their order.
    """

    tap: Tap
    pools: tuple[Pooler, ...]
    stored: Tap
    dtype: str
    renamed: bool = False


@dataclass(frozen=True)
class Rows:
    """What one batch gave: ``arrays[tap]`` of shape (rows, *row_shape), ``tables[kind]`` their columns."""

    arrays: dict[str, np.ndarray]
    tables: dict[str, Columns]
    batch: int


@dataclass(frozen=True)
class _Prepared:
    """A batch ready for the device; ``chosen`` are the sequences and ``kept`` the points that stay."""

    batch: Batch
    samples: Sequence[Sample]
    columns: Columns
    chosen: np.ndarray
    kept: Mapping[str, np.ndarray]


@dataclass
class Extraction:
    """One model, opened for some taps. ``prepare`` may run in other threads, ``forward`` in one.

    ``keep`` narrows what is pooled and stored, ``share`` is the seeded share of rows that is kept.
    """

    model: Model[Any]
    wants: Mapping[str, Want]
    keep: Keep | None = None
    share: float = 1.0
    seed: int = 0
    _whole: bool = field(init=False)

    def __post_init__(self) -> None:
        self._whole = all(want.stored.row_kind == SAMPLE for want in self.wants.values())

    def open(self) -> None:
        self.model.open(list(self.wants))

    def wanted(self, sample: Sample) -> bool:
        """Whether any row of a sample is kept, as far as its own columns tell."""
        if self._whole and not self._drawn(sample):
            return False
        if self.keep is None or not self.keep.names <= {"sample", "replicate", *sample.columns}:
            return True
        columns = {"sample": sample.id, "replicate": sample.replicate, **sample.columns}
        return bool(self.keep({k: np.asarray([v]) for k, v in columns.items()})[0])

    def prepare(self, samples: Sequence[Sample]) -> _Prepared:
        """Loaded samples to one batch on the host."""
        batch = self.model.prepare(samples)
        if lost := sorted(set(range(len(samples))) - set(batch.samples)):
            raise ModelError(
                f"prepare leaves out {len(lost)} of {len(samples)} samples",
                where=samples[lost[0]].id,
                hint="Batch.samples must name each sample",
            )
        ordered = [samples[i] for i in batch.samples]
        columns = _sample_columns(batch, ordered)
        kept = self._kept(batch, columns)
        stays = kept.pop(SAMPLE, np.ones(len(ordered), bool))
        return _Prepared(batch, ordered, columns, np.flatnonzero(stays), kept)

    def forward(self, prepared: _Prepared) -> Callable[[], Rows]:
        """One forward pass. The function returned waits for the copy to the host and gives the rows."""
        whole = self._sample_rows(prepared)
        tables = {SAMPLE: {name: values[whole] for name, values in prepared.columns.items()}}

        def pool(name: str, activation: Activation) -> Activation:
            want = self.wants[name]
            if want.renamed:
                activation = replace(activation, axes=want.tap.axes)
            _check(want, activation, len(prepared.samples))
            activation = _narrow(activation, prepared.kept)
            for pooler in want.pools:
                activation = pooler(activation, prepared.batch)
            if want.stored.varying:
                array, table = self._points(want, activation, prepared)
                _same_rows(tables, want, table)
            else:
                array = _take(_in_order(activation, (SAMPLE, *want.stored.row_axes)), whole)
            if tuple(array.shape[1:]) != want.stored.row_shape:
                raise ModelError(
                    f"expected rows of shape {list(want.stored.row_shape)}, as the tap declares, found"
                    f" {list(array.shape[1:])}",
                    where=name,
                )
            return Activation(_cast(array, want.dtype), (ROW, *want.stored.row_axes))

        found = self.model.extract(prepared.batch, pool)
        missing = self.wants.keys() - found.keys()
        if missing:
            raise ModelError(f"the model gave no activation for: {', '.join(sorted(missing))}")
        wait = self.model.to_host({name: found[name].array for name in self.wants})

        def rows() -> Rows:
            arrays = {name: _encoded(a, self.wants[name].dtype) for name, a in wait().items()}
            return Rows(arrays, tables, len(prepared.samples))

        return rows

    def forward_halving(self, prepared: _Prepared) -> list[Callable[[], Rows]]:
        """``forward``; where memory does not suffice, the batch is halved until it does."""
        try:
            return [self.forward(prepared)]
        except Exception as error:
            if not self.model.out_of_memory(error):
                raise
            failure = f"{error}".splitlines()[0] if str(error) else type(error).__name__
        samples = prepared.samples
        if len(samples) <= 1:
            raise OutOfMemory(
                f"a batch of one sample does not fit in memory; the largest tap is {self._largest()}:"
                f" {failure}",
                where=samples[0].id if samples else "",
                hint="take fewer taps at a time (--only), pool them, or use device = 'cpu'",
            )
        middle = len(samples) // 2
        halves = [self.prepare(samples[:middle]), self.prepare(samples[middle:])]
        return [wait for half in halves for wait in self.forward_halving(half)]

    def _largest(self) -> str:
        """The tap that takes most memory before pooling, with its bytes for one sample."""
        tap = max((want.tap for want in self.wants.values()), key=lambda t: t.sample_bytes)
        return f"'{tap.name}' ({tap.sample_bytes:,} bytes)"

    def _drawn(self, sample: Sample) -> bool:
        return self.share >= 1 or bool(_generator(self.seed, sample).random() < self.share)

    def _sample_rows(self, prepared: _Prepared) -> np.ndarray:
        """The sequences that become rows of kind sample."""
        if self.share >= 1:
            return prepared.chosen
        drawn = [self._drawn(prepared.samples[i]) for i in prepared.chosen]
        return np.asarray(prepared.chosen[np.array(drawn, bool)])

    def _kept(self, batch: Batch, columns: Columns) -> dict[str, np.ndarray]:
        """Per axis, which of its points the keep expression keeps."""
        if self.keep is None:
            return {}
        for axis, more in batch.columns.items():
            if axis != SAMPLE and self.keep.names & (more.keys() - columns.keys()):
                if batch.offsets is None:
                    most = max(values.ndim for values in more.values()) - 1
                    wide = {n: v.reshape(-1, *[1] * most) for n, v in columns.items()}
                else:
                    owner = np.repeat(np.arange(len(batch.offsets) - 1), np.diff(batch.offsets))
                    wide = {name: values[owner] for name, values in columns.items()}
                return {axis: self.keep({**wide, **more})}
        return {SAMPLE: self.keep(columns)}

    def _points(
        self, want: Want, activation: Activation, prepared: _Prepared
    ) -> tuple[Any, Columns]:
        """The points of a tap whose size varies, as rows on the device, and their table."""
        varying = want.stored.varying
        if activation.offsets is not None:
            array = activation.array
            owner, place, index = _packed_points(activation)
        else:
            array = _in_order(activation, (SAMPLE, *varying, *want.stored.row_axes))
            owner, place, index = _padded_points(activation, varying, array.shape)
            array = api.array_namespace(array).reshape(array, (-1, *want.stored.row_shape))
        stays = np.isin(owner, prepared.chosen) & self._draw_points(owner, prepared.samples)
        owner, index = owner[stays], index[stays]
        table: Columns = {name: prepared.columns[name][owner] for name in ("sample", "replicate")}
        place = [coordinate[stays] for coordinate in place]
        table |= zip(varying, place, strict=True)
        for columns in (prepared.batch.columns, activation.columns):
            for at, axis in enumerate(varying):
                for name, values in columns.get(axis, {}).items():
                    flat = values.ndim == 1 or activation.offsets is not None
                    points = (owner, *place[at : at + values.ndim - 1])
                    table[name] = values.reshape(-1)[index] if flat else values[points]
        return _take(array, index), table

    def _draw_points(self, owner: np.ndarray, samples: Sequence[Sample]) -> np.ndarray:
        """Which points the seeded share keeps; each sample draws by itself, whatever its batch."""
        if self.share >= 1:
            return np.ones(len(owner), bool)
        counts = np.bincount(owner, minlength=len(samples))
        draws = [_generator(self.seed, s).random(n) for s, n in zip(samples, counts, strict=True)]
        return np.asarray(np.concatenate(draws) < self.share)


def extract(
    model: Any,
    samples: Iterable[Any],
    taps: Sequence[str],
    pool: Sequence[Pooler] = (),
    dtype: str = "",
) -> dict[str, np.ndarray]:
    """Activations of some taps in memory: no files, no registry.

    ``model`` is a Model or a plain ``nn.Module``; ``samples`` are Samples, or arrays for which ids are
    made up. Returns ``{tap: array}`` with one row per sample, or per point where the size varies.

    Raises TapError where a pattern matches nothing, ModelError where the forward fails.
    """
    given = [s if isinstance(s, Sample) else Sample(str(i), s) for i, s in enumerate(samples)]
    if not isinstance(model, Model):
        from actx_core.torch import wrap

        model = wrap(model, given[0].load() if given else None)
    chosen, _ = select(
        list(model.taps(given[0] if given else None)), taps, model.presets(), model.aliases()
    )
    wants = {}
    for tap in chosen:
        stored = reduce(lambda t, pooler: pooler.tap(t), pool, tap)
        wants[tap.name] = Want(tap, tuple(pool), stored, dtype or stored.dtype)
    run = Extraction(model, wants)
    run.open()
    try:
        parts: dict[str, list[np.ndarray]] = {name: [] for name in wants}
        for batch in model.batches(given):
            loaded = [replace(s, data=s.load()) for s in batch]
            for wait in run.forward_halving(run.prepare(loaded)):
                for name, array in wait().arrays.items():
                    parts[name].append(array)
    finally:
        model.close()
    empty = {
        n: np.empty((0, *w.stored.row_shape), dtypes.gathered(w.dtype)) for n, w in wants.items()
    }
    return {
        name: dtypes.decode(np.concatenate(arrays) if arrays else empty[name], wants[name].dtype)
        for name, arrays in parts.items()
    }


def _generator(seed: int, sample: Sample) -> np.random.Generator:
    text = f"{seed}/{sample.id}/{sample.replicate}"
    return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def _sample_columns(batch: Batch, samples: Sequence[Sample]) -> Columns:
    columns: Columns = {
        "sample": np.array([s.id for s in samples], dtype=object),
        "replicate": np.array([s.replicate for s in samples]),
    }
    for name in dict.fromkeys(name for s in samples for name in s.columns):
        columns[name] = np.array([s.columns.get(name) for s in samples])
    return {**columns, **batch.columns.get(SAMPLE, {})}


def _check(want: Want, activation: Activation, samples: int) -> None:
    """Refuse axes other than the declared ones, and a number of samples that is not the batch's."""
    expected = want.tap.axes[1:] if activation.offsets is not None else want.tap.axes
    if sorted(activation.axes) != sorted(expected):
        raise ModelError(
            f"the activation has axes {list(activation.axes)}, the tap declared {list(expected)}",
            where=want.tap.name,
        )
    if activation.offsets is not None:
        found = len(activation.offsets) - 1
    else:
        found = activation.array.shape[activation.axes.index(SAMPLE)]
    if found != samples:
        raise ModelError(
            f"the activation has {found} samples, the batch {samples}", where=want.tap.name
        )


def _narrow(activation: Activation, kept: Mapping[str, np.ndarray]) -> Activation:
    """Mask what the keep expression leaves out."""
    for axis, keep in kept.items():
        if axis not in activation.axes:
            continue
        axes: tuple[str, ...] = (axis,)
        if activation.offsets is None and axis != SAMPLE:
            first = activation.axes.index(axis)
            axes = (SAMPLE, *activation.axes[first : first + keep.ndim - 1])
        sizes = dict(zip(axes, keep.shape, strict=True))
        order = [int(i) for i in np.argsort([activation.axes.index(a) for a in axes])]
        mask = keep.transpose(order).reshape([sizes.get(a, 1) for a in activation.axes])
        if activation.mask is not None:
            mask = mask & activation.mask
        activation = replace(activation, mask=mask)
    return activation


def _in_order(activation: Activation, axes: Sequence[str]) -> Any:
    """The array with its axes in this order."""
    if tuple(activation.axes) == tuple(axes):
        return activation.array
    order = tuple(activation.axes.index(axis) for axis in axes)
    return api.array_namespace(activation.array).permute_dims(activation.array, order)


def _padded_points(
    activation: Activation, varying: Sequence[str], shape: Sequence[int]
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Owner, coordinates and flat index of each real point of a padded activation."""
    grid = tuple(shape[: 1 + len(varying)])
    mask = np.ones(grid, bool)
    if activation.mask is not None:
        order = [activation.axes.index(a) for a in (SAMPLE, *varying)]
        rest = tuple(i for i in range(len(activation.axes)) if i not in order)
        flat = np.asarray(activation.mask.any(axis=rest))
        turned = flat.transpose([int(i) for i in np.argsort(np.argsort(order))])
        mask = np.broadcast_to(turned, grid)
    index = np.flatnonzero(mask)
    owner, *place = np.unravel_index(index, grid)
    return owner, list(place), index


def _packed_points(activation: Activation) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Owner, coordinate and flat index of each real point of a packed activation."""
    offsets = np.asarray(activation.offsets)
    counts = np.diff(offsets)
    owner = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    mask = np.ones(len(owner), bool)
    if activation.mask is not None:
        inner = tuple(range(1, activation.mask.ndim))
        mask = np.broadcast_to(activation.mask.any(axis=inner), owner.shape)
    index = np.flatnonzero(mask)
    return owner[index], [place[index]], index


def _take(array: Any, index: np.ndarray) -> Any:
    if len(index) == array.shape[0]:
        return array
    xp = api.array_namespace(array)
    return xp.take(array, xp.asarray(index, device=api.device(array)), axis=0)


def _cast(array: Any, dtype: str) -> Any:
    """To the storage type on the device, where its namespace has that type."""
    name = "float32" if dtype == dtypes.INT8 else dtype
    target = getattr(api.array_namespace(array), name, None)
    if target is None or array.dtype == target:
        return array
    return api.array_namespace(array).astype(array, target)


def _encoded(array: np.ndarray, dtype: str) -> np.ndarray:
    """To the stored type on the host, unless the device has done that."""
    return array if array.dtype == dtypes.gathered(dtype) else dtypes.encode(array, dtype)


def _same_rows(tables: dict[str, Columns], want: Want, table: Columns) -> None:
    """Keep the table of a kind of rows; every tap of that kind must give the same rows."""
    kind = want.stored.row_kind
    known = tables.setdefault(kind, table)
    for name in known.keys() & table.keys():
        if len(known[name]) != len(table[name]) or (known[name] != table[name]).any():
            raise ModelError(
                f"its rows of kind '{kind}' are not those of the other taps of that kind",
                where=want.tap.name,
                hint="give the tap a kind of its own",
            )
    known.update(table)
