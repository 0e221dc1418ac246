"""Reading and writing a layer by the fields of its class: the one walk behind files of every version."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import numpy as np

from actx_core import ModelError
from actx_katago.network.description import VERSIONS
from actx_katago.network.fields import Entry, Layer, entries, join, label
from actx_katago.network.layers import BLOCKS
from actx_katago.network.tokens import Array, TokenReader, TokenWriter, Weights

DEEPEST = 8
"""How many nested bottlenecks may lie in each other; KataGo's networks have one."""


def read_layer(tokens: TokenReader, kind: type[Layer], weights: Weights) -> Layer:
    """A layer and all below it; their arrays go to ``weights`` under ``path.name``, with torch's axes."""
    return _Reader(tokens, weights).layer(kind, "", ChainMap(), 0)


class _Reader:
    def __init__(self, tokens: TokenReader, weights: Weights) -> None:
        self._tokens = tokens
        self._weights = weights

    def layer(self, kind: type[Layer], path: str, around: ChainMap[str, Any], depth: int) -> Layer:
        scope = around.new_child({})
        for entry in entries(kind):
            if entry.name == "name":
                self._tokens.layer = path or "header"
            scope[entry.name] = self._field(entry, path, scope, depth)
            if entry.name == "name":
                self._tokens.layer = label(path, scope["name"])
            self._check(entry.name, scope[entry.name])
        made = kind(**scope.maps[0])
        for name, shape in made.arrays().items():
            array = self._tokens.array(name, shape)
            if name == "weight" and made.axes:
                array = np.ascontiguousarray(array.transpose(made.axes))
            self._weights[join(path, name)] = array
        return made

    def _field(self, entry: Entry, path: str, scope: ChainMap[str, Any], depth: int) -> Any:
        kind, below = entry.kind(scope), join(path, entry.path)
        if kind is None:
            return entry.default
        if entry.count:
            blocks = range(scope[entry.count])
            return tuple(self._block(f"{below}.{i}", scope, depth) for i in blocks)
        if isinstance(kind, type) and issubclass(kind, Layer):
            return self.layer(kind, below, scope, depth)
        if entry.zeros:
            return self._spare(entry.zeros)
        if kind is int:
            return self._tokens.integer(entry.name)
        return self._tokens.number(entry.name) if kind is float else self._tokens.word(entry.name)

    def _block(self, path: str, scope: ChainMap[str, Any], depth: int) -> Layer:
        self._tokens.layer = path
        token = self._tokens.word("a kind of block")
        if token not in BLOCKS:
            raise self._tokens.error(f"expected one of {', '.join(BLOCKS)}; found '{token[:40]}'")
        if depth == DEEPEST:
            raise self._tokens.error(f"blocks are nested more than {DEEPEST} deep")
        return self.layer(BLOCKS[token], path, scope, depth + 1)

    def _spare(self, count: int) -> int:
        for _ in range(count):
            if self._tokens.integer("a spare number"):
                raise self._tokens.error(
                    "a spare number is not zero: the network has a part that is not known here",
                    hint="it is newer than this reader",
                )
        return 0

    def _check(self, name: str, value: Any) -> None:
        """What decides how to read on must be known at once."""
        if name == "version" and value not in VERSIONS:
            raise self._tokens.error(
                f"expected a network of version 3 to 17, found version {value}",
                hint="KataGo's engine refuses versions 0 to 2 too"
                if value < VERSIONS.start
                else "it is newer than this reader",
            )
        if name in _FLAGS and value not in (0, 1):
            raise self._tokens.error(f"expected 0 or 1 for {name}, found {value}")


_FLAGS = {
    *("has_scale", "has_bias", "use_rope", "learn_rope", "swiglu", "norm_kind", "spatial"),
    *("meta_version", "pass_alive_as_if_suicide"),
}


def write_layer(tokens: TokenWriter, layer: Layer, weights: Mapping[str, Array]) -> None:
    """The inverse of ``read_layer``."""
    _write(tokens, layer, weights, "", ChainMap())


def _write(
    tokens: TokenWriter,
    layer: Layer,
    weights: Mapping[str, Array],
    path: str,
    around: ChainMap[str, Any],
) -> None:
    plan = entries(type(layer))
    scope = around.new_child({entry.name: getattr(layer, entry.name) for entry in plan})
    for entry in plan:
        value, below = scope[entry.name], join(path, entry.path)
        if entry.kind(scope) is None:
            continue
        if entry.count:
            for i, block in enumerate(value):
                tokens.word(block.token)
                _write(tokens, block, weights, f"{below}.{i}", scope)
        elif isinstance(value, Layer):
            _write(tokens, value, weights, below, scope)
        else:
            for _ in range(entry.zeros or 1):
                tokens.word(value)
    for name, shape in layer.arrays().items():
        array = weights[join(path, name)]
        if name == "weight" and layer.axes:
            array = array.transpose(np.argsort(layer.axes))
        if array.shape != shape:
            raise ModelError(
                f"expected {name} of shape {list(shape)}, found {list(array.shape)}", where=path
            )
        tokens.array(array)
