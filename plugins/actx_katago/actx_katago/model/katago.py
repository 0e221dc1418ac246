"""The model ``katago``: any KataGo network, its trunk, heads and logit lens as taps, masked off the board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actx_core import Activation, Batch, Model, ModelError, Preview, Sample, Tap
from actx_katago.model.average import Average
from actx_katago.model.config import KatagoConfig
from actx_katago.model.heads import OUTPUTS, head_taps, read_heads
from actx_katago.model.runner import Runner
from actx_katago.model.selection import write_selection
from actx_katago.model.taps import HEADS, aliases, lens_stream
from actx_katago.model.views import View, view
from actx_katago.positions.picture import draw_board

if TYPE_CHECKING:
    import numpy as np

    from actx_core import Pool


class Katago(Model[KatagoConfig]):
    """A KataGo network on positions of any size up to 19 x 19.

    Tensors over the board have the axes y and x, whatever their layout in the network. Where boards vary,
    a batch is as large as its largest board, and what lies off a board is masked.
    """

    accepts = "board"

    def __init__(self, config: KatagoConfig) -> None:
        super().__init__(config)
        self._runner = Runner(config)
        self._opened: dict[str, list[View]] = {}
        self._heads: dict[str, dict[str, Tap]] = {}

    @cached_property
    def _views(self) -> dict[str, View]:
        """Taps of modules by name; the network's results have names of their own."""
        fixed = self.config.size is not None
        views = [view(raw, self._runner.size, fixed) for raw in self._runner.probed()]
        return {v.tap.name: v for v in views if v.raw.partition(".")[0] != "output"}

    @cached_property
    def _head_taps(self) -> dict[str, Tap]:
        """The heads, and those of the lens through each point of the stream."""
        top = self._runner.description
        streams = ["embedding", *map(str, range(len(top.trunk.blocks)))]
        found = [
            tap
            for prefix in ("", *(f"lens.{where}." for where in streams))
            for tap in head_taps(top, self.config.size, self.config.dtype, prefix)
        ]
        return {tap.name: tap for tap in found}

    def taps(self, example: Sample | None = None) -> Sequence[Tap]:
        return [*(v.tap for v in self._views.values()), *self._head_taps.values()]

    def heads(self) -> Sequence[str]:
        """The names of the network's own heads."""
        return [name for name in self._head_taps if name.partition(".")[0] != "lens"]

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, version, size and origin of the network; no weights are loaded."""
        return self._runner.facts

    def aliases(self) -> Mapping[str, str]:
        return aliases([*self._views, *self._head_taps])

    def presets(self) -> Mapping[str, Sequence[str]]:
        found = {"stream": ["trunk.embedding", "trunk_after_block*"], "residual": ["blocks.*"]}
        if any(name.endswith("attn_weights") for name in self._views):
            found["attention"] = ["**.attn_weights"]
        return found

    def save_taps(self, path: Path, taps: Sequence[str]) -> None:
        """Write a layer_selection.yml, which names one layer."""
        if path.suffix not in (".yml", ".yaml"):
            super().save_taps(path, taps)
        if len(taps) != 1:
            raise ModelError(
                f"a layer selection names one layer, found {len(taps)}",
                where=str(path),
                hint="pick one tap, or write several to a pipeline: --save pipeline.toml",
            )
        write_selection(path, self.config, taps[0])

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        return self._runner.prepare(samples)

    def open(self, taps: Sequence[str]) -> None:
        self._runner.expect_v7()
        opened, heads = defaultdict[str, list[View]](list), defaultdict[str, dict[str, Tap]](dict)
        for name in taps:
            if name in self._head_taps:
                prefix, head = _split(name)
                heads[prefix][head] = self._head_taps[name]
            else:
                opened[self._views[name].raw].append(self._views[name])
        self._opened, self._heads = dict(opened), dict(heads)
        self._runner.open(sorted({*opened, *self._kept}))

    @property
    def _kept(self) -> set[str]:
        """Tensors that the heads are read from, once the forward pass is over."""
        streams = {lens_stream(prefix) for prefix in self._heads if prefix}
        return streams | ({f"output.{name}" for name in OUTPUTS} if "" in self._heads else set())

    def extract(self, batch: Batch, pool: Pool) -> Mapping[str, Activation]:
        if self.config.symmetry != "average":
            return self._forward(batch.inputs, batch, pool)
        average = Average(_board(batch.inputs[0]))
        for symmetry, inputs in enumerate(batch.inputs):
            self._forward(inputs, batch, average.adding(symmetry))
        return {name: pool(name, activation) for name, activation in average.means()}

    def _forward(self, inputs: Any, batch: Batch, pool: Pool) -> dict[str, Activation]:
        """One forward pass; modules are pooled while it runs, heads when it is over."""
        found: dict[str, Activation] = {}
        board, kept = _board(inputs), self._kept

        def take(name: str, raw: Activation) -> Activation:
            for v in self._opened.get(name, ()):
                found[v.tap.name] = pool(v.tap.name, v.activation(raw.array, board))
            return raw if name in kept else Activation(raw.array[:0], raw.axes)

        given = self._runner.extract(Batch(inputs, batch.samples), take)
        for prefix, taps in self._heads.items():
            if prefix:
                outputs = self._runner.lens(given[lens_stream(prefix)].array, inputs[0])
            else:
                outputs = {name: given[f"output.{name}"].array for name in OUTPUTS}
            heads = read_heads(outputs, taps, self._runner.description, board, inputs[1])
            for name, activation in heads:
                found[prefix + name] = pool(prefix + name, activation)
        return found

    def out_of_memory(self, error: BaseException) -> bool:
        return self._runner.out_of_memory(error)

    def to_host(self, arrays: Mapping[str, Any]) -> Callable[[], dict[str, np.ndarray]]:
        return self._runner.to_host(arrays)

    def preview(self, batch: Batch) -> list[Preview | None]:
        """Each position as the network sees it: the player to move is black."""
        inputs = batch.inputs[0] if self.config.symmetry == "average" else batch.inputs
        columns = batch.columns["sample"]
        place = zip(*(columns[name].tolist() for name in ("last_y", "last_x")), strict=True)
        size = zip(*(columns[name].tolist() for name in ("board_y", "board_x")), strict=True)
        drawn: list[Preview | None] = []
        for planes, (y, x), last in zip(inputs[0].numpy() > 0, size, place, strict=True):
            own, opponent = planes[1, :y, :x], planes[2, :y, :x]
            drawn.append(
                Preview("svg", draw_board(own, opponent, last if min(last) >= 0 else None))
            )
        return drawn

    def fingerprint(self) -> str:
        return self._runner.fingerprint()

    def describe(self) -> Mapping[str, Any]:
        return self._runner.describe()

    def close(self) -> None:
        self._runner.close()


def _board(inputs: Any) -> np.ndarray:
    """(samples, y, x), True on the board."""
    on: np.ndarray = inputs[0][:, 0].numpy() > 0
    return on


def _split(name: str) -> tuple[str, str]:
    """``lens.3.`` and the head; the prefix is empty for the network's own heads."""
    match = HEADS.fullmatch(name)
    prefix = (match and match[1]) or ""
    return prefix, name.removeprefix(prefix)
