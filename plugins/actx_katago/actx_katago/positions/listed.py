"""What both sources share: positions listed by id, loaded when they are needed, drawn for reports."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar

from actx_core import ListedSource, Preview, Sample, SourceError
from actx_katago.positions.config import PositionsConfig
from actx_katago.positions.files import find_files, stamp
from actx_katago.positions.inputs import Inputs
from actx_katago.positions.picture import draw_board
from actx_katago.positions.variants import Variant, changed, variants

C = TypeVar("C", bound=PositionsConfig)
F = TypeVar("F")

OPEN_FILES = 4
"""Files in memory at a time: positions are read in order, by a few threads."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A position of a file: what it is called, what is known of it, and by which ``key`` it is found."""

    id: str
    columns: Mapping[str, Any]
    key: Any


class Recent(Generic[F]):
    """The files opened last, each opened once however many threads ask for it."""

    def __init__(self, open_file: Callable[[Path], F]) -> None:
        self._open, self._lock = open_file, Lock()
        self._files: OrderedDict[Path, F] = OrderedDict()

    def __call__(self, path: Path) -> F:
        with self._lock:
            if path not in self._files:
                self._files[path] = self._open(path)
                if len(self._files) > OPEN_FILES:
                    self._files.popitem(last=False)
            self._files.move_to_end(path)
            return self._files[path]


class Positions(ListedSource[C]):
    """Positions from files; ``path`` is a file, a folder with all below it, or a glob.

    A file that cannot be read is one sample that cannot. Symmetries and komis are replicates of a sample.
    """

    gives = "board"
    endings: ClassVar[tuple[str, ...]]

    @abstractmethod
    def entries(self, name: str, file: Path) -> Iterable[Entry]:
        """The positions of a file, in order; cheap. Raises SourceError where it is damaged."""

    @abstractmethod
    def inputs(self, file: Path, key: Any) -> Inputs:
        """One position, unturned. Raises SourceError, naming the place in the file, for an impossible one."""

    @abstractmethod
    def content(self, file: Path, key: Any, variant: Variant) -> str:
        """sha256 of what decides a position's inputs in a variant; judges nothing."""

    @cached_property
    def _samples(self) -> Sequence[Sample]:
        ways, samples = variants(self.config), []
        for name, file in find_files(self.config.path, self.endings):
            mark = stamp(file)
            try:
                for entry in self.entries(name, file):
                    samples += [
                        Sample(
                            entry.id,
                            partial(self._load, file, entry.key, way),
                            {**entry.columns, **way.columns},
                            way.replicate,
                            mark,
                        )
                        for way in ways
                    ]
            except SourceError as error:
                samples.append(Sample(name, partial(_fail, error), {"file": name}, stamp=mark))
        return samples

    def listing(self) -> Sequence[Sample]:
        return self._samples

    def _load(self, file: Path, key: Any, variant: Variant) -> Inputs:
        return changed(self.inputs(file, key), self.config, variant)

    def digest(self, sample: Sample) -> str:
        """Identifies what the network is shown, after the counterfactual: equal inputs, equal digests."""
        found: partial[Inputs] = sample.data
        return "" if found.func is _fail else self.content(*found.args)

    def preview(self, samples: Sequence[str]) -> list[Preview | None]:
        """The boards as SVG, with a ring around the last move; None for a position that cannot be read."""
        first = {s.id: s for s in reversed(self._samples)}
        return [_drawn(first[id]) if id in first else None for id in samples]


def _fail(error: SourceError) -> Inputs:
    raise error


def _drawn(sample: Sample) -> Preview | None:
    try:
        inputs: Inputs = sample.load()
    except SourceError:
        return None
    own, opponent = inputs.planes[1], inputs.planes[2]
    white_moves = sample.columns.get("to_move") == "white"
    black, white = (opponent, own) if white_moves else (own, opponent)
    return Preview("svg", draw_board(black, white, inputs.last), caption=sample.id)
