"""Reads one block of a transformer from a trace: what it adds to the residual stream, and where that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from torch import nn
from transformers.pytorch_utils import Conv1D

from actx_hf.hooks.places import Place
from actx_hf.hooks.trace import Call, Trace


@dataclass
class Segment:
    """What is added at once, and the stream after it.

    ``norms`` (paths) come after the sum; ``scaled``: a learned number multiplies it, as in Gemma 4.
    """

    parts: list[int]
    after: int
    norms: list[str] = field(default_factory=list)
    scaled: bool = False


@dataclass
class Block:
    """The values of one block. ``path`` is its module's."""

    trace: Trace
    path: str

    @cached_property
    def start(self) -> int:
        return self.trace.inputs[self.path]

    @cached_property
    def end(self) -> int:
        return self.trace.outputs[self.path]

    @cached_property
    def segments(self) -> list[Segment] | None:
        """The sums that lead from the block's input to its result; None where they do not."""
        return self._segments(self.end)

    @cached_property
    def _calls(self) -> dict[int, Call]:
        """The leaf module in the block that made a value."""
        inside = (c for c in self.trace.calls if c.path.startswith(f"{self.path}."))
        return {call.gave: call for call in inside if call.got != call.gave}

    def _segments(self, value: int) -> list[Segment] | None:
        if value == self.start:
            return []
        if not self._inside(value):
            return None
        call, made = self._calls.get(value), self.trace.made[value]
        if call is not None:
            found = self._segments(call.got) if is_norm(call.module) else None
            if found:
                last = found[-1]
                return [*found[:-1], replace(last, after=value, norms=[*last.norms, call.path])]
            return None
        if made.name == "mul" and len(made.inputs) == 2:
            stream, factor = made.inputs
            found = self._segments(stream) if prod(self.trace.shapes[factor]) == 1 else None
            return [*found[:-1], replace(found[-1], after=value, scaled=True)] if found else None
        if made.name == "add" and len(made.inputs) == 2:
            for stream, added in (made.inputs, made.inputs[::-1]):
                found = self._segments(stream)
                if found is not None:
                    return [*found, Segment(self._parts(added), value)]
        return None

    def _parts(self, value: int) -> list[int]:
        """The results of modules whose sum this is, the first made first."""
        made = self.trace.made[value]
        if self.place(value) is None and made.name == "add" and len(made.inputs) == 2:
            return sorted(part for given in made.inputs for part in self._parts(given))
        return [value]

    def place(self, value: int) -> Place | None:
        """Where a module of this block first has a value, not flattened if that can be.

        A module that is called more than once does not say which value is meant.
        """
        seen = [
            (place.flat, step, place)
            for step, place in self.trace.seen.get(value, ())
            if place.path.startswith(f"{self.path}.") and self.trace.called[place.path] == 1
        ]
        return min(seen, key=lambda each: each[:2])[2] if seen else None

    def is_attention(self, value: int) -> bool:
        """Whether tokens are mixed by attention on the way to a value."""
        return any(map(self._mixes, self.slice(value)))

    def patterns(self, value: int) -> list[int]:
        """The softmax over keys on the way to a value; empty where one kernel does all of attention."""
        mixing = sorted(filter(self._mixes, self.slice(value)))
        return [v for v in mixing if "softmax" in self.trace.made[v].name]

    def _mixes(self, value: int) -> bool:
        name = self.trace.made[value].name
        return "attention" in name or ("softmax" in name and len(self.trace.shapes[value]) == 4)

    def projection(self, value: int) -> Place | None:
        """The input of the linear layer whose result, normalised or scaled, is this value."""
        while self._inside(value):
            call = self._calls.get(value)
            if call is not None and isinstance(call.module, nn.Linear | Conv1D):
                return self._input(call)
            data = {v for v in self.trace.made[value].inputs if self.trace.made[v].name}
            if call is not None:
                value = call.got
            elif len(data) == 1:
                value = data.pop()
            else:
                return None
        return None

    def _input(self, call: Call) -> Place:
        seen = self.trace.seen[call.got]
        return next(p for _, p in seen if (p.path, p.side) == (call.path, "in"))

    def activation(self, neurons: Place) -> int | None:
        """The result of the last activation function before these values, if that is a module."""
        value = self.trace.inputs[neurons.path]
        before, width = self.slice(value), self.trace.shapes[value][-1]
        found = [
            call
            for made, call in self._calls.items()
            if made in before
            and next(call.module.parameters(), None) is None
            and self.trace.shapes[made][-1] == width
        ]
        return max(found, key=lambda call: call.step).gave if found else None

    @property
    def has_experts(self) -> bool:
        """Whether a module in the block is called so."""
        seen = (place.path for all in self.trace.seen.values() for _, place in all)
        return any("expert" in path for path in seen if path.startswith(f"{self.path}."))

    def slice(self, value: int) -> set[int]:
        """The values of this block that a value is made from, up to the stream; itself included."""
        stream = {segment.after for segment in self.segments or ()} - {value}
        found: set[int] = set()
        todo = [value]
        while todo:
            v = todo.pop()
            if v not in found and v not in stream and self._inside(v):
                found.add(v)
                todo += self.trace.made[v].inputs
        return found

    def reads(self, value: int, stream: int) -> bool:
        """Whether a value is made from one of the stream."""
        made = (self.trace.made[v].inputs for v in self.slice(value))
        return any(stream in given for given in made)

    def _inside(self, value: int) -> bool:
        return value >= self.trace.began[self.path]


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises its input."""
    return "norm" in type(module).__name__.lower()


def in_order(places: Iterable[tuple[str, Place]], trace: Trace) -> dict[str, Place]:
    """Places by name in the order of the forward pass."""
    steps = {
        (place.path, place.side, place.index): step
        for seen in trace.seen.values()
        for step, place in reversed(seen)
    }
    return dict(sorted(places, key=lambda each: steps[each[1].path, each[1].side, each[1].index]))
