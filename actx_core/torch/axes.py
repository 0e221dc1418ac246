"""What the axes of every tensor of a forward pass mean, from evidence rather than from their number.

In falling weight: which sizes change when the image grows along y or x; what the modules that make or take
the tensor do to it (convolutions and pooling put channels first, norms last); equal sizes, and those of the
planes found so far; linear layers, which act on the last axis. Views and element-wise modules hand axes on.
What stays unknown is called ``dim1``, ``dim2`` …
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from torch import nn

from actx_core.torch.recording import Event, Key, Record
from actx_core.types import SAMPLE

Shape = tuple[int, ...]
Named = Iterable[tuple[int, str]]

_PLANE = {3: ("token",), 4: ("y", "x"), 5: ("z", "y", "x")}
_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.GroupNorm,
    nn.Fold,
    nn.Unfold,
)
_LAST = (nn.MultiheadAttention, nn.RNNBase, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def name_axes(
    record: Record,
    batch_axes: Sequence[int | None],
    grown: Mapping[str, Mapping[Key, Shape]],
) -> list[tuple[str, ...]]:
    """For each value of the record, the names of its axes with ``"sample"`` moved to the front.

    ``batch_axes`` holds each value's axis of samples; a value without one gets no names. ``grown[axis]``
    are the shapes of a pass over inputs that are larger along ``"y"`` or ``"x"``.
    """
    names = _Names(record, batch_axes)
    names.settle(names.from_growth(grown))
    names.settle(_from_modules(record.events, names, _strong))
    names.settle(names.from_equal_sizes())
    names.settle(names.from_planes())
    names.settle(_from_modules(record.events, names, _weak))
    names.settle(names.from_equal_shapes())
    return [names.finish(value) for value in range(len(record.values))]


class _Names:
    """Names found so far; a name once given stays, and no value has the same name twice."""

    def __init__(self, record: Record, batch_axes: Sequence[int | None]) -> None:
        self.shapes = [value.shape for value in record.values]
        self.keys = [value.key for value in record.values]
        self.links = record.links
        self.batch = batch_axes
        self.names: list[dict[int, str]] = [
            {} if axis is None else {axis: SAMPLE} for axis in batch_axes
        ]
        self._moves: set[int] = set()
        self._no_plane: set[int] = set()

    def settle(self, found: Iterable[tuple[int, Named]]) -> None:
        """Give names, then hand them on through links until nothing changes."""
        for value, named in list(found):
            for axis, name in named:
                self._give(value, axis, name)
        changed = True
        while changed:
            changed = sum(self._last(value) for value in range(len(self.shapes))) > 0
            for a, b, axes in self.links:
                for i, j in enumerate(axes):
                    if j is not None:
                        changed |= self._give(a, i, self.names[b].get(j, ""))
                        changed |= self._give(b, j, self.names[a].get(i, ""))

    def _give(self, value: int, axis: int, name: str) -> bool:
        names = self.names[value]
        if not name or self.batch[value] is None or axis in names or name in names.values():
            return False
        if name in ("y", "x") and value in self._no_plane:
            return False
        names[axis] = name
        return True

    def free(self, value: int) -> list[int]:
        """Axes without a name."""
        return [i for i in range(len(self.shapes[value])) if i not in self.names[value]]

    def _last(self, value: int) -> bool:
        """The one axis left over of a plane of channels, or of a row of tokens."""
        free, names = self.free(value), set(self.names[value].values())
        if len(free) != 1:
            return False
        if len(self.shapes[value]) == 4:
            missing = {"channel", "y", "x"} - names
            return len(missing) == 1 and self._give(value, free[0], missing.pop())
        if len(self.shapes[value]) == 3:
            return self._give(value, free[0], "token" if "channel" in names else "channel")
        return False

    def from_growth(
        self, grown: Mapping[str, Mapping[Key, Shape]]
    ) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """An axis that grows with y alone is y; of three axes, one that grows with both holds the tokens."""
        for value, shape in enumerate(self.shapes):
            y, x = (self._grew(value, grown.get(axis, {})) for axis in ("y", "x"))
            if len(shape) < 3:
                continue
            if y | x:
                self._moves.add(value)
            tokens = y & x if len(shape) == 3 else set()  # of four, it may as well number windows
            if y & x:  # such an axis holds places of both directions, whatever a module makes of it
                self._no_plane.add(value)
            found = [("token", tokens), ("y", y - x), ("x", x - y)]
            yield value, [(min(axes), name) for name, axes in found if len(axes) == 1]

    def _grew(self, value: int, shapes: Mapping[Key, Shape]) -> set[int]:
        """Axes of a value that differ in another pass."""
        pairs = zip(self.shapes[value], shapes.get(self.keys[value], ()), strict=False)
        return {i for i, (old, new) in enumerate(pairs) if old != new and i != self.batch[value]}

    def from_equal_sizes(self) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """Two equal axes beside a known channel are a plane, where growth has not said otherwise."""
        for value, shape in enumerate(self.shapes):
            free = self.free(value)
            known = "channel" in self.names[value].values() and value not in self._moves
            if known and len(shape) == 4 and len(free) == 2 and shape[free[0]] == shape[free[1]]:
                yield value, list(zip(free, ("y", "x"), strict=True))

    def from_planes(self) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """Of a row as long as a plane has places, and as wide as it has channels, which axis is which."""
        planes = set()
        for names, shape in zip(self.names, self.shapes, strict=True):
            size = {name: shape[axis] for axis, name in names.items()}
            if {"channel", "y", "x"} <= size.keys():
                planes.add((size["y"] * size["x"], size["channel"]))
        for value, shape in enumerate(self.shapes):
            free = self.free(value)
            if len(shape) != 3 or len(free) != 2:
                continue
            one, two = (shape[axis] for axis in free)
            if ((one, two) in planes) != ((two, one) in planes):
                names_of = ("token", "channel") if (one, two) in planes else ("channel", "token")
                yield value, list(zip(free, names_of, strict=True))

    def from_equal_shapes(self) -> Iterator[tuple[int, list[tuple[int, str]]]]:
        """A tensor of the same shape as others elsewhere has their axes, where these all agree."""
        known: dict[tuple[int | None, Shape], set[tuple[tuple[int, str], ...]]] = {}
        for value, shape in enumerate(self.shapes):
            if len(shape) > 3 and not self.free(value):
                names = tuple(sorted(self.names[value].items()))
                known.setdefault((self.batch[value], shape), set()).add(names)
        for value, shape in enumerate(self.shapes):
            found = known.get((self.batch[value], shape), set())
            if len(found) == 1 and self.free(value):
                yield value, list(next(iter(found)))

    def finish(self, value: int) -> tuple[str, ...]:
        """All names in order, what is unknown filled in."""
        batch, rank = self.batch[value], len(self.shapes[value])
        if batch is None:
            return ()
        names, free = dict(self.names[value]), self.free(value)
        usual = {2: ("channel",), 3: ("token", "channel")}.get(rank, ())
        if len(free) == len(usual):
            names.update(zip(free, usual, strict=True))
        order = [batch, *(i for i in range(rank) if i != batch)]
        return tuple(names.get(i, f"dim{place}") for place, i in enumerate(order))


def _from_modules(
    events: Iterable[Event],
    names: _Names,
    evidence: Callable[[Event, Shape, int], Named],
) -> Iterator[tuple[int, Named]]:
    for event in events:
        value = event.values.get("", next(iter(event.values.values()), None))
        batch = None if value is None else names.batch[value]
        if value is not None and batch is not None:
            yield value, evidence(event, names.shapes[value], batch)


def _strong(event: Event, shape: Shape, batch: int) -> Named:
    """Modules whose layout is beyond doubt."""
    module, rank = event.module, len(shape)
    if isinstance(module, _FIRST) and batch == 0 and 1 < rank < 6:
        return enumerate(("channel", *_PLANE.get(rank, ())), 1)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return _normalised(module, shape, batch)
    if isinstance(module, nn.Embedding):
        return [(rank - 1, "token")] if event.side == "in" else [(rank - 1, "channel")]
    return [(rank - 1, "channel")] if isinstance(module, _LAST) and batch < rank - 1 else ()


def _normalised(module: nn.LayerNorm | nn.RMSNorm, shape: Shape, batch: int) -> Named:
    """Layer norms normalise the last axis; subclasses exist that normalise axis 1 of a plane."""
    size, rank = module.normalized_shape[-1], len(shape)
    first = rank == 4 and shape[1] == size and batch == 0
    last = shape[-1] == size and batch < rank - 1
    if last and (not first or type(module) in (nn.LayerNorm, nn.RMSNorm)):
        return [(rank - 1, "channel")]
    return enumerate(("channel", "y", "x"), 1) if first and not last else ()


def _weak(event: Event, shape: Shape, batch: int) -> Named:
    """Linear layers act on the last axis, which a mixer may have filled with tokens."""
    linear = isinstance(event.module, nn.Linear) and batch < len(shape) - 1
    return [(len(shape) - 1, "channel")] if linear else ()
